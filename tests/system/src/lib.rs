//! The harness of the system tests: one binary, machines booted once and shared where that is safe.
//!
//! A test is a [`Case`]; the modules under `cases/` list theirs in a function `tests()`, and `cases/main.rs` lists the
//! modules. A case that cannot run fails: nothing here is ever skipped.

mod case;
mod harness;
mod site;

pub use case::Case;
pub use harness::run;
pub use site::{Group, Lab, Site, SiteConfig};
