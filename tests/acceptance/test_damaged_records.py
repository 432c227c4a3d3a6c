"""Damaged records and rows on real instances: they are named, and everything else goes on."""

import json
import re

import psycopg
from redis import Redis

from netstacks.registry import keys
from tests.acceptance.cluster import Cluster
from tests.acceptance.diagnosis import doctor, fault
from tests.acceptance.ha import command, events, shown
from tests.acceptance.lab import Lab
from tests.controller import Controller, until
from tests.postgres import Postgres
from tests.registry.records import plant
from tests.sshd import Sshd
from tests.web.bad_rows import ROWS, SETTINGS

EVENT = "18446744073709551614-1"
ROWS_THAT_EVERYBODY_READS = ("a session at infinity", "a licence that is an object", "a switch that is a list",
                             "a revision that is a text", "an audit row at infinity")  # fmt: skip


def unreadable(lab: Lab) -> set[str]:
    return {each["key"] for each in lab.api.get("/api/v1/ha/status")["unreadable"]}


def crashes(controller: Controller) -> list[str]:
    return re.findall(r"greenlet\.crashed|periodic\.failed|request\.failed", controller.log())


def damage_records(client: Redis, a: str, b: str) -> None:
    client.xadd(keys.EVENTS, {"bytes": b"\xff\x00"}, id=EVENT)
    client.hset(keys.instance("ctrl-x"), "pid", "many")
    client.zadd(keys.INSTANCES, {"ctrl-x": float("inf"), b"\xfe": 5.0})
    client.hset(keys.instance(a), "started_at", "nan")
    client.sadd(keys.owned(a), "no id")
    plant(client, keys.owned(b), "string")


def test_damage_is_named_and_nothing_else_is_lost(postgres: Postgres, sshd: Sshd) -> None:
    with Cluster(postgres, 2) as cluster, Redis(port=cluster.valkey.port) as client:
        lab = cluster.lab(sshd)
        first, second = cluster.controllers
        a, b = (each.health()["instance_id"] for each in cluster.controllers)
        terminal = lab.open()
        damage_records(client, a, b)

        until(lambda: f"{keys.EVENTS} {EVENT}" in unreadable(lab), "the name of the event")
        until(lambda: set(shown(lab.api)) == {a, b}, "both instances, of which one has repaired its record")
        # A record without an instance is removed as that of a dead instance is.
        until(lambda: ("reaped", "ctrl-x") in events(lab.api), "a new event beside the damaged one")
        status = json.loads(command(first, "ha", "status", "--json").stdout)
        assert {each["instance"]["id"] for each in status["instances"]} == {a, b}
        assert "in Valkey cannot be read" in lab.api.get("/api/v1/ha/status")["cluster"]["reason"]
        fault(doctor(first), "Cluster", f"{keys.EVENTS} {EVENT} in Valkey cannot be read", "find what else writes")
        told = command(first, "ha", "events")
        assert (told.returncode, f"{keys.EVENTS} {EVENT} cannot be read" in told.stderr) == (0, True)
        [session] = json.loads(command(first, "ha", "sessions", "--json").stdout)
        assert session["id"] == terminal.info["session_id"]
        terminal.type("echo $((40+2))\r")
        terminal.expect("42")

        second.kill()
        with psycopg.connect(cluster.database_url, autocommit=True) as connection:
            for row in ROWS_THAT_EVERYBODY_READS:
                connection.execute((ROWS | SETTINGS)[row].encode())
        second.start()
        again = Lab(second.login(), lab.device, lab.credential).open()
        assert {each["id"] for each in lab.api.get("/api/sessions")["items"]} > {again.info["session_id"]}
        again.leave()
        terminal.leave()
        assert [crashes(each) for each in cluster.controllers] == [[], []]
