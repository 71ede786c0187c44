//! `tcsctl man DIRECTORY`

use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use tcs_wire::Exit;

use crate::cli::Cli;
use crate::failure::Failure;

/// Writes a page for the command and one for each of its own: `tcsctl.1`, `tcsctl-list.1`, …
pub(super) fn run(directory: &Path) -> Result<Exit, Failure> {
    let command = Cli::command().disable_help_subcommand(true);
    fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(command, directory))
        .map_err(|error| {
            let message = format!("cannot write the pages to {}: {error}", directory.display());
            Failure::new(Exit::Failed, message)
        })?;
    Ok(Exit::Done)
}
