"""A changed host key on a real device: an operator is refused at once, an administrator decides with all the facts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.acceptance.ai import add_user
from tests.controller import Api, until
from tests.sshd import SSHD, Sshd


@dataclass
class Changed:
    """A device that shows another key than the one that was approved, and a credential for it."""

    server: Sshd
    device: Any
    credential: Any
    old_fingerprint: str


@pytest.fixture
def changed(admin: Api) -> Iterator[Changed]:
    if SSHD is None:
        pytest.skip("needs Debian's openssh-server")
    with Sshd() as now, Sshd() as before:
        key = f"{before.host_key_type} {before.host_key_base64}"
        approved = admin.post("/api/host-keys", {"host": now.host, "port": now.port, "public_key": key})
        device = admin.add_device(now.host, now.port, name=f"changed-{now.port}")
        credential = admin.add_credential(now.user, now.private_key, "ssh_key", name=f"changed-{now.port}")
        yield Changed(now, device, credential, approved["fingerprint"])


@pytest.fixture(scope="module")
def operator(admin: Api) -> Api:
    return add_user(admin, "host-key-operator")


def prompts(api: Api) -> Any:
    return api.get("/api/host-keys/prompts")["prompts"]


@pytest.mark.parametrize("is_ours", [True, False], ids=["page", "client"])
def test_an_operator_is_refused_at_once_and_told_which_role_decides(
    operator: Api, changed: Changed, is_ours: bool
) -> None:
    terminal = operator.open(changed.device, changed.credential, **({"offset": 0} if is_ours else {}))
    if is_ours:
        assert terminal.closed()[0] == 4002
        (told,) = terminal.errors
    else:
        told = terminal.refused()
        terminal.leave()
    assert f"HAS CHANGED from {changed.old_fingerprint} (approved by admin on " in told
    assert "Your role may not approve the new key. An administrator can" in told
    assert prompts(operator) == []


def test_a_program_of_an_operator_is_told_the_same(operator: Api, changed: Changed) -> None:
    path = f"/api/devices/{changed.device['id']}/exec-command"
    operator.call("PUT", "/api/user-settings/terminal.default_credential", json=changed.credential["id"])
    answer = operator.post(path, {"command": "show version"})
    assert not answer["success"]
    assert "Your role may not approve the new key" in answer["error"]
    assert prompts(operator) == []


def test_an_administrator_is_shown_both_keys_and_replaces_the_old_one_for_all_users(
    admin: Api, operator: Api, changed: Changed
) -> None:
    terminal = admin.open(changed.device, changed.credential)
    (prompt,) = until(lambda: prompts(admin), "the question")
    assert (prompt["is_changed_key"], prompt["previous_fingerprint"]) == (True, changed.old_fingerprint)
    assert prompt["previous_approved_by"] == "admin"
    assert prompt["previous_approved_at"].endswith("Z")
    # A user without the permission cannot answer for one with it.
    path = f"/api/host-keys/prompts/{prompt['id']}/approve"
    operator.call("POST", path, expect=404)
    admin.post(path)
    terminal.connected().leave()
    operator.open(changed.device, changed.credential).connected().leave()


def test_a_credential_for_another_address_is_not_sent_to_the_device(operator: Api, admin: Api, sshd: Sshd) -> None:
    device = admin.add_device(sshd.host, sshd.port, host_key=(sshd.host_key_type, sshd.host_key_base64))
    credential = admin.add_credential(sshd.user, sshd.private_key, "ssh_key", name="limited", host="192.0.2.1")
    terminal = operator.open(device, credential)
    assert "the credential limited is only for 192.0.2.1, and the device is at" in terminal.refused()
    terminal.leave()
    admin.call("PUT", f"/api/credentials/{credential['id']}", json={"host": sshd.host, "port": sshd.port})
    operator.open(device, credential).connected().leave()
