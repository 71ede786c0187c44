//! The list of the modules with system tests.

mod bus;
mod compat;
mod machines;
mod manager;
mod requests;
mod tcsctl;

fn main() -> std::process::ExitCode {
    tcs_system_tests::run(vec![
        ("bus", bus::tests()),
        ("compat", compat::tests()),
        ("machines", machines::tests()),
        ("manager", manager::tests()),
        ("requests", requests::tests()),
        ("tcsctl", tcsctl::tests()),
    ])
}
