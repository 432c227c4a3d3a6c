"""Host keys over HTTP: who is asked, who may answer, and what is approved beforehand."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from netstacks import greenlets
from netstacks.errors import OpeningAbandoned
from netstacks.terminal.hostkeys import HostKey, HostKeyPrompts
from netstacks.web.context import Services
from tests.web.conftest import Api

ROOT = "/api/host-keys"
BLOB = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(32)
KEY = base64.b64encode(BLOB).decode()
FINGERPRINT = "SHA256:" + base64.b64encode(hashlib.sha256(BLOB).digest()).decode().rstrip("=")

Audited = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def ask(services: Services) -> Iterator[Callable[..., greenlets.Greenlet]]:
    """`ask(user_id)`: a connection of that user that waits for an answer; its value is the answer."""
    waiting: list[greenlets.Greenlet] = []
    left = greenlets.Event()

    def ask(user_id: UUID, previous: HostKey | None = None) -> greenlets.Greenlet:
        found = HostKey("ssh-ed25519", KEY)
        question = (user_id, "r1", 22, found, previous, left.is_set)
        waiting.append(greenlets.spawn("connection", _ask_until_left, services.prompts, question))
        greenlets.sleep(0)
        return waiting[-1]

    yield ask
    left.set()
    greenlets.joinall(waiting)


def _ask_until_left(prompts: HostKeyPrompts, question: tuple[Any, ...]) -> bool | None:
    try:
        return prompts.ask(*question)
    except OpeningAbandoned:
        return None


def test_a_quiet_browser_is_told_of_no_prompts(viewer: Api, audited: Audited) -> None:
    assert viewer.get(f"{ROOT}/prompts").json == {"prompts": []}
    assert audited("host_key.*") == []


def test_a_prompt_has_what_the_client_shows(operator: Api, ask: Callable[..., greenlets.Greenlet]) -> None:
    ask(operator.user_id)
    (prompt,) = operator.get(f"{ROOT}/prompts").json["prompts"]
    assert UUID(prompt.pop("id"))
    assert prompt.pop("created_at").endswith("Z")
    assert prompt == {
        "host": "r1",
        "port": 22,
        "is_changed_key": False,
        "fingerprint": FINGERPRINT,
        "previous_fingerprint": None,
    }


def test_a_changed_key_says_so(operator: Api, ask: Callable[..., greenlets.Greenlet]) -> None:
    ask(operator.user_id, HostKey("ssh-rsa", "b25l"))
    (prompt,) = operator.get(f"{ROOT}/prompts").json["prompts"]
    assert prompt["is_changed_key"] is True
    assert prompt["previous_fingerprint"].startswith("SHA256:")


@pytest.mark.parametrize(("verb", "past", "answer"), [("approve", "approved", True), ("reject", "rejected", False)])
def test_the_answer_reaches_the_connection_and_the_audit_log(
    operator: Api, ask: Callable[..., greenlets.Greenlet], audited: Audited, verb: str, past: str, answer: bool
) -> None:
    connection = ask(operator.user_id)
    prompt_id = operator.get(f"{ROOT}/prompts").json["prompts"][0]["id"]
    assert operator.post(f"{ROOT}/prompts/{prompt_id}/{verb}").status_code == 204
    assert connection.get(timeout=10) is answer
    (row,) = audited("host_key.prompt_*")
    assert (row["event"], row["actor"]) == (f"host_key.prompt_{past}", "operator")
    assert row["details"] == {"host": "r1", "port": 22, "fingerprint": FINGERPRINT}
    assert operator.get(f"{ROOT}/prompts").json == {"prompts": []}


def test_others_neither_see_nor_answer_a_prompt(
    operator: Api, viewer: Api, admin: Api, ask: Callable[..., greenlets.Greenlet], audited: Audited
) -> None:
    connection = ask(operator.user_id)
    prompt_id = operator.get(f"{ROOT}/prompts").json["prompts"][0]["id"]
    for other in (viewer, admin):
        assert other.get(f"{ROOT}/prompts").json == {"prompts": []}
    assert viewer.post(f"{ROOT}/prompts/{prompt_id}/approve").status_code == 404
    assert audited("host_key.prompt_*") == []
    assert not connection.ready()
    assert admin.post(f"{ROOT}/prompts/{prompt_id}/approve").status_code == 204
    assert connection.get(timeout=10) is True


def test_an_unknown_prompt_is_404(operator: Api) -> None:
    assert operator.post(f"{ROOT}/prompts/{uuid4()}/approve").status_code == 404


def test_a_key_is_approved_listed_and_forgotten(admin: Api, viewer: Api, audited: Audited) -> None:
    assert viewer.get(ROOT).json == []
    answer = admin.post(ROOT, json={"host": "R1", "port": 2222, "public_key": f"r1 ssh-ed25519 {KEY} comment"})
    assert answer.status_code == 201
    key = answer.json
    assert key | {"approved_at": 0} == {
        "host": "r1",
        "port": 2222,
        "key_type": "ssh-ed25519",
        "fingerprint": FINGERPRINT,
        "public_key": KEY,
        "approved_by": "admin",
        "approved_at": 0,
    }
    assert viewer.get(ROOT).json == [key]
    assert admin.delete(f"{ROOT}/r1/2222").status_code == 204
    assert admin.delete(f"{ROOT}/r1/2222").status_code == 404
    assert [row["event"] for row in audited("host_key.*")] == ["host_key.approved", "host_key.forgotten"]


def test_the_audit_log_tells_a_replaced_key_from_a_new_one(admin: Api, audited: Audited) -> None:
    other = base64.b64encode(BLOB[:-1] + b"\1").decode()
    for key in (KEY, KEY, other):
        assert admin.post(ROOT, json={"host": "2001:db8::1", "public_key": key}).status_code == 201
    assert [row["details"]["changed"] for row in audited("host_key.approved")] == [False, False, True]
    assert admin.delete(f"{ROOT}/2001:db8::1/22").status_code == 204


@pytest.mark.parametrize(
    ("wrong", "problem"), [({"public_key": "x"}, "public_key: "), ({"host": "a b"}, "host: "), ({"port": 0}, "port: ")]
)
def test_wrong_values_are_named(admin: Api, wrong: dict[str, Any], problem: str) -> None:
    answer = admin.post(ROOT, json={"host": "r1", "public_key": KEY} | wrong)
    assert answer.status_code == 422
    assert answer.json["error"].startswith(problem)


def test_only_managers_approve_beforehand_and_forget(operator: Api, anonymous: Api) -> None:
    assert operator.post(ROOT, json={"host": "r1", "public_key": KEY}).status_code == 403
    assert operator.delete(f"{ROOT}/r1/22").status_code == 403
    assert anonymous.get(f"{ROOT}/prompts").status_code == 401
