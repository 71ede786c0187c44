//! What every service answers on NATS, and how a second process asks it.

use std::sync::Arc;
use std::time::Duration;

use tcs_bus::{Bus, RequestError, Responder, ResponderError, ResponderInfo};
use tcs_wire::rpc::{HealthReply, Word};
use tcs_wire::{Object, ServiceId, WireTime};

use crate::context::Core;
use crate::program::Binary;

/// How long an instance may take to answer `health`.
const ANSWER: Duration = Duration::from_secs(2);

/// Answers `health`, and shows the service to the NATS service API, as long as what this returns lives.
pub(crate) async fn serve(core: &Arc<Core>, binary: Binary) -> Result<Option<Responder>, ResponderError> {
    let Some(bus) = core.process.bus() else {
        return Ok(None);
    };
    let info = ResponderInfo {
        id: core.id.clone(),
        version: binary.version.to_owned(),
        description: binary.description.to_owned(),
    };
    let responder = bus.responder(info).await?;
    let asked = Arc::clone(core);
    let answer = move |_| {
        let reply = health(&asked, &binary);
        async { Ok(reply) }
    };
    responder
        .endpoint(
            Word::Health.as_str(),
            &bus.prefix().rpc(&core.id, Word::Health),
            answer,
        )
        .await?;
    Ok(Some(responder))
}

fn health(core: &Core, binary: &Binary) -> HealthReply {
    let (status, message) = core.monitor.shown();
    HealthReply {
        service_id: core.id.clone(),
        service_status: status,
        healthy: status.is_healthy(),
        message: Some(message).filter(|message| !message.is_empty()),
        pid: std::process::id(),
        hostname: core.process.hostname().to_owned(),
        uptime_s: core.started.elapsed().as_secs_f64(),
        version: binary.version.to_owned(),
        timestamp: WireTime::now(),
    }
}

/// Asks the running instance how it is.
pub(crate) async fn ask_health(bus: &Bus, id: &ServiceId) -> Result<HealthReply, RequestError> {
    if !bus.wait_connected(ANSWER).await {
        return Err(RequestError::NotConnected);
    }
    bus.request(&bus.prefix().rpc(id, Word::Health), &Object::new(), ANSWER)
        .await
}
