//! How an operator may write a service's name.

use tcs_wire::{IdError, MAIN_VARIANT, ServiceId, ServiceType, TEMPLATE_PREFIX, UnitName, Variant};

/// Reads a service's name as an operator types it.
///
/// `plan_runner.zb08` is an id and `plan_runner` stands for `plan_runner.main`; `tcs@plan_runner` and
/// `tcs@plan_runner.service` are units and are read as systemd would.
///
/// # Errors
/// Says what is wrong with the text; for a unit with a second spelling, which one is right.
pub fn parse_name(text: &str) -> Result<ServiceId, IdError> {
    if let Some(instance) = text.strip_prefix(TEMPLATE_PREFIX) {
        return UnitName::parse(text)
            .map(|unit| unit.id().clone())
            .or_else(|error| match error {
                IdError::NotOurs(_) => ServiceId::from_instance(instance),
                other => Err(other),
            });
    }
    if text.contains('.') {
        ServiceId::parse(text)
    } else {
        ServiceId::new(&ServiceType::parse(text)?, &Variant::main())
    }
}

/// Returns whether `name` is what `pattern` asks for.
///
/// `*` stands for any text and `?` for one character. A pattern without either also names a whole type
/// (`plan_runner` for all its variants) or a unit.
pub fn matches(pattern: &str, name: &str) -> bool {
    if pattern.contains(['*', '?']) {
        let pattern = pattern.strip_prefix(TEMPLATE_PREFIX).unwrap_or(pattern);
        return glob(pattern.as_bytes(), name.as_bytes());
    }
    if pattern == name
        || name
            .rsplit_once('.')
            .is_some_and(|(service_type, _)| service_type == pattern)
    {
        return true;
    }
    pattern.starts_with(TEMPLATE_PREFIX) && parse_name(pattern).is_ok_and(|id| id.as_str() == name)
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    // Position of the last `*` and of the text that it was tried against: backtracking needs no more than one.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(b'?') => (p, t) = (p + 1, t + 1),
            Some(byte) if *byte == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((star_p, star_t)) => {
                    star = Some((star_p, star_t + 1));
                    (p, t) = (star_p + 1, star_t + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Returns the names among `known` that `wanted` was perhaps meant to be, the likeliest first, at most three.
pub fn similar<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = wanted.strip_suffix(&format!(".{MAIN_VARIANT}")).unwrap_or(wanted);
    let nearest = |name: &str| {
        // A name without a variant is compared with the types alone.
        let service_type = name
            .rsplit_once('.')
            .filter(|_| !wanted.contains('.'))
            .map(|(service_type, _)| service_type);
        distance(wanted, name)
            .min(service_type.map_or(usize::MAX, |service_type| distance(wanted, service_type)))
    };
    let mut near: Vec<(usize, &str)> = known
        .into_iter()
        .map(|name| (nearest(name), name))
        .filter(|(distance, name)| *distance <= 1 + wanted.len() / 4 || name.contains(wanted))
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Counts the characters to insert, remove or replace (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_way_to_write_a_name_leads_to_one_id() {
        for text in [
            "plan_runner",
            "plan_runner.main",
            "tcs@plan_runner",
            "tcs@plan_runner.service",
            "tcs@plan_runner.timer",
        ] {
            assert_eq!(parse_name(text).unwrap().as_str(), "plan_runner.main", "{text}");
        }
        for text in [
            "plan_runner.zb08",
            "tcs@plan_runner.zb08",
            "tcs@plan_runner.zb08.service",
        ] {
            assert_eq!(parse_name(text).unwrap().as_str(), "plan_runner.zb08", "{text}");
        }
    }

    #[test]
    fn a_second_spelling_of_a_unit_is_refused_with_the_right_one() {
        let error = parse_name("tcs@plan_runner.main.service").unwrap_err();
        assert!(error.to_string().ends_with("write `tcs@plan_runner`"), "{error}");
        assert!(parse_name("Plan runner").is_err());
        assert!(parse_name("").is_err());
    }

    #[test]
    fn patterns_name_types_units_and_parts() {
        for (pattern, name, wanted) in [
            ("plan_runner", "plan_runner.zb08", true),
            ("plan_runner.zb08", "plan_runner.zb08", true),
            ("tcs@plan_runner", "plan_runner.main", true),
            ("tcs@plan_runner", "plan_runner.zb08", false),
            ("plan*", "plan_runner.zb08", true),
            ("*.zb08", "plan_runner.zb08", true),
            ("*.zb0?", "plan_runner.zb08", true),
            ("*.zb", "plan_runner.zb08", false),
            ("plan", "plan_runner.zb08", false),
        ] {
            assert_eq!(matches(pattern, name), wanted, "{pattern} {name}");
        }
    }

    #[test]
    fn a_slip_of_the_finger_finds_the_name() {
        let known = [
            "hello_world.main",
            "plan_runner.jk15",
            "plan_runner.zb08",
            "weather_importer.main",
        ];
        assert_eq!(similar("helo_world.main", known), ["hello_world.main"]);
        assert_eq!(
            similar("plan_runner.zb8", known),
            ["plan_runner.zb08", "plan_runner.jk15"]
        );
        assert_eq!(
            similar("plan_runer", known),
            ["plan_runner.jk15", "plan_runner.zb08"]
        );
        assert_eq!(similar("weather", known), ["weather_importer.main"]);
        assert!(similar("dome.main", known).is_empty());
    }

    proptest! {
        #[test]
        fn a_unit_and_its_id_are_the_same_name(text in "[a-z_]{1,8}(\\.[a-z]{1,4})?\\.[a-z0-9-]{1,6}") {
            let id = ServiceId::parse(&text).unwrap();
            prop_assert_eq!(&parse_name(&UnitName::service(&id).to_string()).unwrap(), &id);
            prop_assert_eq!(&parse_name(&format!("tcs@{}", id.instance())).unwrap(), &id);
        }

        #[test]
        fn no_text_panics(pattern in ".{0,30}", name in ".{0,30}") {
            let _ = parse_name(&pattern);
            let _ = matches(&pattern, &name);
            let _ = similar(&pattern, [name.as_str()]);
            prop_assert!(matches("*", &name));
        }
    }
}
