//! The program as people use it, on trees of their own; systemd's own tools are the judges.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

const UNITS: &str = "etc/systemd/system";

/// A tree with what a package brings beside the units: binaries and manifests.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for program in [
            "usr/bin/tcs-systemd-gen",
            "usr/bin/tool",
            "usr/lib/tcs/tcs-manager",
            "bin/sh",
        ] {
            tree.program(program);
        }
        for name in ["hello_world", "weather_importer"] {
            tree.program(&format!("usr/lib/tcs/services/{name}"));
            let manifest = fs::read_to_string(format!("tests/types/{name}.json")).unwrap();
            tree.write(&format!("usr/lib/tcs/services/{name}.json"), &manifest);
        }
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn program(&self, path: &str) {
        self.write(path, "");
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn unit(&self, path: &str) -> String {
        fs::read_to_string(self.path(UNITS).join(path)).unwrap()
    }

    /// Runs the program on this tree.
    fn generator(&self, arguments: &[&str]) -> Outcome {
        let mut command = assert_cmd::Command::cargo_bin("tcs-systemd-gen").unwrap();
        command.args(arguments).arg("--root").arg(self.0.path());
        command
            .env_remove("TCS_CONFIG")
            .env_remove("TCS_SERVICE_PATH")
            .env("NO_COLOR", "1");
        command.current_dir(self.0.path());
        Outcome::of(command.output().unwrap())
    }

    fn install(&self) -> Outcome {
        let outcome = self.generator(&["install"]);
        assert_eq!(outcome.code, 0, "{}{}", outcome.stdout, outcome.stderr);
        outcome
    }

    /// Lists files with their text and links with their target.
    fn listing(&self, folder: &str) -> String {
        let mut text = String::new();
        self.list(&self.path(folder), &mut text);
        text
    }

    fn list(&self, folder: &Path, text: &mut String) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let name = path.strip_prefix(self.0.path()).unwrap().display().to_string();
            if let Ok(target) = fs::read_link(&path) {
                writeln!(text, "===== {name} -> {}", target.display()).unwrap();
            } else if path.is_dir() {
                self.list(&path, text);
            } else {
                let mode = path.metadata().unwrap().permissions().mode() & 0o777;
                writeln!(
                    text,
                    "===== {name} {mode:o}\n{}",
                    fs::read_to_string(&path).unwrap()
                )
                .unwrap();
            }
        }
    }

    fn site(&self) {
        self.write(
            "etc/tcs/services.yaml",
            &fs::read_to_string("tests/site/services.yaml").unwrap(),
        );
    }
}

