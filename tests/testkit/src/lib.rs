//! Throw-away machines with a real systemd, and real NATS servers, for tests and the demo.
//!
//! - [`Machine`] boots the host's own root, under an overlay in memory, with `systemd-nspawn`: systemd as PID 1, D-Bus,
//!   polkit and the journal are the real ones, it is up in half a second, and nothing stays behind on the host.
//! - [`Stage`] is the layer with this checkout's binaries in it.
//! - [`NatsServer`] is a server of our own, in a machine's network or on a free port of the host.
//! - [`inside`] runs async code, such as a NATS client, in a machine's network; [`eventually()`] waits for a value.
//! - [`Prerequisites`] gets what is missing (design decision 38), [`check_can_boot`] says what cannot be got.
//!
//! Nothing here is a mock.

mod command;
mod error;
mod eventually;
mod guarded;
mod host;
mod leader;
mod machine;
mod nats;
mod network;
mod paths;
mod prerequisites;
mod raw;
mod scratch;
mod seed;
mod stage;

pub use command::Output;
pub use error::{Missing, Result, TestkitError};
pub use eventually::{TimedOut, eventually, eventually_blocking};
pub use guarded::Guarded;
pub use host::{apt_line, check_can_boot, find_program, host_runs_systemd, is_root};
pub use machine::{Machine, MachineConfig, machines_booted};
pub use nats::{NatsOptions, NatsServer, Store};
pub use network::{Network, in_network, inside};
pub use paths::{cargo, target_dir, tools_dir, workspace_root};
pub use prerequisites::{Consent, Prerequisites, Python};
pub use raw::{RawMessage, RawNats};
pub use seed::SeedFile;
pub use stage::{Contents, Profile, Stage};
