//! Names of the units that stand for a service: `tcs@INSTANCE.service` and `tcs@INSTANCE.timer`.

use std::fmt;
use std::str::FromStr;

use crate::id::{IdError, ServiceId};

/// The template's prefix, before the instance.
pub const TEMPLATE_PREFIX: &str = "tcs@";

/// The kinds of unit that the suite has per service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnitKind {
    /// `tcs@INSTANCE.service`
    Service,
    /// `tcs@INSTANCE.timer`
    Timer,
}

impl UnitKind {
    fn suffix(self) -> &'static str {
        match self {
            Self::Service => ".service",
            Self::Timer => ".timer",
        }
    }
}

/// The name of one unit of the suite; one-to-one with a service id and a kind.
///
/// Instances are written raw, never escaped: the grammar of ids holds no character that systemd reads otherwise
/// (design decision 2).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName {
    id: ServiceId,
    kind: UnitKind,
}

impl UnitName {
    /// Returns the service unit of `id`.
    pub fn service(id: &ServiceId) -> Self {
        Self {
            id: id.clone(),
            kind: UnitKind::Service,
        }
    }

    /// Returns the timer unit of `id`.
    pub fn timer(id: &ServiceId) -> Self {
        Self {
            id: id.clone(),
            kind: UnitKind::Timer,
        }
    }

    /// Reads a unit's full name.
    ///
    /// # Errors
    /// [`IdError::NotOurs`] for any other unit, else what is wrong with the instance.
    pub fn parse(name: &str) -> Result<Self, IdError> {
        let not_ours = || IdError::NotOurs(name.to_owned());
        let rest = name.strip_prefix(TEMPLATE_PREFIX).ok_or_else(not_ours)?;
        for kind in [UnitKind::Service, UnitKind::Timer] {
            if let Some(instance) = rest.strip_suffix(kind.suffix()) {
                return ServiceId::from_instance(instance).map(|id| Self { id, kind });
            }
        }
        Err(not_ours())
    }

    /// Returns the service that the unit stands for.
    pub fn id(&self) -> &ServiceId {
        &self.id
    }

    /// Returns whether it is the service or its timer.
    pub fn kind(&self) -> UnitKind {
        self.kind
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{TEMPLATE_PREFIX}{}{}", self.id.instance(), self.kind.suffix())
    }
}

impl FromStr for UnitName {
    type Err = IdError;
    fn from_str(name: &str) -> Result<Self, IdError> {
        Self::parse(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_named_after_their_instance() {
        let id = ServiceId::parse("plan_runner.zb08").unwrap();
        assert_eq!(UnitName::service(&id).to_string(), "tcs@plan_runner.zb08.service");
        assert_eq!(
            UnitName::parse("tcs@plan_runner.zb08.timer").unwrap(),
            UnitName::timer(&id)
        );
        assert!(matches!(
            UnitName::parse("tcs-manager.service"),
            Err(IdError::NotOurs(_))
        ));
        assert!(matches!(
            UnitName::parse("tcs@a.socket"),
            Err(IdError::NotOurs(_))
        ));
        assert!(matches!(
            UnitName::parse("tcs@a.main.service"),
            Err(IdError::NotCanonical { .. })
        ));
    }
}
