//! A site of tcs services, for operators' tools and other people's screens: what is there, what happens, and control.
//!
//! [`Collector`] joins what the managers mirror with what the services say of themselves, so that services which no
//! manager owns appear as well. Nothing in here prints.

mod control;
mod error;
mod events;
mod follow;
mod join;
mod name;
mod observed;
mod sentence;
mod site;
mod view;

pub use control::{ControlOptions, Verb};
pub use error::ClientError;
pub use events::{EventNews, Events};
pub use follow::{Change, Follow, Source};
pub use join::Collector;
pub use name::{matches, parse_name, similar};
pub use sentence::explanation;
pub use site::{Site, without_passwords};
pub use view::{
    Condition, FORGOTTEN_AFTER, Health, Liveness, MANAGER_SILENT_AFTER, ManagerView, SERVICE_SILENT_AFTER,
    ServiceView, SiteSnapshot,
};
