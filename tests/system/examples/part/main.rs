//! Temporary.
mod importer;
mod install;
mod lifecycle;
mod observe;

fn main() -> std::process::ExitCode {
    tcs_system_tests::run(vec![
        ("importer", importer::tests()),
        ("install", install::tests()),
        ("lifecycle", lifecycle::tests()),
    ])
}