struct Outcome {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Outcome {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path("golden");
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Runs one of systemd's tools on a tree that has the distribution's units as well; nothing when there is none here.
fn systemd(tree: &Tree, program: &str, arguments: &[&str]) -> Option<Outcome> {
    let units = Path::new("/usr/lib/systemd/system");
    if !units.is_dir() || Command::new(program).arg("--version").output().is_err() {
        assert!(env::var_os("CI").is_none(), "{program} is needed in CI");
        return None;
    }
    let copy = tree.path("usr/lib/systemd/system");
    if !copy.exists() {
        fs::create_dir_all(&copy).unwrap();
        let found = fs::read_dir(units).unwrap().filter_map(|entry| entry.ok());
        for entry in found.filter(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|end| end == "target" || end == "slice" || end == "socket")
        }) {
            fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
    }
    let output = Command::new(program)
        .args(arguments)
        .arg("--root")
        .arg(tree.0.path())
        .output()
        .unwrap();
    Some(Outcome::of(output))
}

fn instances(tree: &Tree) -> Vec<String> {
    let names = fs::read_dir(tree.path(UNITS))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut units: Vec<String> = names
        .filter_map(|name| Some(name.strip_suffix(".d")?.to_owned()))
        .collect();
    units.sort();
    units
}

#[test]
fn the_sample_configuration_gives_these_files() {
    let tree = Tree::new();
    let sample = fs::read_to_string("../../config/services.yaml").unwrap();
    tree.write("etc/tcs/services.yaml", &format!("{sample}\nhost: obs1\n"));
    tree.install();
    fs::remove_dir_all(tree.path("etc/tcs")).unwrap();
    snapshot("sample", &tree.listing("etc"));
}

#[test]
fn a_site_with_every_key_gives_these_drop_ins() {
    let tree = Tree::new();
    tree.site();
    tree.install();
    for name in [
        "tcs@.service",
        "tcs@.timer",
        "tcs.target",
        "tcs.slice",
        "tcs-manager.service",
    ] {
        fs::remove_file(tree.path(UNITS).join(name)).unwrap();
    }
    snapshot("site", &tree.listing(UNITS));
}

#[test]
fn systemd_has_nothing_to_say_about_any_unit() {
    let tree = Tree::new();
    tree.site();
    tree.install();
    let mut units = instances(&tree);
    assert_eq!(units.len(), 10, "{units:?}");
    units.extend(
        [
            "tcs@undeclared.service",
            "tcs.target",
            "tcs.slice",
            "tcs-manager.service",
        ]
        .map(str::to_owned),
    );
    for unit in &units {
        let Some(outcome) = systemd(&tree, "systemd-analyze", &["verify", "--man=no", unit]) else {
            return;
        };
        assert_eq!(
            (outcome.stderr.as_str(), outcome.stdout.as_str(), outcome.code),
            ("", "", 0),
            "{unit}"
        );
    }
}

#[test]
fn the_sandbox_scores_at_most_two() {
    let tree = Tree::new();
    tree.site();
    tree.install();
    for unit in ["tcs@hello_world.service", "tcs-manager.service"] {
        let arguments = ["security", "--offline=true", "--threshold=20", "--no-pager", unit];
        let Some(outcome) = systemd(&tree, "systemd-analyze", &arguments) else {
            return;
        };
        assert_eq!(outcome.code, 0, "{}", outcome.stdout);
    }
}

#[test]
fn systemd_sees_what_starts_with_the_machine() {
    let tree = Tree::new();
    tree.site();
    tree.install();
    let states = [
        ("tcs.target", "enabled"),
        ("tcs-manager.service", "enabled"),
        ("tcs@hello_world.service", "enabled"),
        ("tcs@hello_world.zb08.service", "disabled"),
        ("tcs@hello_world.for-ever.service", "disabled"),
        ("tcs@weather_importer.timer", "enabled"),
        ("tcs@weather_importer.service", "static"),
    ];
    for (unit, state) in states {
        let Some(outcome) = systemd(&tree, "systemctl", &["is-enabled", unit]) else {
            return;
        };
        assert_eq!(outcome.stdout.trim(), state, "{unit}: {}", outcome.stderr);
    }
}

#[test]
fn a_second_install_changes_nothing_and_says_so() {
    let tree = Tree::new();
    tree.site();
    tree.install();
    let before = tree.listing("etc");
    assert_eq!(tree.generator(&["diff"]).code, 0);
    assert_eq!(tree.install().stdout, "nothing changed: 8 services as declared\n");
    assert_eq!(tree.listing("etc"), before);
}

#[test]
fn a_dry_run_shows_what_an_install_does_and_does_nothing() {
    let tree = Tree::new();
    tree.site();
    let before = tree.listing("");
    let dry = tree.generator(&["install", "--dry-run"]).stdout;
    assert_eq!(tree.listing(""), before);
    assert_eq!(tree.install().stdout, dry);
}

#[test]
fn what_is_no_longer_declared_goes_and_the_rest_stays() {
    let tree = Tree::new();
    tree.site();
    tree.install();
    tree.write(
        &format!("{UNITS}/tcs@hello_world.service.d/20-mine.conf"),
        "[Service]\nNice=5\n",
    );
    tree.write(
        &format!("{UNITS}/other.service"),
        "[Service]\nExecStart=/bin/true\n",
    );
    tree.write(
        "etc/tcs/services.yaml",
        "services:\n- type: weather_importer\n  directory: /data\n",
    );
    let outcome = tree.install();
    assert!(
        outcome
            .stdout
            .contains("disable  /etc/systemd/system/tcs.target.wants/tcs@weather_importer.timer")
    );
    assert_eq!(
        instances(&tree),
        ["tcs@hello_world.service", "tcs@weather_importer.service"]
    );
    assert!(
        !tree
            .path(UNITS)
            .join("tcs@hello_world.service.d/10-tcs.conf")
            .exists()
    );
    assert!(
        tree.path(UNITS)
            .join("tcs@hello_world.service.d/20-mine.conf")
            .exists()
    );
    assert!(tree.path(UNITS).join("other.service").exists());
    let wants: Vec<_> = fs::read_dir(tree.path(UNITS).join("tcs.target.wants"))
        .unwrap()
        .collect();
    assert_eq!(wants.len(), 1, "the manager's alone");
}

#[test]
fn what_was_changed_by_hand_is_left_and_named() {
    let tree = Tree::new();
    tree.site();
    tree.install();
    let drop_in = "tcs@hello_world.service.d/10-tcs.conf";
    let edited = tree.unit(drop_in) + "Nice=5\n";
    tree.write(&format!("{UNITS}/{drop_in}"), &edited);
    tree.write(&format!("{UNITS}/tcs.slice"), "[Slice]\nMemoryHigh=1G\n");

    let outcome = tree.generator(&["install"]);
    assert_eq!(outcome.code, 1);
    assert!(
        outcome
            .stdout
            .contains(&format!("left     /{UNITS}/{drop_in}: it was changed by hand")),
        "{}",
        outcome.stdout
    );
    assert!(outcome.stdout.contains(&format!(
        "left     /{UNITS}/tcs.slice: it was not written by tcs-systemd-gen"
    )));
    assert_eq!(tree.unit(drop_in), edited);
    let diff = tree.generator(&["diff"]);
    assert_eq!(diff.code, 1);
    assert!(diff.stdout.contains("-Nice=5\n"), "{}", diff.stdout);

    assert_eq!(tree.generator(&["install", "--force"]).code, 0);
    assert_eq!(tree.unit(&format!("{drop_in}.bak")), edited);
    assert_eq!(tree.generator(&["diff"]).code, 0);
}

#[test]
fn every_forced_install_keeps_a_copy_of_its_own() {
    let tree = Tree::new();
    tree.site();
    tree.install();
    let drop_in = "tcs@hello_world.service.d/10-tcs.conf";
    let file = format!("{UNITS}/{drop_in}");
    let ours = tree.unit(drop_in);
    let copies = [".bak", ".bak.1", ".bak.2"];
    for copy in copies {
        tree.write(&file, &format!("{ours}# {copy}\n"));
        fs::set_permissions(tree.path(&file), fs::Permissions::from_mode(0o640)).unwrap();
        let outcome = tree.generator(&["install", "--force"]);
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        assert!(
            outcome.stdout.contains(&format!("copy     /{file}{copy}\n")),
            "{}",
            outcome.stdout
        );
    }
    for copy in copies {
        assert_eq!(
            tree.unit(&format!("{drop_in}{copy}")),
            format!("{ours}# {copy}\n")
        );
        let mode = tree
            .path(&format!("{file}{copy}"))
            .metadata()
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o640);
    }
}

