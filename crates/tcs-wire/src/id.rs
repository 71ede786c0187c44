//! Service ids: one grammar for NATS, systemd, logs and the operator (design decisions 1, 2 and 4).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest id in characters; keeps unit names and KV keys within every limit they meet (design decision 2).
pub const MAX_ID_LEN: usize = 100;
/// Longest host name in characters, as the kernel's own limit; a manager's id must hold it.
pub const MAX_HOST_LEN: usize = 64;
/// Longest segment of a type in characters.
pub const MAX_SEGMENT_LEN: usize = 32;
/// The variant that a unit instance leaves out when the type has no dot (design decision 1).
pub const MAIN_VARIANT: &str = "main";
/// The variant of a run by hand, so that a try never takes production's name.
pub const DEV_VARIANT: &str = "dev";
/// Types that no service may have: they name parts of the suite itself.
pub const RESERVED_TYPES: [&str; 4] = ["process", "manager", "launcher", "group"];

/// Why a text is not a service id, type, variant or unit instance.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdError {
    /// A type, variant or id without any character.
    #[error("`{0}` is empty where a name is expected")]
    Empty(String),
    /// An id without the dot that separates type and variant.
    #[error("`{0}` has no variant: an id is `type.variant`, for example `{0}.main`")]
    NoVariant(String),
    /// A character outside the grammar.
    #[error("`{text}` has `{found}`, but {part} allows only {allowed}")]
    Character {
        /// The whole text.
        text: String,
        /// The first character that is not allowed.
        found: char,
        /// The part that it stands in.
        part: &'static str,
        /// What the part allows.
        allowed: &'static str,
    },
    /// Too long for a unit name, subject or key.
    #[error("`{text}` has {length} characters in {part}, at most {limit} are allowed")]
    TooLong {
        /// The whole text.
        text: String,
        /// The part that is too long.
        part: &'static str,
        /// Its length.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// A unit instance that has a second, shorter or longer spelling.
    #[error("`tcs@{found}` is not the name of a unit: write `tcs@{canonical}`")]
    NotCanonical {
        /// What was given.
        found: String,
        /// The one spelling that is a unit's name.
        canonical: String,
    },
    /// A type of the suite itself.
    #[error("`{0}` is a reserved type: it names a part of the suite itself")]
    Reserved(String),
    /// A unit that is none of ours.
    #[error("`{0}` is not a unit of the suite: expected `tcs@INSTANCE.service` or `tcs@INSTANCE.timer`")]
    NotOurs(String),
}

/// What a binary implements, for example `plan_runner` or `examples.minimal`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceType(String);

impl ServiceType {
    /// Checks `text` against `[a-z0-9_]+(\.[a-z0-9_]+)*`.
    ///
    /// # Errors
    /// Says which character or length is wrong. Reserved types pass: see [`ServiceType::refuse_reserved`].
    pub fn parse(text: &str) -> Result<Self, IdError> {
        for segment in text.split('.') {
            check(
                text,
                segment,
                "a type",
                MAX_SEGMENT_LEN,
                "a-z, 0-9, `_` and dots between",
                |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_',
            )?;
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the type that a binary's file name stands for: `-` is read as `_`.
    ///
    /// # Errors
    /// As [`ServiceType::parse`].
    pub fn from_binary_name(name: &str) -> Result<Self, IdError> {
        Self::parse(&name.replace('-', "_"))
    }

    /// Refuses the types that name parts of the suite itself.
    ///
    /// # Errors
    /// [`IdError::Reserved`] when the first segment is reserved.
    pub fn refuse_reserved(&self) -> Result<(), IdError> {
        let first = self.0.split('.').next().unwrap_or_default();
        if RESERVED_TYPES.contains(&first) {
            Err(IdError::Reserved(self.0.clone()))
        } else {
            Ok(())
        }
    }

    /// Returns the type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One instance of a type, for example `zb08`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Variant(String);

impl Variant {
    /// Checks `text` against `[a-z0-9_-]+`.
    ///
    /// # Errors
    /// Says which character or length is wrong.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check(
            text,
            text,
            "a variant",
            MAX_ID_LEN,
            "a-z, 0-9, `_` and `-`",
            |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-',
        )?;
        Ok(Self(text.to_owned()))
    }

    /// Returns the variant `main`.
    pub fn main() -> Self {
        Self(MAIN_VARIANT.to_owned())
    }

    /// Returns the variant `dev`, for runs by hand.
    pub fn dev() -> Self {
        Self(DEV_VARIANT.to_owned())
    }

    /// Returns the variant as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a service everywhere: `type.variant`; the last dot separates.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceId {
    text: String,
    dot: usize,
}

impl ServiceId {
    /// Joins a type and a variant.
    ///
    /// # Errors
    /// [`IdError::TooLong`] when the two together exceed [`MAX_ID_LEN`].
    pub fn new(service_type: &ServiceType, variant: &Variant) -> Result<Self, IdError> {
        let text = format!("{}.{}", service_type.0, variant.0);
        let length = text.len();
        if length > MAX_ID_LEN {
            return Err(IdError::TooLong {
                text,
                part: "an id",
                length,
                limit: MAX_ID_LEN,
            });
        }
        Ok(Self {
            dot: service_type.0.len(),
            text,
        })
    }

