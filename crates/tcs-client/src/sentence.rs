//! What there is to say of a service that says nothing itself.

use tcs_wire::{Snapshot, State};

/// Returns the one line that goes with a service's state when the service itself has nothing to say of it.
pub fn explanation(snapshot: &Snapshot) -> Option<String> {
    let unit = &snapshot.unit;
    match snapshot.state() {
        State::Failed => unit.ending(),
        State::Restarting => {
            let attempt = unit.restarts.saturating_add(1);
            let count = match snapshot.max_restarts {
                Some(most) => format!("restart {attempt} of {most}"),
                None => format!("restart {attempt}"),
            };
            Some(
                unit.ending()
                    .map_or_else(|| count.clone(), |ending| format!("{ending}; {count}")),
            )
        }
        State::Masked => Some("the administrator made it impossible to start".to_owned()),
        State::NotInstalled => Some(match unit.load_state.as_str() {
            "not-found" | "" => "no such unit on this host".to_owned(),
            other => format!("systemd cannot read its unit ({other})"),
        }),
        _ if unit.need_daemon_reload => Some("its unit changed on disk: systemctl daemon-reload".to_owned()),
        _ => None,
    }
}
