"""Host keys over HTTP: which user is asked, which role may answer, and what is approved beforehand."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from netstacks import greenlets
from netstacks.errors import HostKeyRejected, OpeningAbandoned
from netstacks.instance.host_key_prompts import HostKeyPrompts, check_host_key
from netstacks.store.hostkeys import StoredHostKey
from netstacks.store.users import User
from netstacks.terminal.host_key import HostKey
from netstacks.web.context import Services
from tests.controller import until
from tests.web.conftest import Api

ROOT = "/api/host-keys"
BLOB = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(32)
KEY = base64.b64encode(BLOB).decode()
FINGERPRINT = "SHA256:" + base64.b64encode(hashlib.sha256(BLOB).digest()).decode().rstrip("=")
FOUND = HostKey("ssh-ed25519", KEY)
STORED = StoredHostKey("r1", 22, "ssh-rsa", "b25l", "ann", datetime(2026, 1, 2, 3, 4, tzinfo=UTC))

Ask = Callable[..., greenlets.Greenlet]
Audited = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def ask(services: Services) -> Iterator[Ask]:
    """`ask(user_id)`: a connection of that user that waits for an answer; its value is what was answered."""
    waiting: list[greenlets.Greenlet] = []
    left = greenlets.Event()

    def ask(
        user_id: UUID, previous: StoredHostKey | None = None, changed_at: datetime | None = None
    ) -> greenlets.Greenlet:
        question = (user_id, "r1", 22, FOUND, previous, left.is_set, changed_at)
        waiting.append(greenlets.spawn("connection", _ask_until_left, services.prompts, question))
        greenlets.sleep(0)
        return waiting[-1]

    yield ask
    left.set()
    greenlets.joinall(waiting)


def _ask_until_left(prompts: HostKeyPrompts, question: tuple[Any, ...]) -> bool | None:
    try:
        answered = prompts.ask(*question)
        return answered and answered.approved
    except OpeningAbandoned:
        return None


def test_a_quiet_browser_is_told_of_no_prompts(viewer: Api, audited: Audited) -> None:
    assert viewer.get(f"{ROOT}/prompts").json == {"prompts": []}
    assert audited("host_key.*") == []


def test_a_prompt_has_what_the_client_shows(operator: Api, ask: Ask) -> None:
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
        "previous_approved_by": None,
        "previous_approved_at": None,
    }


def test_a_changed_key_says_so_and_whose_word_the_old_one_is(operator: Api, ask: Ask) -> None:
    ask(operator.user_id, STORED)
    (prompt,) = operator.get(f"{ROOT}/prompts").json["prompts"]
    assert prompt["is_changed_key"] is True
    assert (prompt["previous_fingerprint"], prompt["fingerprint"]) == (STORED.fingerprint, FINGERPRINT)
    assert (prompt["previous_approved_by"], prompt["previous_approved_at"]) == ("ann", "2026-01-02T03:04:00Z")


def test_a_changed_key_needs_the_permission_to_manage_host_keys(
    operator: Api, admin: Api, ask: Ask, audited: Audited
) -> None:
    connection = ask(operator.user_id, STORED)
    prompt_id = operator.get(f"{ROOT}/prompts").json["prompts"][0]["id"]
    refused = operator.post(f"{ROOT}/prompts/{prompt_id}/approve")
    assert refused.status_code == 403
    assert "only an administrator (permission hostkeys.manage)" in refused.json["error"]
    assert [each["id"] for each in operator.get(f"{ROOT}/prompts").json["prompts"]] == [prompt_id]
    assert not connection.ready()
    assert admin.post(f"{ROOT}/prompts/{prompt_id}/approve").status_code == 204
    assert connection.get(timeout=30) is True
    (row,) = audited("host_key.prompt_*")
    assert (row["actor"], row["details"]["previous_fingerprint"]) == ("admin", STORED.fingerprint)


def test_a_changed_key_is_rejected_by_its_user(operator: Api, ask: Ask) -> None:
    connection = ask(operator.user_id, STORED)
    prompt_id = operator.get(f"{ROOT}/prompts").json["prompts"][0]["id"]
    assert operator.post(f"{ROOT}/prompts/{prompt_id}/reject").status_code == 204
    assert connection.get(timeout=30) is False


def test_the_question_about_a_first_key_is_not_that_about_a_changed_one(operator: Api, ask: Ask) -> None:
    ask(operator.user_id)
    ask(operator.user_id, STORED)
    asked = operator.get(f"{ROOT}/prompts").json["prompts"]
    assert sorted(each["is_changed_key"] for each in asked) == [False, True]


@pytest.mark.parametrize(("verb", "past", "answer"), [("approve", "approved", True), ("reject", "rejected", False)])
def test_the_answer_reaches_the_connection_and_the_audit_log(
    operator: Api, ask: Ask, audited: Audited, verb: str, past: str, answer: bool
) -> None:
    connection = ask(operator.user_id)
    prompt_id = operator.get(f"{ROOT}/prompts").json["prompts"][0]["id"]
    assert operator.post(f"{ROOT}/prompts/{prompt_id}/{verb}").status_code == 204
    assert connection.get(timeout=30) is answer
    (row,) = audited("host_key.prompt_*")
    assert (row["event"], row["actor"]) == (f"host_key.prompt_{past}", "operator")
    assert row["resource"] == f"host_key_prompt:{prompt_id}"
    assert row["details"] == {"host": "r1", "port": 22, "fingerprint": FINGERPRINT}
    assert operator.get(f"{ROOT}/prompts").json == {"prompts": []}


@pytest.fixture
def rejected(operator: Api, ask: Ask) -> Api:
    """The operator, after rejecting the key of r1."""
    connection = ask(operator.user_id)
    prompt_id = operator.get(f"{ROOT}/prompts").json["prompts"][0]["id"]
    assert operator.post(f"{ROOT}/prompts/{prompt_id}/reject").status_code == 204
    assert connection.get(timeout=30) is False
    return operator


def is_asked(user: Api, connection: greenlets.Greenlet) -> bool:
    """Whether that connection waits for its user; else it was rejected without a question."""
    until(lambda: connection.ready() or user.get(f"{ROOT}/prompts").json["prompts"], "an answer or a question")
    if not connection.ready():
        return True
    assert connection.value is False
    return False


def test_a_rejected_key_is_not_asked_about_again(rejected: Api, admin: Api, ask: Ask, audited: Audited) -> None:
    assert not is_asked(rejected, ask(rejected.user_id))
    # Also when another key was approved for that address before.
    assert not is_asked(rejected, ask(rejected.user_id, STORED))
    assert rejected.get(f"{ROOT}/prompts").json == {"prompts": []}
    assert len(audited("host_key.prompt_*")) == 1
    assert is_asked(admin, ask(admin.user_id))


def test_a_change_of_device_or_credential_asks_again(rejected: Api, ask: Ask) -> None:
    now = datetime.now(UTC)
    assert not is_asked(rejected, ask(rejected.user_id, changed_at=now - timedelta(minutes=1)))
    assert is_asked(rejected, ask(rejected.user_id, changed_at=now + timedelta(minutes=1)))


def test_a_forgotten_key_asks_again(rejected: Api, admin: Api, ask: Ask) -> None:
    other = base64.b64encode(BLOB[:-1] + b"\1").decode()
    assert admin.post(ROOT, json={"host": "r1", "public_key": other}).status_code == 201
    assert not is_asked(rejected, ask(rejected.user_id))
    assert admin.delete(f"{ROOT}/r1/22").status_code == 204
    assert is_asked(rejected, ask(rejected.user_id))


@pytest.mark.parametrize("stored", [None, STORED], ids=["first", "changed"])
def test_a_rejection_says_since_when_and_until_when_it_holds(
    rejected: Api, services: Services, stored: HostKey | None
) -> None:
    with pytest.raises(HostKeyRejected) as told:
        check_host_key(services.prompts, rejected.user_id, "r1", 22, FOUND, stored)
    times = re.search(
        r"rejected at (\d\d:\d\d) UTC.* asked again after ten minutes \((\d\d:\d\d) UTC\),"
        r" or when the device or the credential is changed\.$",
        str(told.value),
    )
    assert times, told.value
    since, until_then = (datetime.strptime(time, "%H:%M") for time in times.groups())
    assert (until_then - since) % timedelta(days=1) == timedelta(minutes=10)
    assert FINGERPRINT in str(told.value)


def test_others_neither_see_nor_answer_a_prompt(
    operator: Api,
    viewer: Api,
    admin: Api,
    ask: Ask,
    audited: Audited,
    add_user: Callable[..., User],
    log_in: Callable[..., Api],
) -> None:
    add_user("lee")
    lee = log_in("lee")
    connection = ask(operator.user_id)
    prompt_id = operator.get(f"{ROOT}/prompts").json["prompts"][0]["id"]
    for other in (viewer, lee, admin):
        assert other.get(f"{ROOT}/prompts").json == {"prompts": []}
    assert lee.post(f"{ROOT}/prompts/{prompt_id}/approve").status_code == 404
    assert viewer.post(f"{ROOT}/prompts/{prompt_id}/approve").status_code == 403
    assert viewer.post(f"{ROOT}/prompts/{prompt_id}/reject").status_code == 404
    assert audited("host_key.prompt_*") == []
    assert not connection.ready()
    assert admin.post(f"{ROOT}/prompts/{prompt_id}/approve").status_code == 204
    assert connection.get(timeout=30) is True


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


def test_audit_rows_name_the_key_its_address_and_the_administrator(admin: Api, audited: Audited) -> None:
    assert admin.post(ROOT, json={"host": "R1", "port": 2222, "public_key": KEY}).status_code == 201
    assert admin.delete(f"{ROOT}/r1/2222").status_code == 204
    approved, forgotten = audited("host_key.*")
    for row in (approved, forgotten):
        assert (row["actor"], row["actor_id"], row["address"]) == ("admin", admin.user_id, "127.0.0.1")
        assert (row["resource"], row["details"]["fingerprint"]) == ("host:r1:2222", FINGERPRINT)


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
