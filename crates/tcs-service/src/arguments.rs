//! The command line that every service has.

use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser};
use tcs_wire::{IdError, ServiceId, ServiceType, Variant};
use thiserror::Error;

use crate::program::Binary;

/// What the binary does instead of running the service (design decision 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Describe,
    Config,
    Check,
    Health,
}

impl Command {
    fn read(word: &str) -> Option<Self> {
        Some(match word {
            "describe" => Self::Describe,
            "config" => Self::Config,
            "check" => Self::Check,
            "health" => Self::Health,
            _ => return None,
        })
    }
}

/// A command line that cannot be followed.
#[derive(Debug, Error)]
pub(crate) enum ArgumentError {
    #[error("`{0}` is one word too many: expected [COMMAND] [CONFIG.yaml] [VARIANT]")]
    TooMany(String),
    #[error("`{id}` is no {service_type}: expected `--id {service_type}.VARIANT`")]
    OtherType {
        id: ServiceId,
        service_type: ServiceType,
    },
    #[error("`--set {0}` is no assignment: expected `--set KEY=VALUE`")]
    Assignment(String),
    #[error("--log: {0}")]
    Log(String),
    #[error(transparent)]
    Id(#[from] IdError),
}

#[derive(Parser)]
#[command(
    override_usage = "[OPTIONS] [CONFIG.yaml] [VARIANT]\n       describe | config | check | health [OPTIONS] [CONFIG.yaml] [VARIANT]",
    after_help = "Commands:\n  describe  Print the manifest as JSON\n  config    Print the effective configuration as \
                  JSON\n  check     Check the configuration\n  health    Ask the running instance over NATS\n\n\
                  Run by hand, the variant is `dev` unless one is given."
)]
struct Raw {
    /// Words: a command, a configuration file (with `/`, or ending in .yaml or .yml), a variant
    #[arg(hide = true)]
    words: Vec<String>,
    /// Name of this instance: TYPE.VARIANT
    #[arg(long)]
    id: Option<String>,
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Give a configuration value, above all other sources
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// What to log: error, warn, info, debug, trace, or `target=level` with commas between
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Run without NATS
    #[arg(long)]
    no_nats: bool,
}

/// The command line as it was understood.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) command: Option<Command>,
    pub(crate) id: ServiceId,
    pub(crate) config: Option<PathBuf>,
    pub(crate) set: Vec<(String, String)>,
    pub(crate) log: Option<String>,
    pub(crate) no_nats: bool,
}

/// Splits the command line; `Err` also stands for `--help` and `--version`.
pub(crate) fn parse(
    binary: &Binary,
    words: impl IntoIterator<Item = std::ffi::OsString>,
) -> Result<impl FnOnce(&ServiceType, bool) -> Result<Arguments, ArgumentError>, clap::Error> {
    let about = binary.description;
    let mut command = Raw::command()
        .name(binary.name)
        .version(binary.version)
        .about(about);
    let usage = command.render_usage().to_string();
    let usage = usage
        .trim_start_matches("Usage: ")
        .lines()
        .map(|line| format!("{} {}", binary.name, line.trim()));
    command = command.override_usage(usage.collect::<Vec<_>>().join("\n       "));
    let raw = Raw::from_arg_matches(&command.try_get_matches_from(words)?)?;
    Ok(move |service_type: &ServiceType, managed: bool| raw.understand(service_type, managed))
}

impl Raw {
    fn understand(self, service_type: &ServiceType, managed: bool) -> Result<Arguments, ArgumentError> {
        let mut words = self.words.into_iter().peekable();
        let command = words.peek().and_then(|word| Command::read(word));
        if command.is_some() {
            words.next();
        }
        let file = words.next_if(|word| is_file(word)).map(PathBuf::from);
        let variant = words.next().map(|word| Variant::parse(&word)).transpose()?;
        if let Some(word) = words.next() {
            return Err(ArgumentError::TooMany(word));
        }
        let id = match (self.id, variant) {
            (Some(text), None) => read_id(&text)?,
            (Some(_), Some(variant)) => return Err(ArgumentError::TooMany(variant.to_string())),
            (None, Some(variant)) => ServiceId::new(service_type, &variant)?,
            (None, None) => {
                let variant = if managed { Variant::main() } else { Variant::dev() };
                ServiceId::new(service_type, &variant)?
            }
        };
        if id.service_type() != *service_type {
            return Err(ArgumentError::OtherType {
                id,
                service_type: service_type.clone(),
            });
        }
        if let Some(text) = &self.log {
            crate::log::filter(text).map_err(ArgumentError::Log)?;
        }
        let set = self.set.into_iter().map(|text| match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(ArgumentError::Assignment(text)),
        });
        let set = set.collect::<Result<_, _>>()?;
        Ok(Arguments {
            command,
            id,
            config: self.config.or(file),
            set,
            log: self.log,
            no_nats: self.no_nats,
        })
    }
}

/// A configuration file looks like one: it must not be mistaken for a variant (design decision 6).
fn is_file(word: &str) -> bool {
    word.contains('/') || word.ends_with(".yaml") || word.ends_with(".yml")
}

/// Reads an id, or a unit instance in which `main` is left out.
fn read_id(text: &str) -> Result<ServiceId, IdError> {
    if text.contains('.') {
        ServiceId::parse(text)
    } else {
        ServiceId::from_instance(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str, managed: bool) -> Result<Arguments, ArgumentError> {
        let binary = Binary {
            name: "plan_runner",
            version: "1.0.0",
            description: "",
            service_type: None,
        };
        let words = std::iter::once("plan_runner")
            .chain(line.split_whitespace())
            .map(Into::into);
        let service_type = ServiceType::parse("plan_runner").unwrap();
        parse(&binary, words).unwrap()(&service_type, managed)
    }

    #[test]
    fn the_variant_is_dev_by_hand_and_main_in_a_unit() {
        assert_eq!(read("", false).unwrap().id.as_str(), "plan_runner.dev");
        assert_eq!(read("", true).unwrap().id.as_str(), "plan_runner.main");
        assert_eq!(read("zb08", false).unwrap().id.as_str(), "plan_runner.zb08");
        assert_eq!(
            read("--id plan_runner", true).unwrap().id.as_str(),
            "plan_runner.main"
        );
        assert_eq!(
            read("--id plan_runner.zb08", true).unwrap().id.as_str(),
            "plan_runner.zb08"
        );
    }

    #[test]
    fn a_file_is_told_from_a_variant_by_its_looks() {
        let arguments = read("./here.conf zb08", false).unwrap();
        assert_eq!(arguments.config.as_deref(), Some("./here.conf".as_ref()));
        assert_eq!(arguments.id.as_str(), "plan_runner.zb08");
        assert_eq!(
            read("check site.yaml", false).unwrap().command,
            Some(Command::Check)
        );
        assert!(read("site", false).unwrap().config.is_none());
    }

    #[test]
    fn what_cannot_be_followed_says_what_is_expected() {
        let message = |line| read(line, false).unwrap_err().to_string();
        assert_eq!(
            message("--id dome.a"),
            "`dome.a` is no plan_runner: expected `--id plan_runner.VARIANT`"
        );
        assert!(message("a b").contains("one word too many"));
        assert!(message("--set x").contains("KEY=VALUE"));
        assert!(message("--log loud").contains("`loud` is neither a level"));
        assert!(message("Zb08").contains("a variant allows only"));
    }
}