#[test]
fn a_job_that_becomes_permanent_starts_with_the_machine() {
    let tree = Tree::new();
    let declare = |keys: &str| {
        tree.write(
            "etc/tcs/services.yaml",
            &format!("services:\n- type: script\n  exec: /bin/sh\n{keys}"),
        )
    };
    let wants = |unit: &str| {
        tree.path(UNITS)
            .join("tcs.target.wants")
            .join(unit)
            .symlink_metadata()
            .is_ok()
    };
    declare("  kind: job\n  schedule: daily\n");
    tree.install();
    assert!(wants("tcs@script.timer") && !wants("tcs@script.service"));
    declare("");
    tree.install();
    assert!(!wants("tcs@script.timer") && wants("tcs@script.service"));
    fs::remove_file(tree.path(UNITS).join("tcs.target.wants/tcs@script.service")).unwrap();
    tree.install();
    assert!(!wants("tcs@script.service"), "what was disabled by hand stays so");
    declare("  kind: job\n  schedule: daily\n");
    tree.install();
    assert!(wants("tcs@script.timer") && !wants("tcs@script.service"));
}

#[test]
fn what_the_administrator_disabled_stays_so_until_the_entry_says_otherwise() {
    let tree = Tree::new();
    let declare = |enabled: &str| {
        tree.write(
            "etc/tcs/services.yaml",
            &format!("services:\n- type: hello_world\n  enabled: {enabled}\n"),
        )
    };
    let link = tree.path(UNITS).join("tcs.target.wants/tcs@hello_world.service");
    let enabled = || link.symlink_metadata().is_ok();
    declare("true");
    tree.install();
    assert!(enabled());
    fs::remove_file(&link).unwrap();
    tree.install();
    assert!(!enabled(), "what was disabled by hand stays so");
    declare("manual");
    tree.install();
    std::os::unix::fs::symlink("/etc/systemd/system/tcs@.service", &link).unwrap();
    tree.install();
    assert!(enabled(), "what was enabled by hand stays so");
    declare("true");
    tree.install();
    declare("false");
    tree.install();
    assert!(!enabled(), "a changed entry decides anew");
}

