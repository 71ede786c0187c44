//! systemd's own tool as the judge of our unit names (design decisions 1 and 2).
//!
//! Instances are written raw. `systemd-escape --mangle` leaves a text as it is exactly when systemd takes it for the
//! name of a unit, and `--unescape --template` says where systemd sees the instance in it; it then reads `-` as `/`,
//! which is why the suite never escapes and never uses `%I`.
#![expect(clippy::unwrap_used, reason = "in tests, also outside of the test functions")]

use std::collections::BTreeSet;
use std::process::Command;

use proptest::prelude::*;
use tcs_wire::{ServiceId, UnitName};

/// Runs `systemd-escape` over many texts at once; it writes them in one line, separated by spaces.
fn judge(options: &[&str], texts: &[String]) -> Vec<String> {
    let output = Command::new("systemd-escape")
        .args(options)
        .arg("--")
        .args(texts)
        .output();
    let output =
        output.unwrap_or_else(|error| panic!("this test needs systemd-escape, of package systemd: {error}"));
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "systemd-escape refused: {complaints}");
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .split(' ')
        .map(str::to_owned)
        .collect()
}

fn ids() -> impl Strategy<Value = BTreeSet<ServiceId>> {
    let id = prop_oneof![
        "[a-z0-9_]{1,32}\\.[a-z0-9_-]{1,60}",
        "[a-z0-9_]{1,9}(\\.[a-z0-9_]{1,9}){1,4}\\.[a-z0-9_-]{1,9}",
        "[a-z_]{1,6}\\.main",
        "(service|timer|x)\\.(service|timer|main|-|--)",
    ];
    proptest::collection::btree_set(id.prop_map(|text| ServiceId::parse(&text).unwrap()), 150..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn systemd_takes_every_id_for_a_unit_and_finds_our_instance(ids in ids()) {
        for (template, units) in [
            ("--template=tcs@.service", ids.iter().map(UnitName::service).collect::<Vec<_>>()),
            ("--template=tcs@.timer", ids.iter().map(UnitName::timer).collect()),
        ] {
            let names: Vec<String> = units.iter().map(ToString::to_string).collect();
            prop_assert_eq!(&judge(&["--mangle"], &names), &names);

            let instances: Vec<String> = ids.iter().map(|id| id.instance().replace('-', "/")).collect();
            prop_assert_eq!(judge(&["--unescape", template], &names), instances);

            prop_assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), ids.len(), "one unit for each id");
            for (name, unit) in names.iter().zip(&units) {
                prop_assert_eq!(&UnitName::parse(name).unwrap(), unit);
            }
        }
    }

    /// Escaping changes `-` alone: no other sign of an id means anything to systemd.
    #[test]
    fn systemd_would_escape_nothing_but_the_hyphen(ids in ids()) {
        let instances: Vec<String> = ids.iter().map(|id| id.instance().to_owned()).collect();
        let escaped: Vec<String> = instances.iter().map(|instance| instance.replace('-', "\\x2d")).collect();
        prop_assert_eq!(judge(&[], &instances), escaped);
    }
}

#[test]
fn the_judge_can_say_no_and_then_we_do_too() {
    for wrong in [
        "tcs@a b.service",
        "tcs@zażółć.service",
        "tcs@a/b.service",
        "tcs@a{b}.service",
    ] {
        assert_ne!(judge(&["--mangle"], &[wrong.to_owned()]).join(" "), wrong);
        assert!(UnitName::parse(wrong).is_err(), "{wrong}");
    }
}
