"""The host keys with the devices that they belong to, in pages, and the prompts of all users."""

from typing import Annotated

from flask import Blueprint
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from netstacks.formats import Timestamp
from netstacks.store import host_key_lists
from netstacks.store.host_key_lists import ListedKey, WaitingPrompt
from netstacks.web.api.hostkeys import HostKeyJson, PromptJson, as_json, prompt_as_json
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.declarations import takes_query
from netstacks.web.http.fields import Host
from netstacks.web.http.outputs import timestamp

blueprint = Blueprint("host_key_list", __name__)


class KeyQuery(BaseModel):
    """`after_host` and `after_port` are the address of the last key of the former page."""

    search: Annotated[str, Field(max_length=255)] | None = None
    after_host: Host | None = None
    after_port: int = Field(0, ge=-(2**31), lt=2**31)
    limit: int = Field(100, ge=1, le=500)


class ListedKeyJson(HostKeyJson):
    """An approved key and the devices at its address."""

    devices: list[str]
    """Their names."""
    mismatch_at: Timestamp | None
    """When a device has presented another key than this one."""


class NextKeys(TypedDict):
    """The members of the query for the next page."""

    after_host: str
    after_port: int


class HostKeyPage(TypedDict):
    items: list[ListedKeyJson]
    next: NextKeys | None


class WaitingPromptJson(PromptJson):
    """A connection of any user that waits for the approval of a key."""

    device: str | None
    """The name of a device at the address."""
    username: str | None


class WaitingPrompts(TypedDict):
    items: list[WaitingPromptJson]


@blueprint.get("/api/v1/host-keys")
@guard.requires("devices.access")
@takes_query(KeyQuery)
def list_keys(query: KeyQuery) -> HostKeyPage:
    after = (query.after_host, query.after_port) if query.after_host else None
    with services().database.transaction() as tx:
        found = host_key_lists.page(
            tx, within=guard.identity().reach, search=query.search, after=after, limit=query.limit + 1
        )
    shown = found[: query.limit]
    last = shown[-1].key if len(found) > query.limit else None
    return {
        "items": [_key_as_json(each) for each in shown],
        "next": {"after_host": last.host, "after_port": last.port} if last else None,
    }


@blueprint.get("/api/v1/host-keys/prompts")
@guard.requires("hostkeys.manage")
def list_prompts() -> WaitingPrompts:
    """The open prompts of all users for devices of the role, oldest first."""
    with services().database.transaction() as tx:
        found = host_key_lists.waiting(tx, within=guard.identity().reach)
    return {"items": [_prompt_as_json(each) for each in found]}


def _key_as_json(listed: ListedKey) -> ListedKeyJson:
    """`mismatch_at` is when a device has presented another key than this one."""
    return {**as_json(listed.key), "devices": listed.devices, "mismatch_at": timestamp(listed.mismatch_at)}


def _prompt_as_json(waiting: WaitingPrompt) -> WaitingPromptJson:
    return {**prompt_as_json(waiting.prompt), "device": waiting.device, "username": waiting.username}
