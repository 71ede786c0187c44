"""Reads the bus as a Python service does: by serverish's own readers, report classes and RPC requester.

Usage: read_bus.py HOST PORT SERVICE_ID MANAGER_ID. Writes what it found to standard output as one JSON object; whatever
the library cannot read ends it with a traceback.
"""

import asyncio
import json
import sys

from serverish.base import MessengerRequestNoResponders
from serverish.base.datetime import dt_from_array
from serverish.base.status import Status, StatusReport
from serverish.messenger import Messenger, get_reader, get_rpcrequester

DEADLINE = 20.0


async def read(subject):
    """Returns the last message of each subject, checked as the library checks what it sends itself."""
    messages = []
    reader = get_reader(subject, deliver_policy="last_per_subject", nowait=True)
    async with reader:
        async for data, meta in reader:
            nats = meta.pop("nats")
            meta.pop("receive_mode", None)
            Messenger().msg_validate({"data": data, "meta": meta})
            messages.append({"subject": nats["subject"], "data": data, "meta": meta})
    return messages


def report(message):
    """Returns a status as the library's own class sees it."""
    found = StatusReport.from_dict(message["data"])
    return {
        "name": found.name,
        "status": found.status.value,
        "healthy": found.status.is_healthy,
        "message": found.message,
        "parent": found.parent,
        "time": found.get_timestamp_dt().isoformat(),
        "again": found.to_dict(),
    }


def event(message):
    data = message["data"]
    if "status" in data:
        Status(data["status"])
    return data | {"time": dt_from_array(data["timestamp"]).isoformat(), "subject": message["subject"]}


async def ask(subject, data=None):
    try:
        async with get_rpcrequester(subject) as requester:
            found, meta = await requester.request(data=data, timeout=5.0)
    except MessengerRequestNoResponders:
        return {"exception": "MessengerRequestNoResponders"}
    return {"data": found, "meta": meta}


async def main(host, port, service, manager):
    async with Messenger().context(host, int(port), timeout=5.0):
        found = {
            "registry": [event(message) for message in await read("svc.registry.>")],
            "status": [report(message) for message in await read("svc.status.>")],
            "heartbeat": [event(message) for message in await read("svc.heartbeat.>")],
            "health": await ask(f"svc.rpc.{service}.v1.health"),
            "manager_health": await ask(f"svc.rpc.{manager}.v1.health", {}),
            "refused": await ask(f"svc.rpc.{manager}.v1.status.no_such_service.main"),
            "nobody": await ask("svc.rpc.no_such_service.main.v1.health"),
        }
    json.dump(found, sys.stdout)


asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), DEADLINE))
