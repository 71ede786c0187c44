//! What nearly every service uses: `use tcs_service::prelude::*;`

pub use std::time::Duration;

pub use schemars::JsonSchema;
pub use serde::{Deserialize, Serialize};
pub use tcs_wire::{Exit, Kind, ServiceId, Status};
pub use tracing::{debug, error, info, trace, warn};

pub use crate::{
    Context, Error, Every, NoConfig, Outcome, Result, ResultExt, Service, TimeSpan, WatchdogFeed, config,
};
