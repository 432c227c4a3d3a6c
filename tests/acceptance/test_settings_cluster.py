"""A change of a system setting takes effect on the other instances of a cluster within a heartbeat."""

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import requests
from websockets.exceptions import ConnectionClosed

from tests.acceptance.cluster import TEAMS_LICENSE, Cluster, come_back
from tests.acceptance.lab import Lab
from tests.controller import Api, Controller, Terminal, until
from tests.postgres import Postgres
from tests.smtp_server import SmtpServer
from tests.sshd import Sshd

OPERATOR = {"username": "oda", "password": "an operator of the tests", "role": "operator"}


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    # The sessions of a lost instance wait for the mail about it.
    with Cluster(postgres, 3, SESSION_DETACH_TTL_SECS="300") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def lab(cluster: Cluster, sshd: Sshd) -> Lab:
    return cluster.lab(sshd)


@pytest.fixture(scope="module")
def admin(cluster: Cluster) -> Api:
    api = cluster.controllers[0].login()
    api.post("/api/users", OPERATOR)
    return api


@pytest.fixture(autouse=True)
def defaults(admin: Api) -> Iterator[None]:
    yield
    for each in admin.get("/api/v1/settings")["items"]:
        if each["source"] == "stored":
            admin.call("DELETE", f"/api/v1/settings/{each['key']}")


def change(admin: Api, key: str, value: Any) -> None:
    admin.call("PUT", f"/api/v1/settings/{key}", json={"value": value})


def banner(controller: Controller) -> str:
    text: str = requests.get(f"{controller.url}/api/v1/auth/notice", timeout=10).json()["banner"]
    return text


def test_a_banner_is_shown_by_all_instances(cluster: Cluster, admin: Api) -> None:
    change(admin, "login.banner", "Only for staff.")
    assert banner(cluster.controllers[0]) == "Only for staff."
    for each in cluster.controllers[1:]:
        until(lambda each=each: banner(each) == "Only for staff.", "the banner at another instance")
    admin.call("DELETE", "/api/v1/settings/login.banner")
    for each in cluster.controllers[1:]:
        until(lambda each=each: banner(each) == "", "the default at another instance")


def test_sharing_is_refused_by_another_instance(cluster: Cluster, lab: Lab, admin: Api) -> None:
    terminal = lab.at(cluster.controllers[1]).open()
    path = f"/api/sessions/{terminal.info['session_id']}/share"
    elsewhere = admin.at(cluster.controllers[2])
    elsewhere.post(path, {})
    change(admin, "features.sharing", {"enabled": False})

    def status() -> int:
        headers = {"Authorization": f"Bearer {elsewhere.token}"}
        return requests.post(elsewhere.controller.url + path, json={}, headers=headers, timeout=10).status_code

    until(lambda: status() == 403, "the refusal by another instance")
    terminal.leave()


def test_the_limit_of_sessions_holds_at_another_instance(cluster: Cluster, lab: Lab, admin: Api) -> None:
    there = lab.at(cluster.controllers[2])
    first = there.open()
    change(admin, "sessions.per_user", 1)

    def refusal() -> str:
        again = Terminal(there.api, first.query | {"offset": "tail"})
        until(lambda: again.errors or again.info, "an answer")
        again.leave()
        return " ".join(again.errors)

    until(lambda: "the limit for one user" in refusal(), "the refusal")
    first.leave()


def test_the_jump_box_is_closed_at_another_instance(cluster: Cluster, admin: Api) -> None:
    api = cluster.controllers[1].login(OPERATOR["username"], OPERATOR["password"])
    change(admin, "login.banner", "All is recorded.")
    until(lambda: banner(cluster.controllers[1]) == "All is recorded.", "the banner")
    visit = Terminal(api, {"cols": 100, "rows": 30}, path="/ws/jumpbox")
    visit.expect("All is recorded.\r\nNetStacks jump box")
    change(admin, "features.jump_box", {"enabled": True, "disabled_roles": ["operator"]})

    def has_ended() -> bool:
        with contextlib.suppress(ConnectionClosed):
            visit.type("whoami\r")
        return bool(visit.close)

    # It looks every ten seconds, and before each command.
    until(has_ended, "the end of the visit")
    assert "Jump box is switched off for your role, operator" in " ".join(visit.errors)


