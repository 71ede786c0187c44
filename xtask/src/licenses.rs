//! The licences and bans of `deny.toml`, checked from `cargo metadata`: cargo-deny itself takes minutes to build.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tcs_testkit::cargo;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

/// The part of `deny.toml` that is checked here.
#[derive(Debug, PartialEq, Eq)]
struct Rules {
    allowed: Vec<String>,
    banned: Vec<String>,
}

/// Checks every package that this host's build links or runs.
pub(crate) fn check(root: &Path) -> Result<String> {
    let path = root.join("deny.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let rules = Rules::parse(&text);
    if rules.allowed.is_empty() {
        bail!("{}: no licences in `allow`", path.display());
    }
    let packages = packages()?;
    let problems: Vec<String> = packages
        .iter()
        .filter_map(|package| rules.problem_of(package))
        .collect();
    if problems.is_empty() {
        return Ok(format!(
            "{} packages, all licences allowed, none banned",
            packages.len()
        ));
    }
    bail!("{}", problems.join("\n"))
}

fn packages() -> Result<Vec<Package>> {
    let version = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("cannot run rustc")?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc tells no host")?;
    let output = cargo()
        .args([
            "metadata",
            "--locked",
            "--format-version",
            "1",
            "--filter-platform",
            host,
        ])
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("cargo metadata is not understood")?;
    Ok(metadata.packages)
}

impl Rules {
    /// Reads the strings of `allow = […]` and the names of `deny = […]`, written a line each as in our own file.
    fn parse(text: &str) -> Self {
        let list = |key: &str| {
            let start = format!("{key} = [");
            let lines = text
                .lines()
                .skip_while(move |line| !line.starts_with(&start))
                .skip(1);
            let strings = lines
                .take_while(|line| !line.starts_with(']'))
                .filter_map(|line| line.split('"').nth(1));
            strings.map(str::to_owned).collect()
        };
        Self {
            allowed: list("allow"),
            banned: list("deny"),
        }
    }

    fn problem_of(&self, package: &Package) -> Option<String> {
        let named = format!("{} {}", package.name, package.version);
        if self.banned.contains(&package.name) {
            return Some(format!("{named}: banned by deny.toml"));
        }
        if package
            .source
            .as_deref()
            .is_some_and(|source| !source.starts_with("registry+"))
        {
            return Some(format!(
                "{named}: comes from {}",
                package.source.as_deref().unwrap_or_default()
            ));
        }
        match &package.license {
            None => Some(format!("{named}: names no licence")),
            Some(license) if self.allows(license) => None,
            Some(license) => Some(format!("{named}: {license} is not allowed by deny.toml")),
        }
    }

    /// Whether an SPDX expression can be satisfied with allowed licences; `/` is an old spelling of OR.
    fn allows(&self, expression: &str) -> bool {
        let spaced = expression
            .replace('/', " OR ")
            .replace('(', " ( ")
            .replace(')', " ) ");
        let words: Vec<&str> = spaced.split_whitespace().collect();
        let mut at = 0;
        self.any_of(&words, &mut at) && at == words.len()
    }

    fn any_of(&self, words: &[&str], at: &mut usize) -> bool {
        let mut allowed = self.all_of(words, at);
        while words.get(*at) == Some(&"OR") {
            *at += 1;
            allowed |= self.all_of(words, at);
        }
        allowed
    }

    fn all_of(&self, words: &[&str], at: &mut usize) -> bool {
        let mut allowed = self.one(words, at);
        while words.get(*at) == Some(&"AND") {
            *at += 1;
            allowed &= self.one(words, at);
        }
        allowed
    }

    fn one(&self, words: &[&str], at: &mut usize) -> bool {
        let Some(word) = words.get(*at) else { return false };
        *at += 1;
        if *word == "(" {
            let allowed = self.any_of(words, at);
            // Without its closing parenthesis the expression is none, and nothing is allowed by it.
            let closed = words.get(*at) == Some(&")");
            *at += 1;
            return allowed && closed;
        }
        let mut name = (*word).to_owned();
        if let ["WITH", exception, ..] = &words[*at..] {
            name += &format!(" WITH {exception}");
            *at += 2;
        }
        self.allowed.contains(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules::parse(
            "[licenses]\nallow = [\n    \"MIT\",\n    \"ISC\",\n    \"A WITH B\",\n]\n[bans]\ndeny = [\n    { name = \"bad\", reason = \"x\" },\n]\n",
        )
    }

    #[test]
    fn deny_toml_is_read() {
        assert_eq!(
            rules(),
            Rules {
                allowed: vec!["MIT".into(), "ISC".into(), "A WITH B".into()],
                banned: vec!["bad".into()]
            }
        );
    }

    #[test]
    fn expressions_are_weighed() {
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0/MIT",
            "MIT AND ISC",
            "(GPL-3.0 OR MIT) AND ISC",
            "A WITH B",
        ] {
            assert!(rules().allows(good), "{good}");
        }
        for bad in [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(MIT",
            "MIT ISC",
            "A",
            "GPL-3.0 OR A WITH C",
        ] {
            assert!(!rules().allows(bad), "{bad}");
        }
    }

    #[test]
    fn a_banned_package_is_named() {
        let package = Package {
            name: "bad".into(),
            version: "1.0.0".into(),
            license: Some("MIT".into()),
            source: None,
        };
        assert_eq!(
            rules().problem_of(&package).as_deref(),
            Some("bad 1.0.0: banned by deny.toml")
        );
    }
}