    /// Reads `type.variant`.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let Some((service_type, variant)) = text.rsplit_once('.') else {
            return Err(if text.is_empty() {
                IdError::Empty(text.to_owned())
            } else {
                IdError::NoVariant(text.to_owned())
            });
        };
        Self::new(&ServiceType::parse(service_type)?, &Variant::parse(variant)?)
    }

    /// Returns the id of the manager of `host`: `manager.HOST` (design decision 4).
    pub fn manager(host: &HostName) -> Self {
        let text = format!("manager.{}", host.0);
        Self {
            dot: "manager".len(),
            text,
        }
    }

    /// Returns the type.
    pub fn service_type(&self) -> ServiceType {
        ServiceType(self.text[..self.dot].to_owned())
    }

    /// Returns the variant.
    pub fn variant(&self) -> Variant {
        Variant(self.text[self.dot + 1..].to_owned())
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether this id names a manager rather than a service.
    pub fn is_manager(&self) -> bool {
        &self.text[..self.dot] == "manager"
    }

    /// Returns the unit instance, the part between `tcs@` and the suffix (design decision 1).
    pub fn instance(&self) -> &str {
        let service_type = &self.text[..self.dot];
        if &self.text[self.dot + 1..] == MAIN_VARIANT && !service_type.contains('.') {
            service_type
        } else {
            &self.text
        }
    }

    /// Reads a unit instance: the inverse of [`ServiceId::instance`].
    ///
    /// # Errors
    /// Besides a wrong name, a spelling that is not the canonical one, with the right one in the message.
    pub fn from_instance(instance: &str) -> Result<Self, IdError> {
        let id = if instance.contains('.') {
            Self::parse(instance)?
        } else {
            Self::new(&ServiceType::parse(instance)?, &Variant::main())?
        };
        if id.instance() == instance {
            Ok(id)
        } else {
            Err(IdError::NotCanonical {
                found: instance.to_owned(),
                canonical: id.instance().to_owned(),
            })
        }
    }

    /// Returns the id in the form that the NATS service API takes for a name: `.` as `_` (design decision 30).
    pub fn micro_name(&self) -> String {
        self.text.replace('.', "_")
    }
}

/// The name of a host in ids and keys: `[a-z0-9_-]+` (design decision 4).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

impl HostName {
    /// Checks a name as it stands in `host:` of services.yaml.
    ///
    /// # Errors
    /// Says which character or length is wrong.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let Variant(name) = Variant::parse(text)?;
        if name.len() > MAX_HOST_LEN {
            let (length, limit) = (name.len(), MAX_HOST_LEN);
            return Err(IdError::TooLong {
                text: name,
                part: "a host name",
                length,
                limit,
            });
        }
        Ok(Self(name))
    }

    /// Makes a name out of what the system calls itself: up to the first dot, lower case, the rest as `_`.
    pub fn from_system(hostname: &str) -> Self {
        let short = hostname.split('.').next().unwrap_or_default();
        let mut name: String = short
            .chars()
            .take(MAX_HOST_LEN)
            .map(|c| c.to_ascii_lowercase())
            .map(|c| {
                if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        if name.is_empty() {
            name.push_str("localhost");
        }
        Self(name)
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_type {
    ($type:ty, $field:tt) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.$field)
            }
        }
        impl FromStr for $type {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }
        impl TryFrom<String> for $type {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.$field
            }
        }
    };
}
text_type!(ServiceType, 0);
text_type!(Variant, 0);
text_type!(HostName, 0);
text_type!(ServiceId, text);

