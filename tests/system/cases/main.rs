//! The list of the modules with system tests.

mod bus;
mod machines;

fn main() -> std::process::ExitCode {
    tcs_system_tests::run(vec![("bus", bus::tests()), ("machines", machines::tests())])
}
