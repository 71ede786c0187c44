//! services.yaml into systemd units: rendering is a pure function, `install` carries it to the tree.
//!
//! The files in `systemd/` are the units; what an instance has beyond its template goes into a drop-in
//! `tcs@NAME.service.d/10-tcs.conf`. Everything that is written bears a head that says who wrote it and whether it was
//! changed since: that is all the memory there is.

mod cli;
mod compare;
mod failure;
mod install;
mod instance;
mod mark;
mod output;
mod plan;
mod prepare;
mod render;
mod root;
mod system;
mod unit_file;

pub use cli::Cli;
pub use compare::{diff, show};
pub use failure::Failure;
pub use install::{Manner, install, uninstall};
pub use instance::exec;
pub use output::Printer;
pub use render::{DROP_IN, Rendered, UNIT_FOLDER, render};
pub use root::{FileError, Root};
pub use system::SystemError;
