//! The list of the modules with system tests.

mod machines;

fn main() -> std::process::ExitCode {
    tcs_system_tests::run(vec![("machines", machines::tests())])
}
