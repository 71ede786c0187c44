//! Files as people write them: each rule has one that breaks it, with the messages that follow.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use tcs_config::{
    Diagnostics, Enabled, Found, Loaded, Program, TypeCatalog, Variables, When, load, load_service,
    load_settings, load_sound,
};
use tcs_wire::{Kind, Manifest, RestartPolicy, ServiceId};

/// A root with the service types of `tests/types`, one without manifest, one of another contract and one garbled.
struct Host {
    root: tempfile::TempDir,
    types: TypeCatalog,
}

impl Host {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("usr/lib/tcs/services");
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(root.path().join("bin")).unwrap();
        let mut programs = vec![root.path().join("bin/sh")];
        for name in [
            "hello_world",
            "weather_importer",
            "without_manifest",
            "stale",
            "garbled",
        ] {
            programs.push(folder.join(name));
            if let Ok(text) = fs::read_to_string(format!("tests/types/{name}.json")) {
                fs::write(folder.join(format!("{name}.json")), text).unwrap();
            }
        }
        let stale = fs::read_to_string("tests/types/hello_world.json").unwrap();
        let stale = stale
            .replace("\"contract\": 1", "\"contract\": 0")
            .replace("\"hello_world\"", "\"stale\"");
        fs::write(folder.join("stale.json"), stale).unwrap();
        fs::write(folder.join("garbled.json"), "{").unwrap();
        for program in programs {
            fs::write(&program, "").unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let types = TypeCatalog::installed(root.path(), None);
        Self { root, types }
    }

    fn found(&self, files: &[&Path]) -> Found {
        let host = [("PAUSE", "7"), ("LIMIT", "20min"), ("KNOWN", "1min")];
        let host = host
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Found {
            root: self.root.path().to_owned(),
            variables: Variables {
                host,
                process: BTreeMap::new(),
            },
            ..Found::files(files.iter().map(|path| path.to_path_buf()))
        }
    }

    fn load(&self, files: &[&Path]) -> Result<Loaded, Diagnostics> {
        load(&self.found(files), &self.types)
    }

    fn load_text(&self, text: &str) -> Result<Loaded, Diagnostics> {
        let path = self.root.path().join("services.yaml");
        fs::write(&path, text).unwrap();
        self.load(&[&path])
    }
}

fn id(text: &str) -> ServiceId {
    ServiceId::parse(text).unwrap()
}

fn manifest(name: &str) -> Manifest {
    serde_json::from_str(&fs::read_to_string(format!("tests/types/{name}.json")).unwrap()).unwrap()
}

#[test]
fn every_rule_has_a_file_that_breaks_it() {
    let host = Host::new();
    let mut paths: Vec<PathBuf> = fs::read_dir("tests/invalid")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() > 30);
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(&regex_of(host.root.path()), "[ROOT]");
    settings.set_omit_expression(true);
    settings.set_snapshot_path("invalid");
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| {
        for path in paths
            .iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        {
            let problems = host.load(&[path]).expect_err(&path.display().to_string());
            insta::assert_snapshot!(path.file_stem().unwrap().to_str().unwrap(), problems.to_string());
        }
    });
}

fn regex_of(path: &Path) -> String {
    path.display().to_string().replace('.', "\\.")
}

#[test]
fn a_complete_file_means_what_it_says() {
    let loaded = Host::new()
        .load(&[Path::new("tests/valid/complete.yaml")])
        .map_err(|problems| panic!("{problems}"));
    let Loaded { site, warnings } = loaded.unwrap();
    assert_eq!(warnings.len(), 0, "{warnings:?}");
    assert_eq!(site.host.as_str(), "obs1");
    assert_eq!(site.manager_id().as_str(), "manager.obs1");
    assert_eq!(site.nats.urls, ["nats://broker1:4222", "tls://broker2"]);
    assert_eq!(site.nats.subject_prefix.as_str(), "oca.svc");
    assert!(site.nats.required && !site.manage_streams);
    let ids: Vec<_> = site.services.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "hello_world.zb08",
            "hello_world.main",
            "weather_importer.zb08",
            "script.no"
        ]
    );

    let hello = site.service(&id("hello_world.zb08")).unwrap();
    assert_eq!(
        hello.program,
        Program::Installed("/usr/lib/tcs/services/hello_world".into())
    );
    assert_eq!(hello.restart.policy, RestartPolicy::No);
    assert_eq!(hello.stop_timeout, Some(Duration::from_secs(20)));
    assert_eq!(hello.watchdog, Some(Duration::from_secs(90)));
    assert_eq!(hello.environment["SITE"], "oca");
    assert_eq!(hello.environment["LEVEL"], "2");
    assert!(hello.required);
    assert_eq!(
        hello.fields["message"], "${GREETING:-hi}",
        "own fields stay as written"
    );
    assert!(
        !hello.fields.contains_key("observatory"),
        "the type has no such field"
    );
    assert_eq!((hello.place.line, hello.place.column), (14, 11));

    let main = site.service(&id("hello_world.main")).unwrap();
    assert_eq!(main.restart.policy, RestartPolicy::Always);
    assert_eq!(main.enabled, Enabled::Manual);
    assert!(!main.required);

    let importer = site.service(&id("weather_importer.zb08")).unwrap();
    assert_eq!(
        (importer.kind, importer.restart.policy),
        (Kind::Job, RestartPolicy::No)
    );
    assert_eq!(importer.max_runtime, Some(Duration::from_secs(1200)));
    let timer = importer.timer.as_ref().unwrap();
    assert_eq!(timer.jitter, Some(Duration::from_secs(30)));
    let When::Calendar {
        events,
        persistent: true,
    } = &timer.when
    else {
        panic!("{timer:?}")
    };
    let events: Vec<_> = events.iter().map(|event| event.expression()).collect();
    assert_eq!(events, ["hourly UTC", "Mon..Fri 06:30 Europe/Warsaw"]);

    let script = site.service(&id("script.no")).unwrap();
    assert_eq!(script.kind, Kind::Job);
    assert!(
        matches!(&script.program, Program::Exec { command, notify: false } if command[2] == "echo ${TOKEN}")
    );
    assert_eq!(script.fields["observatory"], "oca");
}

