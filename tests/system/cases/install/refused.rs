//! A configuration that is wrong changes nothing.

use anyhow::{Result, ensure};
use tcs_system_tests::{Case, Lab, Site};

use super::{SERVICES, difference, fresh, listing, on_site};
use crate::observe::{Unit, start};

const FILE: &str = "/etc/tcs/services.yaml";
const INSTALLED: &str = "/etc/systemd /etc/polkit-1 /etc/sysusers.d /usr/lib/systemd";

pub(super) fn tests() -> Vec<Case> {
    vec![
        Case::own(
            "a_wrong_configuration_changes_nothing",
            fresh,
            wrong_configurations,
        ),
        Case::lab("only_root_installs", only_root_installs),
    ]
}

/// One mistake in the file, and what must be said of it.
struct Mistake {
    instead_of: &'static str,
    written: &'static str,
    place: &'static str,
    message: &'static str,
    advice: &'static str,
}

const MISTAKES: [Mistake; 5] = [
    Mistake {
        instead_of: "    message: Good evening",
        written: "    mesage: Good evening",
        place: "7:5",
        message: "`hello_world.main` has no key `mesage`",
        advice: "did you mean `message`?",
    },
    Mistake {
        instead_of: "    message: Good evening",
        written: "    message: 12",
        place: "7:14",
        message: "`message` is the number 12, a text is expected",
        advice: "put it into quotes: \"12\"",
    },
    Mistake {
        instead_of: "  - type: hello_world\n    message",
        written: "  - type: helo_world\n    message",
        place: "6:11",
        message: "`helo_world`",
        advice: "did you mean `hello_world`?",
    },
    Mistake {
        instead_of: "services:\n",
        written: "services:\n  - {type: tool, exec: /nowhere/tool}\n",
        place: "6:24",
        message: "there is no program `/nowhere/tool`",
        advice: "write the path from `/` on of a program that is there",
    },
    Mistake {
        instead_of: "\"03:00\"",
        written: "\"25:00\"",
        place: "23:15",
        message: "25:00",
        advice: "write it as in systemd.time(7)",
    },
];

fn wrong_configurations(site: &Site) -> Result<()> {
    site.install()?;
    ensure!(start(site, "tcs@hello_world")? == 0, "it does not start");
    let before = listing(site, INSTALLED)?;
    let run = |site: &Site| {
        let unit = Unit::read(site, "tcs@hello_world.service")?;
        let keys = [
            "ActiveState",
            "MainPID",
            "InvocationID",
            "NRestarts",
            "NeedDaemonReload",
        ];
        keys.map(|key| unit.get(key).map(str::to_owned))
            .into_iter()
            .collect::<Result<Vec<_>>>()
    };
    let running = run(site)?;
    ensure!(running[0] == "active" && running[4] == "no", "{running:?}");
    for mistake in MISTAKES {
        let wrong = SERVICES.replacen(mistake.instead_of, mistake.written, 1);
        ensure!(wrong != SERVICES, "there is no {} in it", mistake.instead_of);
        site.machine.write_file(FILE, &wrong)?;
        let install = site.machine.run(&["tcs-systemd-gen", "install", "--now"])?;
        ensure!(
            install.code() == 78,
            "{}: exit {}",
            mistake.written,
            install.code()
        );
        let said = install.both();
        let place = format!("{FILE}:{}", mistake.place);
        for part in [&place, mistake.message, mistake.advice] {
            ensure!(said.contains(part), "no `{part}` in:\n{said}");
        }
        ensure!(
            said.matches("error:").count() == 1
                && said.contains("1 problem in the configuration; nothing was changed"),
            "{said}"
        );
        let changed = difference(&before, &listing(site, INSTALLED)?);
        ensure!(changed.is_empty(), "{}: {changed:#?}", mistake.written);
        let now = run(site)?;
        ensure!(now == running, "{}: {now:?}, before {running:?}", mistake.written);
    }
    Ok(())
}

fn only_root_installs(lab: &Lab) -> Result<()> {
    on_site(lab, |site| {
        for verb in ["install", "uninstall"] {
            let refused = site.machine.run_as("nobody", &["tcs-systemd-gen", verb])?;
            ensure!(
                refused.code() == 77,
                "{verb}: exit {}: {}",
                refused.code(),
                refused.both()
            );
            ensure!(
                refused.stderr.contains("only root") && refused.stderr.contains("--root"),
                "{}",
                refused.stderr
            );
        }
        // To look is nobody's privilege.
        let diff = site.machine.run_as("nobody", &["tcs-systemd-gen", "diff"])?;
        ensure!(diff.code() == 0, "{}", diff.both());
        Ok(())
    })
}
