"""HA status for operators: `/api/v1/ha`, shown on the page HA status (specification, Workflow 4)."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import structlog
from flask import Blueprint, Response, jsonify
from pydantic import BaseModel

from netstacks import greenlets
from netstacks.cluster import clocks
from netstacks.cluster.model import Event
from netstacks.cluster.overview import InstanceStatus, check_drain, overview
from netstacks.errors import NotFound, RegistryUnavailable, RetryLater
from netstacks.instance.observer import View
from netstacks.store import audit
from netstacks.web.auth import guard
from netstacks.web.context import Services, services
from netstacks.web.http.inputs import parse
from netstacks.web.http.outputs import timestamp

blueprint = Blueprint("ha", __name__)
log = structlog.get_logger()

_LOOK_SECS = 2.0
# A stream ends after this time. The browser reconnects by itself, and the permission is checked again.
_STREAM_SECS = 60.0
_MAX_STREAMS = 100


class _Drain(BaseModel):
    force: bool = False


@blueprint.get("/api/v1/ha/status")
@guard.requires("ha.view")
def status() -> Response:
    return jsonify(as_json(services(), services().observer.look()))


@blueprint.get("/api/v1/ha/stream")
@guard.requires("ha.view")
def stream() -> Response:
    """The status as server-sent events: one event per change."""
    if len(services().ha_streams) >= _MAX_STREAMS:
        raise RetryLater(f"{_MAX_STREAMS} pages receive live updates already. Reload this page instead.")
    response = Response(_changes(services(), guard.lasting()), mimetype="text/event-stream")
    response.headers["X-Accel-Buffering"] = "no"  # Else nginx buffers the events.
    return response


def _changes(parts: Services, may_look: Callable[[], bool]) -> Iterator[str]:
    stream = object()
    parts.ha_streams.add(stream)
    ends_at = time.monotonic() + _STREAM_SECS
    last_sent = ""
    try:
        while time.monotonic() < ends_at and not parts.agent.is_draining and may_look():
            body = json.dumps(as_json(parts, parts.observer.look()))
            # A comment line fails, and ends the stream, when the client has gone.
            yield f"data: {body}\n\n" if body != last_sent else ":\n\n"
            last_sent = body
            greenlets.sleep(_LOOK_SECS)
    finally:
        parts.ha_streams.discard(stream)


@blueprint.post("/api/v1/ha/instances/<instance_id>/drain")
@guard.requires("ha.manage")
def drain(instance_id: str) -> tuple[Response, int]:
    """Requests that an instance hand over its sessions and shut down; it reads the request at its next heartbeat."""
    force = parse(_Drain).force
    parts = services()
    check_drain(lines_of(parts, parts.observer.look()), instance_id, force=force)
    log.info("instance.drain_requested", instance_id=instance_id, by=guard.identity().username)
    if instance_id == parts.agent.me.id:
        # Directly: that takes effect at once, and works while Valkey is unreachable.
        parts.agent.on_drain()
        with contextlib.suppress(RegistryUnavailable, NotFound):
            parts.observer.drain(instance_id, by=guard.identity().username)
    else:
        parts.observer.drain(instance_id, by=guard.identity().username)
    # Deferred: the drain must work while PostgreSQL is unreachable, which may be the reason for it.
    parts.deferred_writes.put(
        audit.append, guard.actor(), "instance.drain_requested", f"instance:{instance_id}", force=force
    )
    return jsonify(instance_id=instance_id, state="draining"), 202


def lines_of(parts: Services, view: View) -> list[InstanceStatus]:
    """The instance table."""
    settings = parts.settings
    interval_secs, ttl_secs = settings.ha_heartbeat_interval_secs, settings.ha_stale_instance_ttl_secs
    return overview(view.snapshot, interval_secs, ttl_secs, view.clock_skews)


def clock_warning(lines: list[InstanceStatus], own_id: str) -> str | None:
    """A sentence about the clocks that differ from that of this instance; None when all agree."""
    differing = [line for line in lines if line.clock_differs]
    measured = [line for line in lines if line.clock_skew_secs is not None]
    if not differing:
        return None
    skews = ", ".join(
        f"{line.instance.id} on {line.instance.host} is {clocks.in_words(line.clock_skew_secs or 0.0)}"
        for line in differing
    )
    if len(differing) == len(measured) > 1:
        return f"The clock of {own_id}, which serves this page, differs from that of every other instance: {skews}"
    return f"Clocks differ. Compared with {own_id}, which serves this page, {skews}"


def as_json(parts: Services, view: View) -> dict[str, Any]:
    """The whole status. `seen_at` is the time of the snapshot of instances and events; it ages without a registry."""
    lines = lines_of(parts, view)
    return {
        "instance_id": parts.agent.me.id,
        "seen_at": timestamp(datetime.fromtimestamp(view.seen_at, UTC)) if view.seen_at else None,
        "valkey": {
            "connection": view.registry.connection,
            "error": view.registry.error,
            **view.registry.details,
        },
        "totals": {
            "registered_instances": len(lines),
            "healthy_instances": sum(line.condition == "healthy" for line in lines),
            "total_sessions": sum(line.instance.sessions for line in lines),
        },
        "clocks": {"warning": clock_warning(lines, parts.agent.me.id), "tolerated_secs": clocks.TOLERATED_SECS},
        "unreadable": [{"key": key, "problem": problem} for key, problem in view.unreadable.items()],
        "instances": [_instance(line) for line in lines],
        "events": [_event(event) for event in view.events],
    }


def _instance(line: InstanceStatus) -> dict[str, Any]:
    instance = line.instance
    return {
        "id": instance.id,
        "host": instance.host,
        "peer_address": instance.peer_address or None,
        "version": instance.version,
        "pid": instance.pid,
        "started_at": timestamp(datetime.fromtimestamp(instance.started_at, UTC)),
        "status": line.condition,
        "problem": line.problem,
        "heartbeat_age_secs": round(line.heartbeat_age_secs, 1),
        "sessions": instance.sessions,
        # Relative to the answering instance; None for that instance, and until it is measured.
        "clock_skew_secs": None if line.clock_skew_secs is None else round(line.clock_skew_secs, 1),
    }


def _event(event: Event) -> dict[str, Any]:
    # After the details: a detail of the same name must not replace these members.
    return {
        **event.details,
        "at": timestamp(datetime.fromtimestamp(event.at, UTC)),
        "kind": event.kind,
        "instance_id": event.instance_id,
    }