#[test]
fn later_files_are_laid_over_earlier_ones() {
    let host = Host::new();
    let write = |name: &str, text: &str| {
        let path = host.root.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let first = write(
        "services.yaml",
        "nats: {url: nats://a:4222, subject_prefix: x}\nservices:\n- type: hello_world\n  message: one\n  interval: 1\n  \
         peer: {name: a, ports: [1]}\n- type: weather_importer\n  directory: /a\n",
    );
    let second = write(
        "10-more.yaml",
        "nats: {url: nats://b:4222}\nservices:\n- type: hello_world\n  variant: main\n  message: two\n  interval: ~\n  \
         peer: {ports: [2, 3]}\n- type: hello_world\n  variant: new\n",
    );
    let site = host.load(&[&first, &second]).unwrap().site;
    assert_eq!(site.nats.urls, ["nats://b:4222"]);
    assert_eq!(site.nats.subject_prefix.as_str(), "x");
    let ids: Vec<_> = site.services.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(
        ids,
        ["hello_world.main", "weather_importer.main", "hello_world.new"]
    );
    let expected = serde_json::json!({"message": "two", "peer": {"name": "a", "ports": [2, 3]}});
    assert_eq!(
        serde_json::Value::Object(site.services[0].fields.clone()),
        expected
    );
}

#[test]
fn a_problem_in_one_entry_does_not_hurt_the_others_at_run_time() {
    let host = Host::new();
    let path = host.root.path().join("services.yaml");
    fs::write(
        &path,
        "services:\n- type: hello_world\n  message: hi\n- type: nowhere\n  restart: maybe\n",
    )
    .unwrap();
    let found = host.found(&[&path]);
    assert_eq!(load(&found, &host.types).unwrap_err().len(), 2);

    let sound = load_sound(&found, &host.types).unwrap();
    assert_eq!(sound.site.services.len(), 1);
    assert_eq!(sound.warnings.len(), 1);

    let own = load_service(&found, &id("hello_world.main"), &manifest("hello_world")).unwrap();
    assert_eq!(own.site.services[0].fields["message"], "hi");
    assert!(own.site.services[0].declared);
    assert!(load_settings(&found).is_ok());
}

#[test]
fn a_service_without_an_entry_has_what_holds_for_all() {
    let host = Host::new();
    let path = host.root.path().join("services.yaml");
    fs::write(
        &path,
        "message: for all\ndefaults: {log_level: debug}\nnats: {required: true}\n",
    )
    .unwrap();
    let loaded = load_service(
        &host.found(&[&path]),
        &id("hello_world.dev"),
        &manifest("hello_world"),
    )
    .unwrap();
    let [entry] = &loaded.site.services[..] else {
        panic!("one entry expected")
    };
    assert!(!entry.declared && entry.required);
    assert_eq!(entry.fields["message"], "for all");
    let nothing = load_service(
        &Found::files([]),
        &id("hello_world.dev"),
        &manifest("hello_world"),
    )
    .unwrap();
    assert!(nothing.site.services[0].fields.is_empty());
    assert_eq!(nothing.site.nats.urls, ["nats://127.0.0.1:4222"]);
}

#[test]
fn what_reads_differently_elsewhere_is_told() {
    let host = Host::new();
    let text = "services:\n- type: hello_world\n  variant: no\n  restart_sec: 30\n- type: script\n  exec: /bin/sh\n  \
                restart_secs: 5\n  instance_context: a\n";
    let warnings = host.load_text(text).unwrap().warnings;
    let messages: Vec<_> = warnings
        .iter()
        .map(|warning| warning.message().to_owned())
        .collect();
    assert_eq!(
        messages,
        [
            "`no` without quotes is no text to the Python framework",
            "the limit of 5 restarts in 1min is never reached",
            "`restart_secs` is taken as a field of the service's own",
        ]
    );
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let host = Host::new();
    let problems = host
        .load_text(&format!("services: [] #{}", "x".repeat(9 << 20)))
        .unwrap_err();
    assert!(
        problems.to_string().contains("is larger than 8 MiB"),
        "{problems}"
    );
    let bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned()
        + &('b'..='i')
            .map(|c| {
                format!(
                    "{c}: &{c} [{}]\n",
                    format!("*{}, ", (c as u8 - 1) as char).repeat(10)
                )
            })
            .collect::<String>();
    let problems = host.load_text(&bomb).unwrap_err();
    assert!(
        problems.to_string().contains("too large or too deep"),
        "{problems}"
    );
}

#[test]
fn the_documentation_lists_every_key() {
    let path = "../../docs/configuration.md";
    let text = fs::read_to_string(path).unwrap();
    let (before, rest) = text
        .split_once("<!-- keys -->\n")
        .expect("the mark `<!-- keys -->`");
    let (_, after) = rest
        .split_once("<!-- end of keys -->\n")
        .expect("the mark `<!-- end of keys -->`");
    let current = format!(
        "{before}<!-- keys -->\n\n{}\n<!-- end of keys -->\n{after}",
        tcs_config::reference()
    );
    if std::env::var_os("TCS_WRITE_DOCS").is_some() {
        fs::write(path, &current).unwrap();
        return;
    }
    assert_eq!(text, current, "run the test once with TCS_WRITE_DOCS=1");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(text in "(services|type|hello_world|defaults|[ \n:\\-\\[\\]{}&*|>'\"#,a-z0-9ü~!?%@\t]){0,60}") {
        let _ = HOST.with(|host| host.load_text(&text).map_err(|problems| problems.to_string()));
    }

    #[test]
    fn entries_of_any_shape_give_messages(keys in proptest::collection::vec((key(), value()), 0..8)) {
        let lines: String = keys.iter().map(|(key, value)| format!("    {key}: {value}\n")).collect();
        let text = format!("services:\n  - type: hello_world\n{lines}");
        if let Err(problems) = HOST.with(|host| host.load_text(&text)) {
            for problem in &problems {
                let place = problem.place().expect("every problem of a file has a place");
                let line = text.lines().nth(place.line - 1).expect("the line is in the file");
                prop_assert!(place.column <= line.chars().count() + 1, "{} in {}", place, text);
                prop_assert!(problem.to_string().contains(&place.to_string()));
            }
        }
    }

    #[test]
    fn a_wrong_value_is_found_where_it_stands(before in 0..6_usize, indent in 1..5_usize, gap in 1..4_usize, comment in "[ü #a-z]{0,10}") {
        let filler: String = (0..before).map(|n| format!("# {comment} {n}\n")).collect();
        let pad = " ".repeat(indent);
        let text = format!("{filler}services:\n- type: hello_world\n  peer:\n  {pad}name:{}[x]\n", " ".repeat(gap));
        let problems = HOST.with(|host| host.load_text(&text)).unwrap_err();
        let places: Vec<_> = problems.iter().filter_map(|problem| problem.place()).map(|place| (place.line, place.column)).collect();
        prop_assert_eq!(places, vec![(before + 4, 2 + indent + 5 + gap + 1)]);
    }
}

thread_local! {
    static HOST: Host = Host::new();
}

fn key() -> impl Strategy<Value = String> {
    let common: Vec<String> = tcs_config::entry_names()
        .filter(|name| *name != "type")
        .map(str::to_owned)
        .collect();
    let own = ["interval", "message", "repeat", "tone", "peer", "other"]
        .map(str::to_owned)
        .to_vec();
    proptest::sample::select([common, own].concat())
}

fn value() -> impl Strategy<Value = String> {
    proptest::sample::select(vec![
        "5",
        "-1",
        "1.5",
        "text",
        "\"\"",
        "~",
        "true",
        "no",
        "[]",
        "[1, a]",
        "{a: b}",
        "5s",
        "0",
        "\"${X}\"",
        "\"${\"",
        "{name: a}",
        "99999999999999999999",
        "010",
        "\"ü\\n\"",
    ])
    .prop_map(str::to_owned)
}
