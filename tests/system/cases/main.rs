//! The list of the modules with system tests.

mod bus;
mod compat;
mod importer;
mod install;
mod lifecycle;
mod machines;
mod manager;
mod observe;
mod requests;
mod tcsctl;

fn main() -> std::process::ExitCode {
    tcs_system_tests::run(vec![
        ("bus", bus::tests()),
        ("compat", compat::tests()),
        ("importer", importer::tests()),
        ("install", install::tests()),
        ("lifecycle", lifecycle::tests()),
        ("machines", machines::tests()),
        ("manager", manager::tests()),
        ("requests", requests::tests()),
        ("tcsctl", tcsctl::tests()),
    ])
}
