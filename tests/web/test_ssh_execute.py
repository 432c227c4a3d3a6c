"""Commands for AI and for tests of changes: the permitted commands, devices and users, and the refusals."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from netstacks.errors import DeviceError
from netstacks.instance.command_runner import Batch, Result, Run
from netstacks.instance.targets import ConnectRequest
from netstacks.store import credentials, devices, sessions
from netstacks.store.credentials import Secrets
from netstacks.store.pool import Database
from netstacks.terminal.unattended import UnattendedDialogue
from netstacks.web.api import ssh_execute
from netstacks.web.context import Services
from tests.rows import make_session
from tests.web.conftest import Api

PATH = "/api/ai/ssh-execute"


class Opener:
    """Records the requests, and has no device to offer."""

    def __init__(self) -> None:
        self.wishes: list[ConnectRequest] = []

    def open(self, connect_request: ConnectRequest) -> Any:
        self.wishes.append(connect_request)
        raise DeviceError("r1 is switched off")


@pytest.fixture
def opener(services: Services) -> Opener:
    opener: Any = Opener()
    services.opener = opener
    agent: Any = SimpleNamespace(me=SimpleNamespace(state="active"), differing_secrets=[])
    services.agent = agent
    return opener  # type: ignore[no-any-return]


@pytest.fixture
def device(database: Database) -> devices.Device:
    with database.transaction() as tx:
        return devices.create(tx, name="r1", host="192.0.2.1")


AddCredential = Callable[..., UUID]


@pytest.fixture
def add_credential(services: Services) -> AddCredential:
    def add(owner: Api | None = None, name: str = "c") -> UUID:
        with services.database.transaction() as tx:
            return credentials.create(
                tx,
                services.vault,
                Secrets("secret"),
                name=name,
                credential_type="ssh_password",
                username="u",
                owner_id=owner.user_id if owner else None,
            ).id

    return add


def execute(api: Api, target: str, *commands: str, **body: Any) -> Any:
    body = {"session_definition_id": target, "commands": list(commands) or ["show version"], **body}
    answer = api.post(PATH, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json


def refusal(api: Api, target: str, *commands: str) -> str:
    answer = execute(api, target, *commands)
    assert (answer["success"], answer["output"], answer["execution_time_ms"]) == (False, "", 0)
    return str(answer["error"])


def test_with_one_command_that_does_more_than_show_nothing_is_run(
    operator: Api, opener: Opener, device: devices.Device, add_credential: AddCredential
) -> None:
    add_credential(operator)
    error = refusal(operator, f"device-{device.id}", "show version", "reload")
    assert error.startswith("Refused 'reload': only commands that begin with show, display,")
    path = f"/api/devices/{device.id}/exec-command"
    answer = operator.post(path, json={"command": "show run | include x"}).json
    assert (answer["success"], "pipes are not allowed" in answer["error"]) == (False, True)
    assert not opener.wishes


@pytest.mark.parametrize(
    "wrong",
    [
        {"commands": []},
        {"commands": ["show a"] * 11},
        {"commands": [""]},
        {"commands": None},
        {"command": "show a"},
        {"commands": ["show " + "a" * 1000]},
        {"timeout_secs": 0},
        {"timeout_secs": 301},
        {"session_definition_id": ""},
    ],
)
def test_wrong_requests_are_named(operator: Api, opener: Opener, wrong: dict[str, Any]) -> None:
    body = {"session_definition_id": "device-x", "commands": ["show a"], **wrong}
    answer = operator.post(PATH, json=body)
    assert (answer.status_code, answer.json["code"]) == (400, "BAD_REQUEST")
    assert answer.json["error"].startswith("command: send either" if wrong == {"commands": None} else next(iter(wrong)))
    assert not opener.wishes


def test_a_viewer_and_a_stranger_run_nothing(viewer: Api, anonymous: Api, opener: Opener) -> None:
    for path in (PATH, f"/api/devices/{uuid4()}/exec-command"):
        assert viewer.post(path, json={}).status_code == 403
        assert anonymous.post(path, json={}).status_code == 401


def test_with_ai_switched_off_nothing_is_run_for_it_and_tests_of_changes_are(
    admin: Api, operator: Api, opener: Opener, device: devices.Device, add_credential: AddCredential
) -> None:
    add_credential(operator)
    off = admin.put("/api/v1/llm/settings", json={"enabled": True, "disabled_roles": ["operator"]})
    assert off.status_code == 200
    answer = operator.post(PATH, json={"session_definition_id": f"device-{device.id}", "command": "show version"})
    assert (answer.status_code, answer.json["code"]) == (503, "NOT_CONFIGURED")
    assert operator.post(PATH, data="no JSON").json == answer.json
    assert not opener.wishes
    path = f"/api/devices/{device.id}/exec-command"
    answer = operator.post(path, json={"command": "show version", "timeout_secs": 5})
    assert (answer.status_code, answer.json["error"]) == (200, "r1 is switched off")


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("device-x", "must be device-UUID or the id of a session definition"),
        ("core", "must be device-UUID or the id of a session definition"),
        (f"device-{UUID(int=1)}", "this device has been deleted"),
        (str(UUID(int=1)), "there is no such session definition"),
    ],
)
def test_an_id_that_leads_nowhere_is_told_to_the_model(operator: Api, opener: Opener, target: str, error: str) -> None:
    assert error in refusal(operator, target)


def test_a_live_session_leads_to_its_device_with_its_credential_and_only_its_users(
    operator: Api, admin: Api, opener: Opener, device: devices.Device, add_credential: AddCredential, database: Database
) -> None:
    add_credential(operator, "default one")
    chosen = add_credential(operator, "chosen one")
    facts: dict[str, Any] = {"device_id": device.id, "credential_id": chosen, "owner": "elsewhere"}
    session_id = make_session(database, user_id=operator.user_id, **facts)
    assert "belongs to another user" in refusal(admin, str(session_id))
    execute(operator, str(session_id))
    (connect_request,) = opener.wishes
    assert (connect_request.target, connect_request.credential_id, connect_request.actor.id) == (
        f"device-{device.id}",
        chosen,
        operator.user_id,
    )
    assert connect_request.session_id != session_id
    assert isinstance(connect_request.dialogue, UnattendedDialogue)
    with database.transaction() as tx:
        sessions.end(tx, session_id, 1, "its device was switched off")
    assert "This session has ended: its device was switched off" in refusal(operator, str(session_id))


def test_a_credential_for_another_address_is_none(
    operator: Api, opener: Opener, device: devices.Device, add_credential: AddCredential, database: Database
) -> None:
    own = add_credential(operator)
    with database.transaction() as tx:
        tx.execute("UPDATE credentials SET host = '192.0.2.2'")
    told = refusal(operator, f"device-{device.id}")
    assert told.endswith("choose a default one that is for any address, or for 192.0.2.1:22.")
    assert opener.wishes == []
    with database.transaction() as tx:
        tx.execute("UPDATE credentials SET host = '192.0.2.1', port = 22")
    execute(operator, f"device-{device.id}")
    assert [connect_request.credential_id for connect_request in opener.wishes] == [own]


def test_the_credential_is_the_definitions_else_the_devices_else_the_users(
    admin: Api, operator: Api, opener: Opener, device: devices.Device, add_credential: AddCredential
) -> None:
    assert "You have no credential for r1." in refusal(operator, f"device-{device.id}")
    foreign, own = add_credential(admin, "foreign"), add_credential(operator, "own")
    execute(operator, f"device-{device.id}")
    shared = add_credential(None, "shared")
    admin.put(f"/api/devices/{device.id}", json={"default_credential_id": str(shared)})
    execute(operator, f"device-{device.id}")
    body = {"name": "core", "host": device.host, "credential_override_id": str(foreign)}
    definition = admin.post("/api/session-definitions", json=body).json
    # Another user's: it counts for nothing.
    execute(operator, definition["id"])
    execute(admin, definition["id"])
    assert [connect_request.credential_id for connect_request in opener.wishes] == [own, shared, shared, foreign]


def test_a_device_without_a_free_line_is_left_alone(
    operator: Api, admin: Api, opener: Opener, database: Database, add_credential: AddCredential
) -> None:
    add_credential(operator)
    with database.transaction() as tx:
        device = devices.create(tx, name="r1", host="192.0.2.1", lines=1)
    make_session(database, user_id=admin.user_id, device_id=device.id, owner="elsewhere")
    assert "1 of the 1 lines of r1 are in use" in refusal(operator, f"device-{device.id}")
    assert not opener.wishes


def test_a_third_run_at_once_is_too_many(operator: Api, opener: Opener, device: devices.Device) -> None:
    body = {"session_definition_id": f"device-{device.id}", "command": "show version"}
    with ssh_execute._runs.taken(operator.user_id), ssh_execute._runs.taken(operator.user_id):
        with_credential = operator.post("/api/credentials/personal", json=_CREDENTIAL)
        assert with_credential.status_code == 201
        answer = operator.post(PATH, json=body)
    assert (answer.status_code, answer.json["code"]) == (429, "RATE_LIMITED")
    assert int(answer.headers["Retry-After"]) > 0
    assert operator.post(PATH, json=body).status_code == 200
    assert len(opener.wishes) == 1


_CREDENTIAL = {"name": "c", "credential_type": "ssh_password", "username": "u", "secret": "s"}


def test_answers_have_the_members_of_the_contract(
    operator: Api,
    opener: Opener,
    device: devices.Device,
    add_credential: AddCredential,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    audited: Callable[[str], list[dict[str, Any]]],
) -> None:
    add_credential(operator)
    batches: list[Batch] = []
    session_id = uuid4()

    def run(_: object, _request: ConnectRequest, batch: Batch, _is_abandoned: object) -> Run:
        batches.append(batch)
        results = [Result(command, f"of {command}", None, 0.25) for command in batch.commands]
        results[-1] = Result(batch.commands[-1], "partial", "it was interrupted after 7 s", 7)
        return Run(session_id, tuple(results), results[-1].error)

    monkeypatch.setattr(ssh_execute.CommandRunner, "run", run)
    answer = execute(operator, f"device-{device.id}", "show a", "show b", timeout_secs=7, stop_on_error=True)
    assert answer == {
        "success": False,
        "output": "=== [1] show a ===\nof show a\n\n=== [2] show b ===\npartial",
        "error": "it was interrupted after 7 s",
        "execution_time_ms": 7250,
        "results": [
            {"command": "show a", "success": True, "output": "of show a", "error": None, "execution_time_ms": 250},
            {
                "command": "show b",
                "success": False,
                "output": "partial",
                "error": "it was interrupted after 7 s",
                "execution_time_ms": 7000,
            },
        ],
    }
    body = {"session_definition_id": f"device-{device.id}", "command": "show snmp community S3cr3tW0rd RO"}
    single = operator.post(PATH, json=body).json
    assert set(single) == {"success", "output", "error", "execution_time_ms"}
    execute(operator, f"device-{device.id}", *["show a"] * 10, timeout_secs=300)
    # The client gives up after timeout x commands + 15 s, and after 600 s.
    assert [batch.total_secs < limit for batch, limit in zip(batches, (29, 45, 600), strict=True)] == [True] * 3
    services.deferred_writes.start()
    assert services.deferred_writes.flush(30)
    rows = audited("ai.commands_run")
    assert [row["resource"] for row in rows] == [f"session:{session_id}"] * 3
    assert rows[0]["details"] == {"device": "r1", "commands": ["show a", "show b"], "success": False}
    assert "S3cr3tW0rd" not in str(rows[1]["details"])
