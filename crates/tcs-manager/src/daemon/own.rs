//! Events of the manager itself.

use tcs_wire::{EventKind, Exit, MessageId, RegistryEvent, RestartPolicy, Status, WireTime};

use crate::mirror::Identity;

/// The ends that no restart heals, as its unit lists them (`RestartPreventExitStatus=`).
const NOT_RESTARTED: [Exit; 4] = [
    Exit::Usage,
    Exit::HeldElsewhere,
    Exit::NotPermitted,
    Exit::Configuration,
];

/// Makes an event of the manager itself; with its exit code at its end.
pub(super) fn event(identity: &Identity, kind: EventKind, exit: Option<Exit>) -> (RegistryEvent, MessageId) {
    let Identity {
        manager,
        hostname,
        boot_id,
        run_id,
        ..
    } = identity;
    let mut event = RegistryEvent::new(kind, manager.as_str(), WireTime::now());
    event.runner_id = Some(manager.to_string());
    event.exit_code = exit.map(|exit| i32::from(exit.code()));
    match kind {
        EventKind::Start => {
            (event.pid, event.hostname) = (Some(std::process::id()), Some(hostname.clone()));
        }
        EventKind::Stop => event.reason = Some("terminated".to_owned()),
        EventKind::Crashed => {
            // As its unit has it: `Restart=always`, but for the codes above.
            let will_restart = !exit.is_some_and(|exit| NOT_RESTARTED.contains(&exit));
            event.will_restart = Some(will_restart);
            event.restart_policy = Some(RestartPolicy::Always);
            if will_restart {
                event.status = Some(Status::Error);
            }
        }
        _ => {}
    }
    let message_id = MessageId::lifecycle(boot_id, run_id, kind, None);
    (event, message_id)
}
