//! The grammar of the command line. Doc comments are the help text.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use tcs_wire::SubjectPrefix;

/// Shows and controls the services of a site
///
/// Without a command it lists all services of all hosts.
///
/// A service is named by its id (`plan_runner.zb08`), by its type alone where the variant is `main` (`plan_runner`), or
/// by its unit (`tcs@plan_runner.zb08.service`).
///
/// Exit codes: 0 done, 1 failed, 2 usage, 3 not running (`status`), 4 no such service, 69 NATS or a manager is away,
/// 70 a defect, 77 not permitted, 78 configuration, 124 no outcome in time.
#[derive(Debug, Parser)]
#[command(
    name = "tcsctl",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Options of every command
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Address of the NATS server, before the configuration's [env: TCS_NATS_URL]
    #[arg(long, global = true, value_name = "URL", value_delimiter = ',')]
    pub(crate) nats: Vec<String>,
    /// First token of all subjects, before the configuration's
    #[arg(long, global = true, value_name = "PREFIX", value_parser = SubjectPrefix::parse)]
    pub(crate) prefix: Option<SubjectPrefix>,
    /// Configuration file [env: TCS_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Show times in the local time zone instead of UTC
    #[arg(long, global = true)]
    pub(crate) local: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
}

/// When to use colours
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List services
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show all that is known of one service
    Status(StatusArgs),
    /// Start services and wait until they are ready
    Start(ControlArgs),
    /// Stop services and wait until they have ended
    Stop(ControlArgs),
    /// Stop and start services
    Restart(ControlArgs),
    /// Show what happened to services
    Events(EventsArgs),
    /// Check or create the streams that services publish to
    #[command(subcommand)]
    Streams(StreamsCommand),
    /// Print a completion script for a shell
    Completions {
        /// Shell to complete for
        shell: Shell,
    },
    /// Write the manual pages, for packages
    #[command(hide = true)]
    Man {
        /// Directory to write to; made when it is missing
        directory: PathBuf,
    },
}

#[derive(Debug, Default, Args)]
pub(crate) struct ListArgs {
    /// Services to list: an id, a type, or a pattern with `*` and `?` (can be repeated)
    #[arg(value_name = "PATTERN")]
    pub(crate) patterns: Vec<String>,
    /// List also what nobody declared and nobody has heard of for a day
    #[arg(short, long)]
    pub(crate) all: bool,
    /// List only the services of one host
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Service to show
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Host, where several have the service
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ControlArgs {
    /// Services, each carried out at the same time (can be repeated)
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    /// Host, where several have the service
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Longest wait for the outcome, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "90", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Return at once, without the outcome
    #[arg(long)]
    pub(crate) no_block: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Services whose events to show (can be repeated)
    #[arg(value_name = "PATTERN")]
    pub(crate) patterns: Vec<String>,
    /// Number of past events to show
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20)]
    pub(crate) lines: usize,
    /// Go on with those that follow
    #[arg(short, long)]
    pub(crate) follow: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StreamsCommand {
    /// Say what is wrong with the suite's own streams
    Check,
    /// Create a stream of the site, `telemetry` for example
    Create {
        /// Stream to create
        #[arg(value_parser = crate::site_streams::names())]
        name: String,
    },
}

/// Reads a number of seconds, with or without a trailing `s`.
fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix('s').unwrap_or(text).parse::<f64>().ok();
    let duration = number.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration
        .filter(|duration| !duration.is_zero() && duration.as_secs() <= 86_400)
        .ok_or_else(|| "expected seconds, more than 0 and at most 86400".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_and_after_the_command() {
        for line in [["tcsctl", "--json", "list"], ["tcsctl", "list", "--json"]] {
            assert!(Cli::try_parse_from(line).unwrap().global.json);
        }
        assert!(
            Cli::try_parse_from(["tcsctl", "--json"])
                .unwrap()
                .command
                .is_none()
        );
    }

    #[test]
    fn timeouts_are_seconds() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(seconds("90s"), Ok(Duration::from_secs(90)));
        for wrong in ["0", "-1", "nan", "inf", "1e30", "soon"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_help_is_the_reference() {
        let mut text = String::new();
        let mut command = Cli::command().term_width(100);
        command.build();
        text.push_str(&command.render_long_help().to_string());
        for sub in command.get_subcommands_mut() {
            let help = sub.render_help();
            text.push_str(&format!("\n---- {} ----\n{help}", sub.get_name()));
        }
        insta::assert_snapshot!(text);
    }
}