def test_an_address_that_is_not_in_the_list(cluster: Cluster, admin: Api, sshd: Sshd) -> None:
    api = cluster.controllers[2].login(OPERATOR["username"], OPERATOR["password"])
    own = api.post(
        "/api/credentials/personal",
        {"name": "own", "credential_type": "ssh_key", "username": sshd.user, "secret": sshd.private_key},
    )
    query = {
        "credential_id": own["id"],
        "host": "localhost",
        "port": sshd.port,
        "cols": 80,
        "rows": 24,
        "offset": "tail",
    }

    def answer() -> Terminal:
        terminal = Terminal(api, query)
        until(lambda: terminal.errors or terminal.info or terminal.close, "an answer")
        return terminal

    refused = answer()
    assert "no device is stored at" in " ".join(refused.errors)
    change(admin, "features.ad_hoc_hosts", {"enabled": True, "disabled_roles": ["viewer"]})
    key = f"{sshd.host_key_type} {sshd.host_key_base64}"
    admin.post("/api/host-keys", {"host": "localhost", "port": sshd.port, "public_key": key})
    opened = until(lambda: (found := answer()).info and found, "a terminal to the address")
    opened.type("echo ad''hoc\n")
    opened.expect("adhoc")
    opened.leave()


def test_a_lost_instance_is_one_mail_and_its_oldest_session_ends_at_the_next_owner(
    cluster: Cluster, lab: Lab, admin: Api
) -> None:
    old, younger = (lab.at(cluster.controllers[2]).open() for _ in range(2))
    with psycopg.connect(cluster.database_url, autocommit=True) as database:
        for terminal, age in ((old, "2 h"), (younger, "56 min")):
            values = [age, terminal.info["session_id"]]
            database.execute("UPDATE sessions SET started_at = now() - %s::interval WHERE id = %s", values)
    change(admin, "sessions.longest_hours", 1)
    with SmtpServer() as smtp:
        for key, value in {
            "mail.host": "127.0.0.1",
            "mail.port": smtp.port,
            "mail.security": "none",
            "mail.from": "netstacks@example.com",
            "mail.to": "noc@example.com",
        }.items():
            change(admin, key, value)
        lost = cluster.controllers[2]
        lost_id = lost.health()["instance_id"]
        lost.kill()
        until(lambda: smtp.mails, "the mail", 60)
        with psycopg.connect(cluster.database_url, autocommit=True) as database:
            sent = "SELECT key FROM notices WHERE sent_at IS NOT NULL"
            until(lambda: database.execute(sent).fetchall(), "the note that it was sent")
            # Both living instances have queued it in the meantime, or will: the row is the same.
            assert database.execute("SELECT count(*) FROM notices").fetchall() == [(1,)]
        assert [str(each.message["Subject"]) for each in smtp.mails] == [
            f"NetStacks Controller: Instance {lost_id} is lost"
        ]
    warned = come_back(younger, cluster.controllers[1])
    warned.expect("[this session ends in 5 minutes: an administrator allows sessions of 1 hour]")
    warned.leave()
    again = come_back(old, cluster.controllers[1])
    reason = "it has lasted 1 hour, the longest time that an administrator allows"
    assert again.ended() == reason
    [row] = until(lambda: admin.get("/api/audit?event=session.time_over")["items"], "the audit row")
    assert row["details"]["reason"] == reason
    again.leave()


def test_a_licence_is_known_at_another_instance(cluster: Cluster, admin: Api) -> None:
    admin.post("/api/admin/license/activate", {"license_key": TEAMS_LICENSE})
    there = admin.at(cluster.controllers[1])
    until(lambda: there.get("/api/v1/license")["tier"] == "team", "the licence elsewhere")
