//! Where a service keeps its files.

use std::ffi::OsString;
use std::path::PathBuf;
use std::{env, fs};

use tcs_wire::ServiceId;

use crate::error::{Error, Result, ResultExt};

/// Returns the directory for what must outlive a restart, and makes it if need be.
///
/// Under systemd it is that of `StateDirectory=`; by hand it lies in `$XDG_STATE_HOME/tcs`, so that a try without root
/// has a place too.
pub(crate) fn state(id: &ServiceId) -> Result<PathBuf> {
    let variable = |name: &str| env::var_os(name);
    let directory = state_of(id, &variable).ok_or_else(|| {
        Error::configuration(
            "no place to keep state: set STATE_DIRECTORY (systemd does), XDG_STATE_HOME or HOME",
        )
    })?;
    fs::create_dir_all(&directory).context(format!("making {}", directory.display()))?;
    Ok(directory)
}

fn state_of(id: &ServiceId, variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    if let Some(directories) = set("STATE_DIRECTORY") {
        // A unit with several has them with colons between (`systemd.exec(5)`); the template has one.
        let first = directories
            .to_str()
            .and_then(|all| all.split(':').next())
            .map(PathBuf::from);
        return Some(first.unwrap_or_else(|| directories.into()));
    }
    let home = || set("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let base = set("XDG_STATE_HOME").map(PathBuf::from).or_else(home)?;
    Some(base.join("tcs").join(id.instance()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state_with(variables: &[(&str, &str)]) -> Option<PathBuf> {
        let id = ServiceId::parse("importer.main").unwrap();
        let find = |name: &str| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.into())
        };
        state_of(&id, &find)
    }

    #[test]
    fn systemd_has_the_first_word() {
        let systemd = ("STATE_DIRECTORY", "/var/lib/tcs/importer");
        assert_eq!(
            state_with(&[systemd, ("HOME", "/home/a")]),
            Some("/var/lib/tcs/importer".into())
        );
        assert_eq!(
            state_with(&[("STATE_DIRECTORY", "/var/lib/a:/var/lib/b")]),
            Some("/var/lib/a".into())
        );
    }

    #[test]
    fn by_hand_it_lies_at_home() {
        assert_eq!(
            state_with(&[("HOME", "/home/a")]),
            Some("/home/a/.local/state/tcs/importer".into())
        );
        let own = [("XDG_STATE_HOME", "/state"), ("HOME", "/home/a")];
        assert_eq!(state_with(&own), Some("/state/tcs/importer".into()));
        assert_eq!(state_with(&[]), None);
    }
}