fn check(
    text: &str,
    part_text: &str,
    part: &'static str,
    limit: usize,
    allowed: &'static str,
    ok: impl Fn(char) -> bool,
) -> Result<(), IdError> {
    if part_text.is_empty() {
        return Err(IdError::Empty(text.to_owned()));
    }
    if let Some(found) = part_text.chars().find(|c| !ok(*c)) {
        return Err(IdError::Character {
            text: text.to_owned(),
            found,
            part,
            allowed,
        });
    }
    if part_text.len() > limit {
        return Err(IdError::TooLong {
            text: text.to_owned(),
            part,
            length: part_text.len(),
            limit,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(text: &str) -> ServiceId {
        ServiceId::parse(text).unwrap()
    }

    #[test]
    fn main_is_left_out_only_for_types_without_a_dot() {
        assert_eq!(id("plan_runner.main").instance(), "plan_runner");
        assert_eq!(id("plan_runner.zb08").instance(), "plan_runner.zb08");
        assert_eq!(id("examples.minimal.main").instance(), "examples.minimal.main");
    }

    #[test]
    fn a_second_spelling_is_refused_with_the_right_one() {
        let error = ServiceId::from_instance("plan_runner.main").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`tcs@plan_runner.main` is not the name of a unit: write `tcs@plan_runner`"
        );
    }

    #[test]
    fn wrong_names_say_what_is_wrong() {
        assert!(matches!(
            ServiceId::parse("Plan.main"),
            Err(IdError::Character { found: 'P', .. })
        ));
        assert!(matches!(ServiceId::parse("plan"), Err(IdError::NoVariant(_))));
        assert!(matches!(ServiceId::parse("plan..x"), Err(IdError::Empty(_))));
        assert!(matches!(
            ServiceId::parse(&format!("{}.x", "a".repeat(33))),
            Err(IdError::TooLong { .. })
        ));
        assert!(matches!(
            ServiceId::parse(&format!("a.{}", "x".repeat(99))),
            Err(IdError::TooLong { .. })
        ));
        assert!(ServiceType::parse("manager").unwrap().refuse_reserved().is_err());
    }

    #[test]
    fn hosts_come_from_any_system_name() {
        assert_eq!(HostName::from_system("Obs1.example.org").as_str(), "obs1");
        assert_eq!(HostName::from_system("mój host").as_str(), "m_j_host");
        assert_eq!(HostName::from_system("").as_str(), "localhost");
        assert!(matches!(
            HostName::parse(&"h".repeat(65)),
            Err(IdError::TooLong {
                limit: MAX_HOST_LEN,
                ..
            })
        ));
        assert_eq!(
            ServiceId::manager(&HostName::from_system("obs1")).as_str(),
            "manager.obs1"
        );
    }

    proptest! {
        #[test]
        fn instance_and_id_are_a_bijection(text in "[a-z0-9_]{1,8}(\\.[a-z0-9_]{1,8}){0,2}\\.[a-z0-9_-]{1,8}") {
            let id = id(&text);
            prop_assert_eq!(ServiceId::from_instance(id.instance()).unwrap(), id);
        }

        #[test]
        fn what_an_instance_is_read_as_is_written_the_same(instance in "[a-z0-9_.-]{1,20}") {
            if let Ok(id) = ServiceId::from_instance(&instance) {
                prop_assert_eq!(id.instance(), instance);
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,120}") {
            let _ = ServiceId::parse(&text);
            let _ = ServiceId::from_instance(&text);
            let host = HostName::from_system(&text);
            prop_assert!(HostName::parse(host.as_str()).is_ok());
            prop_assert!(ServiceId::parse(ServiceId::manager(&host).as_str()).is_ok());
        }
    }
}