#[test]
fn a_package_brings_its_own_units() {
    let tree = Tree::new();
    tree.site();
    for name in [
        "tcs@.service",
        "tcs@.timer",
        "tcs.target",
        "tcs.slice",
        "tcs-manager.service",
    ] {
        tree.write(
            &format!("usr/lib/systemd/system/{name}"),
            &fs::read_to_string(format!("../../systemd/{name}")).unwrap(),
        );
    }
    tree.install();
    assert!(!tree.path(UNITS).join("tcs@.service").exists());
    let link = fs::read_link(tree.path(UNITS).join("tcs.target.wants/tcs@hello_world.service")).unwrap();
    assert_eq!(link, Path::new("/usr/lib/systemd/system/tcs@.service"));
}

#[test]
fn an_error_leaves_the_installed_units_as_they_were() {
    let tree = Tree::new();
    tree.site();
    tree.install();
    let before = tree.listing(UNITS);
    let broken = [
        (
            "- type: hello_world\n  mesage: x\n",
            ":3:3",
            "did you mean `message`?",
        ),
        (
            "- type: hello_world\n  message: [x]\n",
            ":3:12",
            "a text is expected",
        ),
        ("- type: guider\n", ":2:9", "put the binary `guider`"),
        (
            "- type: weather_importer\n  directory: /d\n  schedule: [daily, noonish]\n",
            ":4:21",
            "Failed to parse calendar",
        ),
    ];
    for (entry, place, advice) in broken {
        tree.write("etc/tcs/services.yaml", &format!("services:\n{entry}"));
        let outcome = tree.generator(&["install"]);
        assert_eq!(outcome.code, 78, "{entry}");
        assert!(
            outcome.stderr.contains(&format!("services.yaml{place}")),
            "{}",
            outcome.stderr
        );
        assert!(outcome.stderr.contains(advice), "{}", outcome.stderr);
        assert_eq!(outcome.stdout, "");
        assert_eq!(tree.listing(UNITS), before);
    }
}

#[test]
fn a_configuration_from_elsewhere_is_put_where_services_read_it() {
    let tree = Tree::new();
    tree.write("config/services.yaml", "services:\n- type: hello_world\n");
    tree.write(
        "config/services.d/10-more.yaml",
        "services:\n- type: hello_world\n  variant: b\n",
    );
    tree.install();
    assert!(tree.path("etc/tcs/services.d/10-more.yaml").exists());
    assert!(
        tree.unit("tcs@hello_world.b.service.d/10-tcs.conf")
            .contains("from /etc/tcs/services.d/10-more.yaml:2.")
    );

    tree.write(
        "config/services.yaml",
        "services:\n- type: hello_world\n  message: x\n",
    );
    let arguments = ["install", "--config", "config/services.yaml"];
    let outcome = tree.generator(&arguments);
    assert_eq!(outcome.code, 78);
    assert!(
        outcome
            .stderr
            .contains("which differs from `config/services.yaml`"),
        "{}",
        outcome.stderr
    );
    tree.write("etc/tcs/services.yaml.bak", "an earlier copy");
    let forced = tree.generator(&["install", "--config", "config/services.yaml", "--force"]);
    assert_eq!(forced.code, 0, "{}", forced.stderr);
    assert!(
        forced.stdout.contains("copy     /etc/tcs/services.yaml.bak.1\n"),
        "{}",
        forced.stdout
    );
    let copy = |name: &str| fs::read_to_string(tree.path("etc/tcs").join(name)).unwrap();
    assert_eq!(copy("services.yaml.bak"), "an earlier copy");
    assert_eq!(copy("services.yaml.bak.1"), "services:\n- type: hello_world\n");
    assert_eq!(
        tree.generator(&arguments).stdout,
        "nothing changed: 2 services as declared\n"
    );

    tree.write("etc/tcs/services.d/99-other.yaml", "");
    assert!(
        tree.generator(&arguments)
            .stderr
            .contains("99-other.yaml` as well")
    );
}

