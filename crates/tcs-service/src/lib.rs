//! The author's side of tcs: write a service once, run it by hand, under systemd, or beside others.
//!
//! ```no_run
//! use tcs_service::prelude::*;
//!
//! config! {
//!     /// What is said, and how often.
//!     struct HelloConfig {
//!         /// What is said.
//!         message: String = "Hello".to_owned(),
//!         /// Time from one greeting to the next.
//!         interval: TimeSpan = TimeSpan::from_secs(5),
//!     }
//! }
//!
//! struct HelloWorld;
//!
//! impl Service for HelloWorld {
//!     type Config = HelloConfig;
//!
//!     async fn run(&mut self, ctx: Context<Self>) -> Result<()> {
//!         while ctx.sleep(ctx.config().interval).await {
//!             info!("{}", ctx.config().message);
//!         }
//!         Ok(())
//!     }
//! }
//! # fn main() {}
//! # #[cfg(any())]
//! tcs_service::main!(HelloWorld);
//! ```
//!
//! The SDK does the rest: the command line, the configuration, the log (journal or console), the connection to NATS
//! with status, heartbeat and health request, READY, STATUS, WATCHDOG and STOPPING for systemd, signals, an orderly
//! end inside a deadline, and an exit code that tells the truth. `docs/writing-a-service.md` goes on from here.
//!
//! # How it works
//!
//! [`main!`] reads command line and configuration and sets up a runtime of one thread. On it the service lives
//! through `start`, `run` and `stop` beside the SDK's own tasks: connection, health check, answers to requests. A
//! second thread, the guard, takes the signals and keeps the deadlines, so that a service that blocks its own thread
//! can still be ended with a reason.

mod arguments;
mod context;
mod describe;
mod directories;
mod ending;
mod error;
mod guard;
mod job;
mod lifecycle;
mod log;
mod macros;
mod monitor;
mod notify;
mod overlay;
pub mod prelude;
mod printer;
mod process;
mod program;
mod rpc;
mod service;
mod settings;
mod stop;
mod time_span;
mod watchdog;

pub use context::{Context, Every};
pub use error::{Error, Result, ResultExt};
pub use job::Outcome;
pub use process::ProcessContext;
pub use program::{Binary, run_program};
pub use service::{NoConfig, Service};
pub use time_span::TimeSpan;
pub use watchdog::WatchdogFeed;

pub use {schemars, serde, serde_json, tcs_bus as bus, tcs_wire as wire, tokio, tracing};
