//! Every command line that README.md and docs/operating.md show as one to be typed is typed.

use anyhow::{Context, Result, ensure};
use tcs_system_tests::{Case, Site, SiteConfig};
use tcs_testkit::workspace_root;

const SERVICES: &str = "services:
  - type: hello_world
  - {type: weather_importer, directory: /var/lib/weather, schedule: \"*:0/10\"}
  - {type: plan_runner, variant: zb08, exec: /bin/sleep infinity}
  - {type: plan_runner, variant: jk15, exec: /bin/sleep infinity}
";

pub(crate) fn tests() -> Vec<Case> {
    let config = || SiteConfig::with_services(SERVICES);
    vec![Case::own(
        "every_command_of_the_documents_works",
        config,
        every_command,
    )]
}

/// A command line, and whether it ends by itself.
#[derive(Debug)]
struct Shown {
    place: String,
    line: String,
}

fn every_command(site: &Site) -> Result<()> {
    site.install()?;
    super::start_manager(site)?;
    let units = ["tcs@hello_world", "tcs@plan_runner.zb08", "tcs@plan_runner.jk15"];
    site.machine
        .run_ok(&[&["systemctl", "start"], &units[..]].concat())?;
    site.machine.run_ok(&["install", "-d", "/var/lib/weather"])?;
    let mut count = 0;
    for document in ["README.md", "docs/operating.md"] {
        for shown in commands(document)? {
            typed(site, &shown)?;
            count += 1;
        }
    }
    ensure!(count >= 20, "only {count} commands were found");
    Ok(())
}

/// A line that follows is typed for a moment: it must still go on then.
fn typed(site: &Site, shown: &Shown) -> Result<()> {
    let follows = [" -f", " --follow"]
        .iter()
        .any(|option| shown.line.contains(option));
    let script = "set -o pipefail; alias sudo=; shopt -s expand_aliases; eval \"$1\"";
    let argv = ["bash", "-c", script, "bash", &shown.line];
    let output = if follows {
        site.machine.run(&[&["timeout", "1"], &argv[..]].concat())?
    } else {
        site.machine.run(&argv)?
    };
    let expected = if follows { 124 } else { 0 };
    ensure!(
        output.code() == expected,
        "{}: `{}` ended with {} rather than {expected}:\n{}",
        shown.place,
        shown.line,
        output.code(),
        output.both()
    );
    Ok(())
}

/// Returns the lines behind `$ ` in the blocks marked `console`.
fn commands(document: &str) -> Result<Vec<Shown>> {
    let path = workspace_root().join(document);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {document}"))?;
    let mut inside = false;
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            found.push(Shown {
                place: format!("{document}:{}", index + 1),
                line: command.split(" # ").next().unwrap_or(command).trim().to_owned(),
            });
        }
    }
    ensure!(!found.is_empty(), "{document} shows no commands");
    Ok(found)
}