#[test]
fn uninstall_leaves_nothing_of_it() {
    let tree = Tree::new();
    tree.site();
    let before = tree.listing("");
    tree.install();
    tree.write("var/lib/systemd/timers/stamp-tcs@weather_importer.timer", "");
    tree.write("var/lib/systemd/timers/stamp-other.timer", "");
    let outcome = tree.generator(&["uninstall"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let after = tree
        .listing("")
        .replace("===== var/lib/systemd/timers/stamp-other.timer 644\n\n", "");
    assert_eq!(after, before);
    assert!(
        tree.generator(&["uninstall"])
            .stdout
            .contains("nothing is installed")
    );
}

#[test]
fn show_prints_template_and_drop_ins() {
    let tree = Tree::new();
    tree.site();
    for name in [
        "hello_world.zb08",
        "tcs@hello_world.zb08",
        "tcs@hello_world.zb08.service",
    ] {
        let outcome = tree.generator(&["show", name]);
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        assert!(outcome.stdout.starts_with("# /etc/systemd/system/tcs@.service\n"));
        assert!(
            outcome
                .stdout
                .contains("# /etc/systemd/system/tcs@hello_world.zb08.service.d/10-tcs.conf\n")
        );
        assert!(outcome.stdout.contains("\nRestartSec=2s\n"));
    }
    assert!(
        tree.generator(&["show", "weather_importer"])
            .stdout
            .contains("\nOnCalendar=hourly UTC\n")
    );
    let outcome = tree.generator(&["show", "guider"]);
    assert_eq!(outcome.code, 4);
    assert!(
        outcome
            .stderr
            .contains("declared are hello_world.main, hello_world.zb08"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn the_bare_template_runs_the_type_or_names_the_known_ones() {
    let tree = Tree::new();
    let folder = tree.path("types");
    fs::create_dir_all(&folder).unwrap();
    let program = folder.join("echo-service");
    fs::write(
        &program,
        "#!/bin/sh\necho \"$@\" \"$TCS_MANAGER\" \"$TCS_RUNNER_ID\"\n",
    )
    .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    tree.write(
        "services.yaml",
        "host: obs1\nservices:\n- type: script\n  exec: /bin/sh\n",
    );
    let exec = |instance: &str| {
        let mut command = assert_cmd::Command::cargo_bin("tcs-systemd-gen").unwrap();
        command
            .args(["exec", instance])
            .env("TCS_SERVICE_PATH", &folder)
            .env("TCS_CONFIG", tree.path("services.yaml"));
        Outcome::of(command.output().unwrap())
    };
    let outcome = exec("echo_service.zb08");
    assert_eq!(
        outcome.stdout, "--id echo_service.zb08 manager.obs1 manager.obs1.echo_service.zb08\n",
        "{}",
        outcome.stderr
    );
    let outcome = exec("typo");
    assert_eq!(outcome.code, 78);
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("no service type `typo` is installed"),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains("echo_service"), "{}", outcome.stderr);
    assert!(
        outcome.stderr.ends_with("declared services: script\n"),
        "{}",
        outcome.stderr
    );
    let outcome = exec("echo_service.main");
    assert_eq!(outcome.code, 78);
    assert!(
        outcome.stderr.contains("write `tcs@echo_service`"),
        "{}",
        outcome.stderr
    );
}
