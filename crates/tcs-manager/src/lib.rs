//! The manager: mirrors the units of one host onto NATS and takes commands from there.
//!
//! systemd supervises; the manager only observes, reports and forwards. It can be stopped, killed or upgraded at any
//! time, and no service notices. [`systemd`] speaks D-Bus, [`mirror`] works out what the news mean without any I/O, and
//! [`run`] joins both with NATS.

mod daemon;
mod logging;
pub mod mirror;
pub mod systemd;

pub use daemon::{ManagerError, Options, judge, run, run_until_signal};
pub use logging::start_logging;
