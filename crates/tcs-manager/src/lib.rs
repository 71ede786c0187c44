//! The manager: mirrors the units of one host onto NATS and takes commands from there.

pub mod mirror;
pub mod systemd;
