//! Temporary.
mod requests;
mod tcsctl;
fn main() -> std::process::ExitCode {
    tcs_system_tests::run(vec![("requests", requests::tests()), ("tcsctl", tcsctl::tests())])
}
