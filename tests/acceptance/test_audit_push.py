"""The audit log on its way to real receivers: syslog over UDP, TCP and TLS, and webhooks that fail, stall and die."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from tests.acceptance.cluster import Cluster
from tests.audit_receivers import Receiver, syslog_stream, syslog_udp, webhook
from tests.certificates import Authority
from tests.controller import Api, Controller, until
from tests.ports import free_port
from tests.postgres import Postgres

SECRET = "a secret of the webhook"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def certificate(authority: Authority) -> tuple[Path, Path]:
    return authority.issue("127.0.0.1")


@pytest.fixture
def targets(admin: Api) -> Iterator[list[str]]:
    """The ids of targets to delete after the test."""
    created: list[str] = []
    yield created
    for target_id in created:
        admin.call("DELETE", f"/api/v1/audit/targets/{target_id}")


def add(api: Api, targets: list[str], kind: str, address: str, **more: Any) -> dict[str, Any]:
    body = {"name": f"target {len(targets)}", "type": kind, "address": address, **more}
    target: dict[str, Any] = api.post("/api/v1/audit/targets", body)
    targets.append(target["id"])
    return target


def write(api: Api, count: int, name: str = "written") -> None:
    """Events of credentials, whose names are these."""
    for number in range(count):
        api.add_credential("x", "secret", name=f"{name} {number}")


def stored(url: str, event: str) -> list[int]:
    """The ids of all rows of an event, in the order of the chain."""
    statement = (
        "SELECT a.id FROM audit_seals s, unnest(s.ids) WITH ORDINALITY t (id, n) JOIN audit a ON a.id = t.id"
        " WHERE a.event = %s ORDER BY s.number, t.n"
    )
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute(statement, [event])]


def arrived(receiver: Receiver, name: str, count: int) -> bool:
    texts = [json.dumps(message, ensure_ascii=False) for message in list(receiver.messages)]
    return sum(f"{name} " in text for text in texts) >= count


def state_of(api: Api, target: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/api/v1/audit/targets/{target['id']}")
    return found


def test_syslog_receivers_get_well_formed_messages_in_order(
    admin: Api, targets: list[str], authority: Authority, certificate: tuple[Path, Path]
) -> None:
    with syslog_udp() as udp, syslog_stream() as tcp, syslog_stream(certificate) as tls:
        add(admin, targets, "syslog_udp", udp.address)
        add(admin, targets, "syslog_tcp", tcp.address)
        add(admin, targets, "syslog_tls", tls.address, ca=authority.ca.read_text())
        write(admin, 5, 'w]ri"t\\ten é')
        for receiver in (udp, tcp, tls):
            until(lambda receiver=receiver: receiver.events().count("credential.created") == 5, "the messages")
            messages = [each for each in receiver.messages if each["event"] == "credential.created"]
            assert receiver.rows() == sorted(receiver.rows())
            assert {each["priority"] for each in messages} == {"109"}
            assert {each["message_id"] for each in messages} == {"credential.created"}
            assert {each["actor"] for each in messages} == {"admin"}
            assert [json.loads(each["text"])["name"] for each in messages] == [f'w]ri"t\\ten é {n}' for n in range(5)]
            assert all(len(each["head"]) == 64 for each in messages)


def test_a_receiver_whose_certificate_is_not_trusted_gets_nothing(
    admin: Api, targets: list[str], certificate: tuple[Path, Path]
) -> None:
    with syslog_stream(certificate) as tls:
        target = add(admin, targets, "syslog_tls", tls.address)
        answer = admin.post(f"/api/v1/audit/targets/{target['id']}/test", {})
        assert not answer["ok"]
        assert "certificate is not trusted" in answer["message"]
        until(lambda: "not trusted" in (state_of(admin, target)["problem"] or ""), "the problem")
        assert tls.messages == []


def test_a_webhook_gets_signed_batches(
    admin: Api, targets: list[str], authority: Authority, certificate: tuple[Path, Path]
) -> None:
    with webhook(certificate) as hook:
        ca = authority.ca.read_text()
        target = add(admin, targets, "webhook", hook.address, ca=ca, secret=SECRET)
        assert SECRET not in json.dumps(target)
        write(admin, 3)
        until(lambda: arrived(hook, "written", 3), "the rows")
        for headers, body in hook.requests:
            at, signed = (part.partition("=")[2] for part in headers["X-NetStacks-Signature"].split(","))
            expected = hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
            assert hmac.compare_digest(signed, expected)
        assert admin.post(f"/api/v1/audit/targets/{target['id']}/test", {})["ok"]
        until(lambda: "audit.test" in hook.events(), "the test")


def test_nothing_is_lost_or_reordered_while_a_webhook_fails_and_nothing_waits_for_it(
    admin: Api,
    controller: Controller,
    targets: list[str],
    authority: Authority,
    certificate: tuple[Path, Path],
) -> None:
    port, ca = free_port(), authority.ca.read_text()
    target = add(admin, targets, "webhook", f"https://127.0.0.1:{port}/audit", ca=ca)
    with syslog_udp() as other:
        add(admin, targets, "syslog_udp", other.address)
        write(admin, 3, "down")
        # Another target gets its rows meanwhile.
        until(lambda: arrived(other, "down", 3), "the rows at the other target")
    until(lambda: "refuses the connection" in (state_of(admin, target)["problem"] or ""), "the problem")
    metrics = requests.get(f"{controller.url}/metrics", timeout=10)
    if metrics.status_code == 200:
        assert 'netstacks_audit_push_waiting{target_type="webhook"}' in metrics.text
    with webhook(certificate, port) as hook:
        hook.status = 500
        write(admin, 2, "failing")
        until(lambda: "status 500" in (state_of(admin, target)["problem"] or ""), "the other problem", 120)
        hook.status = 200
        until(lambda: arrived(hook, "failing", 2), "the rows", 120)
        assert hook.rows() == sorted(hook.rows())
        assert len(set(hook.rows())) == len(hook.rows())
        until(lambda: state_of(admin, target)["problem"] is None, "the end of the problem")
        until(lambda: state_of(admin, target)["waiting"] < 5, "that nothing waits")


def test_a_webhook_that_answers_byte_by_byte_is_given_up(
    admin: Api, targets: list[str], authority: Authority, certificate: tuple[Path, Path]
) -> None:
    with webhook(certificate) as hook:
        hook.trickles = True
        target = add(admin, targets, "webhook", hook.address, ca=authority.ca.read_text())
        write(admin, 1, "trickling")
        until(lambda: state_of(admin, target)["problem"], "the problem", 120)
        hook.trickles = False
        until(lambda: arrived(hook, "trickling", 1), "the row", 120)


def test_another_instance_goes_on_when_the_one_that_delivers_is_killed(
    postgres: Postgres, authority: Authority, certificate: tuple[Path, Path]
) -> None:
    with Cluster(postgres, 2) as cluster, webhook(certificate) as hook:
        api = cluster.controllers[0].login()
        add(api, [], "webhook", hook.address, ca=authority.ca.read_text())
        write(api, 2, "before")
        until(lambda: arrived(hook, "before", 2), "the first rows")
        # The instance that delivers waits for the answer when it dies: the webhook has the rows by then.
        hook.stays_silent_secs = 5
        write(api, 5, "between")
        holder = until(lambda: _holder(cluster.database_url), "a delivery under way")
        killed, other = sorted(cluster.controllers, key=lambda each: each.health()["instance_id"] != holder)
        killed.kill()
        hook.stays_silent_secs = 0
        survivor = api.at(other)
        write(survivor, 3, "after")
        until(lambda: arrived(hook, "after", 3), "the rest", 90)
        wanted = stored(cluster.database_url, "credential.created")
        found = [int(each["id"]) for each in hook.messages if each["event"] == "credential.created"]
        assert list(dict.fromkeys(found)) == wanted
        # What was under way came twice, as one block, and nothing else.
        batches = [json.loads(body.splitlines()[0])["position"] for _, body in hook.requests]
        assert len(batches) - len(set(batches)) <= 1


def _holder(url: str) -> str | None:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT leased_by FROM audit_targets WHERE leased_until > now()").fetchone()
    return row[0] if row else None
