"""Host keys: the approved ones, and the prompts of connections that wait for an approval."""

from typing import Any
from uuid import UUID

from flask import Blueprint, Response
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from netstacks.errors import NotFound
from netstacks.formats import Timestamp, Uuid
from netstacks.hosts import shown_address
from netstacks.store import audit, devices, hostkeys, prompts
from netstacks.store.hostkeys import StoredHostKey
from netstacks.store.pool import Transaction
from netstacks.store.prompts import Prompt
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.declarations import answers, takes_body
from netstacks.web.http.fields import Host, Port
from netstacks.web.http.outputs import timestamp

blueprint = Blueprint("hostkeys", __name__)


class NewHostKey(BaseModel):
    """`public_key` as `ssh-keyscan` prints it, or as in a `.pub` file."""

    host: Host
    port: Port = 22
    public_key: str = Field(max_length=16384)


class HostKeyJson(TypedDict):
    """An approved key."""

    host: str
    port: int
    key_type: str
    fingerprint: str
    """As `ssh-keygen -l` prints it."""
    public_key: str
    """In Base64, as in a `.pub` file."""
    approved_by: str
    approved_at: Timestamp


class PromptJson(TypedDict):
    """A connection that waits for the approval of a key."""

    id: Uuid
    host: str
    port: int
    is_changed_key: bool
    """Whether another key was approved for the address before."""
    fingerprint: str
    previous_fingerprint: str | None
    previous_approved_by: str | None
    previous_approved_at: Timestamp | None
    created_at: Timestamp


class Prompts(TypedDict):
    prompts: list[PromptJson]


@blueprint.get("/api/host-keys")
@guard.requires("devices.access")
def list_host_keys() -> list[HostKeyJson]:
    """The approved keys, as a bare array."""
    with services().database.transaction() as tx:
        keys = hostkeys.list_all(tx, within=guard.identity().reach)
    return [as_json(key) for key in keys]


@blueprint.post("/api/host-keys")
@guard.requires("hostkeys.manage")
@takes_body(NewHostKey)
@answers(201)
def approve_host_key(body: NewHostKey) -> tuple[HostKeyJson, int]:
    """Approves a key before the first connection. It replaces any other key of that address."""
    key_type, public_key = hostkeys.parse_public_key(body.public_key)
    with guard.transaction() as tx:
        reach = guard.identity().reach
        if reach.is_limited and devices.find_by_address(tx, body.host, body.port, within=reach) is None:
            raise NotFound(f"There is no device at {shown_address(body.host, body.port)}.")
        old = hostkeys.find(tx, body.host, body.port)
        key = hostkeys.remember(tx, body.host, body.port, key_type, public_key, guard.identity().username)
        _audit(tx, "host_key.approved", key, changed=old is not None and old.public_key != key.public_key)
    return as_json(key), 201


@blueprint.delete("/api/host-keys/<host>/<int:port>")
@guard.requires("hostkeys.manage")
@answers(204)
def forget_host_key(host: str, port: int) -> Response:
    """Deletes a key. The next connection to that address prompts again, also users who rejected the key before."""
    with guard.transaction() as tx:
        key = hostkeys.delete(tx, host, port, within=guard.identity().reach)
        prompts.forget_rejections(tx, key.host, key.port)
        _audit(tx, "host_key.forgotten", key)
    return Response(status=204)


@blueprint.get("/api/host-keys/prompts")
@guard.requires()
def list_prompts() -> Prompts:
    """The open prompts of the user's own connections. Each browser polls every 750 ms, so the answer is from memory."""
    waiting = services().prompts.pending(guard.identity().user_id)
    return {"prompts": [prompt_as_json(prompt) for prompt in waiting]}


@blueprint.post("/api/host-keys/prompts/<uuid:prompt_id>/approve")
@guard.requires("sessions.connect")
@answers(204)
def approve_prompt(prompt_id: UUID) -> Response:
    """Approves a key. A changed key, and the key of another user's connection, need `hostkeys.manage`."""
    return _answer(prompt_id, approve=True)


@blueprint.post("/api/host-keys/prompts/<uuid:prompt_id>/reject")
@guard.requires()
@answers(204)
def reject_prompt(prompt_id: UUID) -> Response:
    return _answer(prompt_id, approve=False)


def _answer(prompt_id: UUID, *, approve: bool) -> Response:
    event = "host_key.prompt_approved" if approve else "host_key.prompt_rejected"
    with guard.transaction() as tx:
        # The identity that the transaction has confirmed: the role may have changed since the request began.
        user = guard.identity()
        prompt = services().prompts.answer(
            tx,
            prompt_id,
            user.user_id,
            approve,
            answered_by=user.username,
            may_manage=user.may("hostkeys.manage"),
            within=user.reach,
        )
        facts = {"host": prompt.host, "port": prompt.port, "fingerprint": prompt.fingerprint}
        if prompt.previous_fingerprint is not None:
            facts["previous_fingerprint"] = prompt.previous_fingerprint
        audit.append(tx, guard.actor(), event, f"host_key_prompt:{prompt_id}", **facts)
    return Response(status=204)


def as_json(key: StoredHostKey) -> HostKeyJson:
    """An approved key in the API."""
    return {
        "host": key.host,
        "port": key.port,
        "key_type": key.key_type,
        "fingerprint": key.fingerprint,
        "public_key": key.public_key,
        "approved_by": key.approved_by,
        "approved_at": timestamp(key.approved_at),
    }


def prompt_as_json(prompt: Prompt) -> PromptJson:
    """An open prompt in the API."""
    return {
        "id": str(prompt.id),
        "host": prompt.host,
        "port": prompt.port,
        "is_changed_key": prompt.is_changed_key,
        "fingerprint": prompt.fingerprint,
        "previous_fingerprint": prompt.previous_fingerprint,
        "previous_approved_by": prompt.previous_approved_by,
        "previous_approved_at": timestamp(prompt.previous_approved_at),
        "created_at": timestamp(prompt.created_at),
    }


def _audit(tx: Transaction, event: str, key: StoredHostKey, **details: Any) -> None:
    audit.append(tx, guard.actor(), event, f"host:{key.host}:{key.port}", fingerprint=key.fingerprint, **details)
