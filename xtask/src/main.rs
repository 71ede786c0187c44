//! `cargo xtask`: the project's own chores. A user of a release needs none of this.

mod bench;
mod demo;
mod licenses;
mod output;
mod parts;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show the whole suite at work: in a throw-away machine with a real systemd and a real NATS server
    Demo(demo::Arguments),
    /// Run every test
    Test(test::Arguments),
    /// Measure what the project promises
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().verb {
        Verb::Demo(arguments) => demo::run(&arguments),
        Verb::Test(arguments) => test::run(&arguments),
        Verb::Bench(arguments) => bench::run(&arguments),
    };
    result.unwrap_or_else(|error| {
        output::error(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}
