"""Registered instances without a row in this database: which of them are suspects, and what is said about them."""

from dataclasses import replace
from typing import Any

import pytest

from netstacks.cluster.databases import different_databases, without_row
from netstacks.cluster.instance_rows import MAX_AGE_SECS
from netstacks.cluster.model import Instance, Snapshot
from tests.cluster.facts import instance
from tests.cluster.test_consistency import row

NOW = 1000.0


def registered(name: str, **changed: Any) -> Instance:
    return replace(instance(f"ctrl-{name}"), started_at=0.0, last_heartbeat_at=NOW, **changed)


def suspects(*instances: Instance) -> list[str]:
    snapshot = Snapshot(NOW, {each.id: each for each in instances})
    return [each.id for each in without_row(snapshot, {"ctrl-a"}, 5.0)]


def test_a_registered_instance_without_a_row_is_a_suspect() -> None:
    assert suspects(registered("c"), registered("a"), registered("b", health="degraded")) == ["ctrl-b", "ctrl-c"]


@pytest.mark.parametrize(
    "changed",
    [
        {"started_at": NOW - MAX_AGE_SECS},
        {"last_heartbeat_at": NOW - 12.6},
        {"state": "draining"},
        {"state": "refused"},
        {"health": "unhealthy"},
    ],
    ids=["has just started", "is late", "drains", "has other secrets", "does not serve"],
)
def test_one_that_may_have_no_row_yet_or_no_more_is_none(changed: dict[str, Any]) -> None:
    assert suspects(replace(registered("b"), **changed)) == []


def test_both_sides_and_the_remedy_are_named() -> None:
    found = different_databases([row("a"), row("b")], [registered("c")])
    assert found.problem.startswith("ctrl-a on host-a and ctrl-b on host-b and ctrl-c on ")
    assert "use different databases" in found.problem
    assert "set the same DATABASE_URL" in found.remedy
    assert (found.key, found.instances) == ("database", ("ctrl-a", "ctrl-b", "ctrl-c"))
