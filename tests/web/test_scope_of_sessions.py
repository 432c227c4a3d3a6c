"""A role for some devices, with all permissions: each way to the sessions, recordings and audit rows of other users."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from flask import Flask

from netstacks.instance.forecasts import Forecasts
from netstacks.instance.history import History
from netstacks.instance.moves import Moves
from netstacks.instance.observer import Observer
from netstacks.instance.session_survey import SessionSurvey
from netstacks.peer.client import NoAnswer, Reply
from netstacks.peer.clocks import PeerClocks
from netstacks.permissions import Reach, Role
from netstacks.recording.chunks import EventKind
from netstacks.registry.memory import MemoryRegistry
from netstacks.store import audit, audit_chain, credentials, definitions, devices, roles, session_summaries, sessions
from netstacks.store.credentials import Secrets
from netstacks.store.devices import Device
from netstacks.store.pool import Database
from netstacks.store.session_summaries import SessionSummary
from netstacks.store.users import User
from netstacks.web.context import Services
from tests.cluster.facts import instance
from tests.rows import insert_session, record
from tests.web.conftest import Api
from tests.web.test_routes_permissions import every_route

SCOPE = Reach(frozenset({"core"}), frozenset({"Bonn"}))
HOSTS = {"within": "192.0.2.1", "outside": "198.51.100.66"}
WORDS = {"within": "printed-within", "outside": "printed-outside"}
# The tests of streams read so many pieces of each.
PIECES = 4
# The ages that a look may have, and the pauses of streams.
TIMES = (
    "instance.observer.FRESH",
    "instance.database_look.FRESH",
    "instance.history.FRESH",
    "web.pages.ha_live._FRESH",
    "web.admin.ha._STEP",
    "web.api.audit_log._STEP",
    "web.api.audit_log._SILENCE",
    "web.api.ha._LOOK",
    "web.api.ha._AGES",
    "web.api.ha._SILENCE",
)


class Broker:
    """The owner of every session, which does what it is asked."""

    def __init__(self) -> None:
        self.asked: list[UUID] = []

    def ask(self, session_id: UUID, operation: str, **_: Any) -> Reply:
        self.asked.append(session_id)
        facts = {"session_id": str(session_id), "instance_id": "ctrl-1", "device_name": "", "username": "", "state": ""}
        forecast = {**facts, "targets": [], "at_risk": [], "warning": None}
        return Reply([] if operation.startswith("viewers") else forecast)

    def end(self, session_id: UUID, _: str) -> None:
        self.asked.append(session_id)


@dataclass
class World:
    """A device within the scope and one outside it, each with a live session of another user and one that has ended.

    `api` is a user of the role, who has no session.
    """

    api: Api
    page: Api
    database: Database
    broker: Broker
    owner: UUID
    devices: dict[str, Device]
    live: dict[str, UUID]
    ended: dict[str, UUID]
    definitions: dict[str, UUID]
    credentials: dict[str, UUID]

    def audit(self, event: str, resource: str, **details: Any) -> None:
        with self.database.transaction() as tx:
            audit.append(tx, audit.SYSTEM, event, resource, **details)


@pytest.fixture
def services(services: Services, database: Database, monkeypatch: pytest.MonkeyPatch) -> Services:
    """The services of ctrl-1, which owns all sessions; PostgreSQL is asked at each look, and a stream looks at once."""
    for name in TIMES:
        monkeypatch.setattr(f"netstacks.{name}_SECS", 0)
    registry = MemoryRegistry()
    me = instance("ctrl-1", last_heartbeat_at=1000.0)
    registry.register(me)
    agent: Any = SimpleNamespace(
        me=registry.instance("ctrl-1"),
        is_draining=False,
        is_blind=False,
        contact=SimpleNamespace(problem=None),
        snapshot=registry.snapshot(),
        record_event=lambda *_, **__: None,
    )
    services.agent = agent
    services.recorder = cast(Any, SimpleNamespace(flush=lambda _: True))
    services.broker = cast(Any, Broker())
    services.peers = cast(Any, SimpleNamespace(call=lambda *_, **__: NoAnswer("timed_out")))
    services.observer = Observer(registry, PeerClocks(), database)
    services.history = History(registry, services.observer.instance_ids)
    services.session_survey = SessionSurvey(database, services.peers, services.hub, "ctrl-1")
    services.consistency = cast(Any, SimpleNamespace(problems=tuple))
    services.moves = Moves(agent, 30.0)
    services.forecasts = Forecasts(services.hub, agent, database, drain_timeout_secs=20.0, ttl_secs=30.0)
    return services


@pytest.fixture
def world(
    app: Flask, services: Services, database: Database, add_user: Callable[..., User], log_in: Callable[..., Api]
) -> World:
    owner = add_user("owner", role="operator").id
    found: dict[str, dict[str, Any]] = {"devices": {}, "live": {}, "ended": {}, "definitions": {}, "credentials": {}}
    with database.transaction() as tx:
        roles.create(tx, Role("core", frozenset({"*"}), SCOPE), description="", by="a test")
        for key, tag in (("within", "core"), ("outside", "edge")):
            device = devices.create(tx, name=f"router-{key}", host=HOSTS[key], tags=[tag])
            of_owner: dict[str, Any] = {"user_id": owner, "username": "owner", "device_id": device.id}
            of_owner |= {"device_name": device.name, "host": device.host}
            found["devices"][key] = device
            for state in ("live", "ended"):
                found[state][key] = insert_session(tx, **of_owner)
            found["definitions"][key] = definitions.create(
                tx, name=f"definition-{key}", host=device.host, created_by=owner
            ).id
            found["credentials"][key] = credentials.create(
                tx, services.vault, Secrets("a password"), name=f"credential-{key}", credential_type="ssh_password",
                username="ops", host=device.host,
            ).id  # fmt: skip
    for key, session_id in found["ended"].items():
        record(database, session_id, (EventKind.OUTPUT, WORDS[key].encode()))
        with database.transaction() as tx:
            summary = SessionSummary(
                session_id, WORDS[key], "p", "m", sessions.find(tx, session_id).started_at, "ana", 1
            )  # type: ignore[union-attr]
            session_summaries.put(tx, summary)
            assert sessions.end(tx, session_id, 1, "logged out")
    add_user("lee", role="core")
    browser = app.test_client()
    answer = browser.post(
        "/api/auth/login",
        json={"username": "lee", "password": "correct horse battery"},
        headers={"X-NetStacks-Page": "1"},
    )
    page = Api(browser, {"Origin": "http://localhost", "X-CSRF-Token": answer.json["csrf_token"]}, answer.json["user"])
    return World(log_in("lee"), page, database, cast(Any, services.broker), owner, **found)


def beginning(api: Api, path: str) -> str:
    """The answer, of a stream its first pieces."""
    status, text = answer_of(api, "GET", path)
    assert status == 200, text
    return text


def succeeds(answer: Any) -> bool:
    assert answer.status_code in (200, 201, 202, 204, 404), answer.text
    return bool(answer.status_code != 404)


def shows(path: str) -> Callable[[World, str], bool]:
    """Whether the answer names the device of the session."""

    def look(world: World, key: str) -> bool:
        filled = path.format(live=world.live[key], ended=world.ended[key], owner=world.owner)
        return f"router-{key}" in beginning(
            world.page if path.startswith(("/admin", "/sessions")) else world.api, filled
        )

    return look


def shows_row(path: str) -> Callable[[World, str], bool]:
    """Whether the answer has an audit row about the session, and one about the device."""

    def look(world: World, key: str) -> bool:
        world.audit("session.noted", f"session:{world.live[key]}")
        world.audit("device.noted", f"device:{world.devices[key].id}")
        with world.database.transaction() as tx:
            audit_chain.seal_some(tx)
        text = beginning(world.page if path.startswith("/admin") else world.api, path)
        seen = {str(each) in text for each in (world.live[key], world.devices[key].id)}
        assert len(seen) == 1
        return seen.pop()

    return look


def does(method: str, path: str, state: str = "live", **body: Any) -> Callable[[World, str], bool]:
    """Whether the call succeeds for the session."""

    def act(world: World, key: str) -> bool:
        session_id = getattr(world, state)[key]
        json = {name: str(session_id) if value is ... else value for name, value in body.items()}
        return succeeds(world.api.send(method, path.format(session_id), json=json))

    return act


WAYS: dict[str, Callable[[World, str], bool]] = {
    "the client's list of sessions": shows("/api/sessions"),
    "the search for sessions": shows("/api/v1/sessions"),
    "the search by device": shows("/api/v1/sessions?device=router"),
    "the page of sessions": shows("/sessions"),
    "the administrator's page of sessions": shows("/admin/sessions"),
    "the sessions of a user": shows("/api/v1/users/{owner}/sessions"),
    "the page of a user": shows("/admin/users/{owner}"),
    "the end of a session": does("DELETE", "/api/sessions/{}"),
    "the shares of a session": does("GET", "/api/sessions/{}/share"),
    "a new share": does("POST", "/api/sessions/{}/share"),
    "the end of all shares": does("DELETE", "/api/sessions/{}/share"),
    "the viewers of a session": does("GET", "/api/sessions/{}/viewers"),
    "the sessions on HA status": shows("/api/v1/ha/sessions"),
    "the page HA status": shows("/admin/ha"),
    "the live page HA status": shows("/admin/ha/stream"),
    "the forecast of a move": does("GET", "/api/v1/ha/sessions/{}/forecast"),
    "a move": does("POST", "/api/v1/ha/sessions/{}/move"),
    "a watch": does("POST", "/api/v1/ha/sessions/{}/watch"),
    "the list of recordings": shows("/api/recordings"),
    "the search for a recording": shows("/api/recordings?session_id={ended}"),
    "one recording": does("GET", "/api/recordings/{}", "ended"),
    "the recording of a session": does("POST", "/api/recordings", "ended", session_id=...),
    "a name for a recording": does("PUT", "/api/recordings/{}", "ended", name="new"),
    "the content of a recording": does("GET", "/api/recordings/{}/data", "ended"),
    "the download of a recording": does("GET", "/api/recordings/{}/data?download=1", "ended"),
    "the keystrokes of a recording": does("GET", "/api/recordings/{}/data?input=1", "ended"),
    "the end of a recording": does("DELETE", "/api/recordings/{}", "ended"),
    "the summary of a recording": does("GET", "/api/sessions/{}/summary", "ended"),
    "the replay of a recording": lambda world, key: succeeds(world.page.get(f"/sessions/{world.ended[key]}/replay")),
    "the audit log": shows_row("/api/audit?event=*"),
    "the audit log as CSV": shows_row("/api/audit/export"),
    "the audit log as JSON": shows_row("/api/audit/export?format=json"),
    "the audit log with names": shows_row("/api/v1/audit"),
    "the search in the audit log": shows_row("/api/v1/audit?q=noted"),
    "the audit log with names as CSV": shows_row("/api/v1/audit/export"),
    "the audit log as JSON lines": shows_row("/api/v1/audit/export?format=jsonl"),
    "new rows of the audit log": shows_row("/api/v1/audit/stream?after=0"),
    "the page of the audit log": shows_row("/admin/audit"),
}


@pytest.mark.parametrize(("key", "is_within"), [("within", True), ("outside", False)])
@pytest.mark.parametrize("way", WAYS)
def test_a_way_leads_to_the_sessions_of_the_scope_only(world: World, way: str, key: str, is_within: bool) -> None:
    assert WAYS[way](world, key) is is_within


def test_no_route_shows_or_changes_what_is_outside_the_scope(app: Flask, world: World) -> None:
    ids = {
        "session_id": world.live["outside"],
        "recording_id": world.ended["outside"],
        "device_id": world.devices["outside"].id,
        "definition_id": world.definitions["outside"],
        "credential_id": world.credentials["outside"],
        "user_id": world.owner,
    }
    before = stored(world)
    looked = 0
    for method, name, path in every_route(app):
        filled = with_ids(name.partition(" ")[2], ids)
        is_of_device = filled is not None and "user_id" not in name
        if " /peer/" in name or not (method == "GET" or is_of_device):
            continue
        api = (
            world.page
            if path.startswith(("/admin", "/sessions", "/devices", "/credentials", "/terminals"))
            else world.api
        )
        status, text = answer_of(api, method, filled or path)
        for secret in (
            "router-outside",
            HOSTS["outside"],
            "definition-outside",
            "credential-outside",
            WORDS["outside"],
        ):
            assert secret not in text, f"{name} shows {secret}"
        if is_of_device:
            is_refused = status in (403, 404, 409, 422)
            # What this controller does not offer is answered in the same way for any id.
            assert is_refused or (status, text) == answer_of(api, method, path), f"{name}: {status}"
        looked += 1
    assert looked > 100
    assert stored(world) == before
    assert world.broker.asked == []


def answer_of(api: Api, method: str, path: str) -> tuple[int, str]:
    """Status and text, of a stream its first pieces."""
    answer = api.send(method, path, buffered=False, **({} if method == "GET" else {"json": {}}))
    pieces = answer.iter_encoded()
    text = b"".join(islice(pieces, PIECES) if answer.mimetype == "text/event-stream" else pieces)
    answer.close()
    return answer.status_code, text.decode()


def with_ids(rule: str, ids: dict[str, UUID]) -> str | None:
    """The path with these ids in place of its parameters; None if it has none of them."""
    if not any(re.search(f"<(?:\\w+:)?{name}>", rule) for name in ids):
        return None
    for name, value in ids.items():
        rule = re.sub(f"<(?:\\w+:)?{name}>", str(value), rule)
    return re.sub("<[^>]+>", str(uuid4()), rule)


def stored(world: World) -> Iterator[Any]:
    """All that is stored about the device outside and its sessions."""
    statements = (
        "SELECT * FROM devices WHERE id = %(device)s",
        "SELECT * FROM sessions WHERE device_id = %(device)s ORDER BY id",
        "SELECT * FROM shares WHERE session_id IN (SELECT id FROM sessions WHERE device_id = %(device)s)",
        "SELECT * FROM session_definitions WHERE id = %(definition)s",
        "SELECT * FROM credentials WHERE id = %(credential)s",
    )
    values = {
        "device": world.devices["outside"].id,
        "definition": world.definitions["outside"],
        "credential": world.credentials["outside"],
    }
    with world.database.transaction() as tx:
        return cast(Any, [tx.execute(each, values).fetchall() for each in statements])


ROWS = {
    "a device that no longer exists": ("device.deleted", lambda _: f"device:{uuid4()}", False),
    "a host key outside": ("host_key.approved", lambda _: f"host:{HOSTS['outside']}:22", False),
    "a host key within": ("host_key.approved", lambda _: f"host:{HOSTS['within']}:22", True),
    "an address outside": ("session.refused", lambda _: f"address:{HOSTS['outside']}:22", False),
    "a client's address": ("auth.address_throttled", lambda _: f"address:{HOSTS['outside']}", True),
    "a definition outside": ("x.y", lambda w: f"session_definition:{w.definitions['outside']}", False),
    "a definition within": ("x.y", lambda w: f"session_definition:{w.definitions['within']}", True),
    "a credential outside": ("x.y", lambda w: f"credential:{w.credentials['outside']}", False),
    "a credential within": ("x.y", lambda w: f"credential:{w.credentials['within']}", True),
    "many devices": ("device.checked", lambda _: "devices", False),
    "a device by a name": ("ai.commands_refused", lambda _: "target:router-outside", False),
    "a user": ("user.updated", lambda w: f"user:{w.owner}", True),
    "a setting": ("setting.changed", lambda _: "setting:ai.enabled", True),
}


@pytest.mark.parametrize("which", ROWS)
def test_a_row_without_a_device_stays_and_one_about_a_device_outside_is_left_out(world: World, which: str) -> None:
    event, resource_of, is_seen = ROWS[which]
    resource = resource_of(world)
    world.audit(event, resource)
    found = [row["resource"] for row in world.api.get("/api/v1/audit").json["items"]]
    assert (resource in found) is is_seen


def test_the_details_of_a_row_get_no_names_of_what_is_outside_the_scope(world: World) -> None:
    device_id = str(world.devices["outside"].id)
    assert world.api.get(f"/api/v1/audit/export?resource=device:{device_id}").status_code == 200
    text = world.api.get("/api/v1/audit?event=audit.exported").text
    assert device_id in text
    assert "router-outside" not in text


def test_a_page_of_the_audit_log_goes_on_behind_rows_that_are_left_out(world: World) -> None:
    world.audit("x.y", "user:first")
    for _ in range(5):
        world.audit("x.y", f"device:{world.devices['outside'].id}")
    old = world.api.get("/api/audit?event=x.y&limit=3").json
    assert old["items"] == []
    found = world.api.get(f"/api/audit?event=x.y&limit=3&before={old['next']}").json
    assert [row["resource"] for row in found["items"]] == ["user:first"]
    new = world.api.get("/api/v1/audit?event=x.y&limit=3").json
    assert ([row["resource"] for row in new["items"]], new["next"]) == (["user:first"], None)


def test_events_of_ha_status_name_no_sessions(world: World, services: Services) -> None:
    services.observer._registry.record_event(
        "claimed", "ctrl-1", session=str(world.live["outside"]), device="router-outside"
    )
    services.observer._registry.record_event("joined", "ctrl-1")
    services.observer.expire()
    for path in ("/api/v1/ha/status", "/api/v1/ha/events", "/api/v1/ha/stream", "/admin/ha"):
        text = beginning(world.page if path.startswith("/admin") else world.api, path)
        assert "ctrl-1 joined" in text, path
        assert "router-outside" not in text, path


def test_own_sessions_stay_in_sight_when_their_device_leaves_the_scope(world: World) -> None:
    with world.database.transaction() as tx:
        own = insert_session(tx, user_id=world.api.user_id, device_id=world.devices["outside"].id)
    assert [each["id"] for each in world.api.get("/api/sessions").json["items"] if each["is_mine"]] == [str(own)]
    assert world.api.get(f"/api/recordings/{own}").status_code == 200


def test_a_target_of_the_audit_log_is_for_users_without_a_scope(world: World, log_in: Any, add_user: Any) -> None:
    target = {"name": "siem", "type": "syslog_tcp", "address": "siem.example.net:6514"}
    assert world.api.post("/api/v1/audit/targets", json=target).status_code == 403
    add_user("boss", role="admin")
    made = log_in("boss").post("/api/v1/audit/targets", json=target).json
    moved = target | {"address": "evil.example.net:6514"}
    assert world.api.put(f"/api/v1/audit/targets/{made['id']}", json=moved).status_code == 403
