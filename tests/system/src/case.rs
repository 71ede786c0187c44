use std::time::Duration;

use anyhow::Result;

use crate::site::{Group, Lab, Site, SiteConfig};

const DEADLINE: Duration = Duration::from_secs(120);

/// One system test, and the machine that it needs.
#[derive(Debug)]
pub struct Case {
    pub(crate) name: String,
    pub(crate) deadline: Duration,
    pub(crate) work: Work,
}

#[derive(Debug)]
pub(crate) enum Work {
    Shared(fn(&Site) -> Result<()>),
    Group(&'static Group, fn(&Site) -> Result<()>),
    Own(fn() -> SiteConfig, fn(&Site) -> Result<()>),
    Lab(fn(&Lab) -> Result<()>),
}

impl Case {
    /// A case for the machine that many share at the same time: it uses service ids of its own, touches no other's, and
    /// neither the network nor the NATS server nor the manager.
    #[must_use]
    pub fn shared(name: &str, test: fn(&Site) -> Result<()>) -> Self {
        Self::new(name, Work::Shared(test))
    }

    /// A case for the machine that a group shares at the same time, under the same rules.
    #[must_use]
    pub fn group(name: &str, group: &'static Group, test: fn(&Site) -> Result<()>) -> Self {
        Self::new(name, Work::Group(group, test))
    }

    /// A case with a machine and a NATS server of its own.
    #[must_use]
    pub fn own(name: &str, config: fn() -> SiteConfig, test: fn(&Site) -> Result<()>) -> Self {
        Self::new(name, Work::Own(config, test))
    }

    /// A case that boots what it needs itself.
    #[must_use]
    pub fn lab(name: &str, test: fn(&Lab) -> Result<()>) -> Self {
        Self::new(name, Work::Lab(test))
    }

    /// The same with another overall deadline than 120 s; it counts from the first moment, boot included.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Its name with the module's in front: `bus::streams_are_made`.
    #[must_use]
    pub(crate) fn in_module(mut self, module: &str) -> Self {
        self.name = format!("{module}::{}", self.name);
        self
    }

    fn new(name: &str, work: Work) -> Self {
        Self {
            name: name.into(),
            deadline: DEADLINE,
            work,
        }
    }
}
