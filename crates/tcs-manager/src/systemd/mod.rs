//! systemd over D-Bus: the units of the suite, their changes and their jobs.
//!
//! All that is D-Bus stays in here. Signals come on a connection of their own and are forwarded, decoded, by a task
//! that does nothing else; calls go out on another one, each with a deadline. No unit is asked for that is not loaded:
//! the question itself would load it.

mod calls;
mod error;
mod files;
mod jobs;
mod path;
mod properties;
mod signals;
mod state;

pub use calls::{Changes, ListedUnit, Systemd};
pub use error::SystemdError;
pub use jobs::{Job, JobResult, JobVerb};
pub use path::{unit_of_path, unit_path};
pub use properties::{ExitSet, Properties, Value};
pub use signals::Change;
pub use state::{ClockReading, UnitState};
