//! What an author writes.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tcs_wire::Kind;

use crate::context::Context;
use crate::error::Result;
use crate::watchdog::WatchdogFeed;

/// A service: what it is configured by, and what it does.
///
/// The methods stand in the order of a life. Only what a service needs is written; a service of any use has a
/// [`run`](Service::run), or a [`start`](Service::start) that spawns tasks, or both.
pub trait Service: Sized + 'static {
    /// Its configuration; [`NoConfig`] where there is none.
    type Config: DeserializeOwned + JsonSchema + Send + Sync + 'static;

    /// Whether it runs until it is stopped or to completion.
    const KIND: Kind = Kind::Permanent;

    /// What keeps its watchdog quiet.
    const WATCHDOG: WatchdogFeed = WatchdogFeed::Loop;

    /// Prepares everything that must be there before the service can say that it is ready.
    ///
    /// Opens devices, reads state, spawns tasks. systemd shows `activating` until it returns.
    ///
    /// # Errors
    /// The service never becomes ready, and the process ends with the error's exit code.
    fn start(&mut self, ctx: &Context<Self>) -> impl Future<Output = Result<()>> {
        let _ = ctx;
        async { Ok(()) }
    }

    /// Does the work: until the context says stop, or once in a job.
    ///
    /// The service is ready when this has been polled for the first time without an error. When it returns, the
    /// service lives on as long as tasks that it spawned do.
    ///
    /// # Errors
    /// The process ends with the error's exit code.
    fn run(&mut self, ctx: Context<Self>) -> impl Future<Output = Result<()>> {
        let _ = ctx;
        async { Ok(()) }
    }

    /// Puts everything in order at the end, after a failure of `run` or a task too, but not after a panic.
    ///
    /// # Errors
    /// The process ends with the error's exit code, unless it has a worse reason.
    fn stop(&mut self, ctx: &Context<Self>) -> impl Future<Output = Result<()>> {
        let _ = ctx;
        async { Ok(()) }
    }
}

/// The configuration of a service that needs none.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}
