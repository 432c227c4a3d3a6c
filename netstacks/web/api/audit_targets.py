"""The targets that audit rows are sent to: syslog receivers and webhooks."""

from typing import Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

from flask import Blueprint
from pydantic import BaseModel, StringConstraints
from typing_extensions import TypedDict

from netstacks.errors import Forbidden, InvalidInput
from netstacks.formats import Timestamp, Uuid
from netstacks.instance import audit_push
from netstacks.instance.audit_syslog import DeliveryFailed, tls_context
from netstacks.store import audit, audit_targets
from netstacks.store.audit_targets import Target, TargetType
from netstacks.store.pool import Transaction
from netstacks.urls import check_host, check_text
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.declarations import answers, takes_body, takes_query
from netstacks.web.http.fields import Name, Seen, SeenVersion
from netstacks.web.http.outputs import timestamp

blueprint = Blueprint("audit_targets", __name__)


class TargetFacts(BaseModel):
    """A target. `address` is `host:port` for syslog, an `https://` URL for a webhook.

    `ca` are certificates to trust (PEM) instead of the system's. `secret` signs the requests to a webhook; absent or
    empty, a stored one stays.
    """

    name: Name
    type: TargetType
    address: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]
    ca: Annotated[str | None, StringConstraints(strip_whitespace=True, max_length=100_000)] = None
    secret: Annotated[str | None, StringConstraints(max_length=1000)] = None
    is_enabled: bool = True
    version: Seen = None

    def stored(self) -> dict[str, Any]:
        return {**self.model_dump(exclude={"secret", "ca", "version"}), "ca": self.ca or None}


class TargetJson(TypedDict):
    """A target without its secret."""

    id: Uuid
    version: int
    """Goes up with each change. A change that sends an older one is refused."""
    name: str
    type: TargetType
    address: str
    """`host:port`, or the URL of a webhook."""
    ca: str | None
    """The certificates that are trusted (PEM); null for the system's."""
    is_enabled: bool
    waiting: int
    """How many rows are not delivered yet."""
    problem: str | None
    failing_since: Timestamp | None
    delivered_at: Timestamp | None
    created_at: Timestamp


class Targets(TypedDict):
    items: list[TargetJson]


class TargetTest(TypedDict):
    ok: bool
    message: str
    """What happened, as a sentence."""


def _check(facts: TargetFacts) -> None:
    """Raises InvalidInput that names the wrong member."""
    try:
        check_text(facts.address)
        if facts.type == "webhook":
            _check_url(facts.address)
        else:
            _check_place(facts.address)
    except InvalidInput as error:
        raise InvalidInput(f"address: {error}") from None
    if facts.ca:
        try:
            tls_context(facts.ca)
        except DeliveryFailed as error:
            raise InvalidInput(f"ca: {error}") from None


def _check_place(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InvalidInput("must be a host and a port, such as siem.example.net:6514")
    audit_push.split_address(address)


def _check_url(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme != "https" or not parts.hostname or parts.username is not None or parts.fragment:
        raise InvalidInput("must be a URL such as https://siem.example.net/audit, without a user name")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise InvalidInput("has a port that is not a number from 1 to 65535")
    if ":" not in parts.hostname:
        check_host(parts.hostname)


@blueprint.get("/api/v1/audit/targets")
@guard.requires("audit.manage")
def list_targets() -> Targets:
    """By name, each with the number of rows that wait for it."""
    with services().database.transaction() as tx:
        return {"items": [_as_json(each) for each in audit_targets.list_all(tx)]}


@blueprint.post("/api/v1/audit/targets")
@guard.requires("audit.manage")
@takes_body(TargetFacts)
@answers(201)
def create_target(facts: TargetFacts) -> tuple[TargetJson, int]:
    """Adds a target for the rows that are written from now on."""
    _check(facts)
    with guard.transaction() as tx:
        _check_scope()
        target = audit_targets.create(tx, services().vault, facts.secret, **facts.stored())
        _audit(tx, "created", target)
    return _as_json(target), 201


@blueprint.get("/api/v1/audit/targets/<uuid:target_id>")
@guard.requires("audit.manage")
def get_target(target_id: UUID) -> TargetJson:
    with services().database.transaction() as tx:
        return _as_json(audit_targets.find(tx, target_id))


@blueprint.put("/api/v1/audit/targets/<uuid:target_id>")
@guard.requires("audit.manage")
@takes_body(TargetFacts)
def update_target(facts: TargetFacts, target_id: UUID) -> TargetJson:
    """Replaces a target; its position in the log stays."""
    _check(facts)
    with guard.transaction() as tx:
        _check_scope()
        old = audit_targets.lock(tx, target_id)
        by = guard.identity().username
        new = audit_targets.update(tx, services().vault, old, facts.secret, by=by, seen=facts.version, **facts.stored())
        changed = [
            name for name in ("name", "type", "address", "ca", "is_enabled") if vars(old)[name] != vars(new)[name]
        ]
        _audit(tx, "updated", new, changed=changed + ["secret"] * bool(facts.secret))
    return _as_json(new)


@blueprint.delete("/api/v1/audit/targets/<uuid:target_id>")
@guard.requires("audit.manage")
@takes_query(SeenVersion)
@answers(204)
def delete_target(seen: SeenVersion, target_id: UUID) -> tuple[str, int]:
    with guard.transaction() as tx:
        target = audit_targets.lock(tx, target_id)
        audit_targets.delete(tx, target, seen=seen.version)
        _audit(tx, "deleted", target, waiting=target.waiting)
    return "", 204


@blueprint.post("/api/v1/audit/targets/<uuid:target_id>/test")
@guard.requires("audit.manage")
def test_target(target_id: UUID) -> TargetTest:
    """Sends one message, `audit.test`, now, and tells in words what happened."""
    with guard.transaction() as tx:
        target = audit_targets.find(tx, target_id)
        secret = audit_targets.secret_of(tx, services().vault, target_id)
        _audit(tx, "tested", target)
    try:
        audit_push.send(target, [audit_push.test_row()], secret)
    except DeliveryFailed as error:
        return {"ok": False, "message": f"{target.name} was not reached: {error}."}
    return {"ok": True, "message": _success(target)}


def _check_scope() -> None:
    """Raises Forbidden for a user with a scope of devices."""
    if guard.identity().reach.is_limited:
        raise Forbidden("A target receives the audit log of all devices, and your role is for some of them only.")


def _success(target: Target) -> str:
    match target.type:
        case "syslog_udp":
            return f"A message was sent to {target.address}. UDP does not tell whether it arrived: look there."
        case "webhook":
            return f"{target.address} has accepted a test message."
    return f"{target.address} has taken a test message. Syslog does not tell whether it was stored: look there."


def _audit(tx: Transaction, change: str, target: Target, **details: Any) -> None:
    facts = {"name": target.name, "type": target.type, "address": target.address}
    audit.append(tx, guard.actor(), f"audit_target.{change}", f"audit_target:{target.id}", **facts, **details)


def _as_json(target: Target) -> TargetJson:
    return {
        "id": str(target.id),
        "name": target.name,
        "type": target.type,
        "address": target.address,
        "ca": target.ca,
        "is_enabled": target.is_enabled,
        "waiting": target.waiting,
        "problem": target.problem,
        "failing_since": timestamp(target.failing_since),
        "delivered_at": timestamp(target.delivered_at),
        "created_at": timestamp(target.created_at),
        "version": target.version,
    }
