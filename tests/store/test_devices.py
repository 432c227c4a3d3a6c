"""Devices: found again by the address that a client names, and browsed by what describes them."""

from typing import Any

import pytest

from netstacks.errors import InvalidInput
from netstacks.permissions import EVERYWHERE
from netstacks.store import devices
from netstacks.store.pool import Database

AS_IT_IS: dict[str, Any] = {"algorithms": "antique", "encoding": "gbk", "lines": 5, "patience_secs": 90}


def test_a_device_is_found_by_any_spelling_of_its_address(database: Database) -> None:
    with database.transaction() as tx:
        name = devices.create(tx, name="r1", host="R1.Example.net", port=2222)
        address = devices.create(tx, name="r2", host="2001:db8:0::1")
        assert devices.find_by_address(tx, "r1.EXAMPLE.net.", 2222, within=EVERYWHERE) == name
        assert devices.find_by_address(tx, "[2001:DB8::1]", 22, within=EVERYWHERE) == address
        assert devices.find_by_address(tx, "r1.example.net", 22, within=EVERYWHERE) is None
        assert devices.find(tx, name.id, within=EVERYWHERE) == name


def test_the_older_of_two_devices_at_one_address_is_found(database: Database) -> None:
    with database.transaction() as tx:
        older = devices.create(tx, name="z", host="r1")
    with database.transaction() as tx:
        devices.create(tx, name="a", host="r1")
        assert devices.find_by_address(tx, "r1", 22, within=EVERYWHERE) == older


def test_browsing_filters_and_counts_all_that_match(database: Database) -> None:
    with database.transaction() as tx:
        for number in range(5):
            devices.create(tx, name=f"Core-{number}", host=f"10.0.0.{number}", site="berlin", device_type="cisco_ios")
        devices.create(tx, name="edge_1", host="10.1.0.1", site="paris", source="netbox")

        def names(**filters: object) -> tuple[list[str], int]:
            page, total = devices.list_page(tx, within=EVERYWHERE, **filters)  # type: ignore[arg-type]
            return [device.name for device in page], total

        assert names(limit=2, offset=1) == (["Core-1", "Core-2"], 6)
        assert names(site="paris") == names(source="netbox") == names(search="EDGE") == (["edge_1"], 1)
        assert names(device_type="cisco_ios", search="10.0.0.3") == (["Core-3"], 1)
        # Neither is a wildcard.
        assert names(search="%") == ([], 0)
        assert names(search="e_1") == (["edge_1"], 1)
        assert names(search="e_0") == ([], 0)


def test_a_change_leaves_the_rest(database: Database) -> None:
    with database.transaction() as tx:
        device = devices.create(tx, name="r1", host="r1", description="in the cellar", **AS_IT_IS)
        changed = devices.update(
            tx, devices.lock(tx, device.id, within=EVERYWHERE), {"host": "R2", "port": 23}, by="ann"
        )
    assert (changed.host, changed.port) == ("r2", 23)
    assert (changed.name, changed.description) == ("r1", "in the cellar")
    assert {name: getattr(changed, name) for name in AS_IT_IS} == AS_IT_IS


def test_a_device_is_spoken_to_as_today_unless_its_entry_says_otherwise(database: Database) -> None:
    with database.transaction() as tx:
        device = devices.create(tx, name="r1", host="r1")
        assert (device.algorithms, device.encoding, device.lines, device.patience_secs) == (
            "modern",
            "utf-8",
            None,
            None,
        )
        device = devices.update(tx, device, AS_IT_IS, by="ann")
        device = devices.update(tx, device, {"lines": None, "patience_secs": None}, by="ann")
        assert (device.algorithms, device.encoding, device.lines, device.patience_secs) == (
            "antique",
            "gbk",
            None,
            None,
        )


@pytest.mark.parametrize(("algorithms", "is_legacy"), [("modern", False), ("legacy", True), ("antique", True)])
def test_an_instance_of_the_former_version_reads_the_level(
    database: Database, algorithms: devices.Algorithms, is_legacy: bool
) -> None:
    with database.transaction() as tx:
        created = devices.create(tx, name="r1", host="r1", algorithms=algorithms)
        edited = devices.update(tx, devices.create(tx, name="r2", host="r2"), {"algorithms": algorithms}, by="ann")
        rows = tx.execute("SELECT legacy_algorithms FROM devices").fetchall()
    assert [row["legacy_algorithms"] for row in rows] == [is_legacy] * 2
    assert created.legacy_algorithms is edited.legacy_algorithms is is_legacy


@pytest.mark.parametrize(("before", "is_legacy", "after"), [
    ("modern", False, "modern"), ("modern", True, "antique"),
    ("legacy", True, "legacy"), ("legacy", False, "modern"),
    ("antique", True, "antique"), ("antique", False, "modern"),
])  # fmt: skip
def test_rows_of_an_instance_of_the_former_version_count(
    database: Database, before: devices.Algorithms, is_legacy: bool, after: str
) -> None:
    with database.transaction() as tx:
        device = devices.create(tx, name="r1", host="r1", algorithms=before)
        tx.execute("UPDATE devices SET legacy_algorithms = %s", [is_legacy])
        found = [
            devices.find(tx, device.id, within=EVERYWHERE),
            devices.find_by_address(tx, "r1", 22, within=EVERYWHERE),
            devices.lock(tx, device.id, within=EVERYWHERE),
        ]
        found += devices.list_page(tx, within=EVERYWHERE)[0] + devices.starting_with(
            tx, "r", within=EVERYWHERE, limit=9
        )
        assert [each and each.algorithms for each in found] == [after] * 5
        devices.update(tx, devices.lock(tx, device.id, within=EVERYWHERE), {"name": "r2"}, by="ann")
        row = tx.execute("SELECT algorithms, legacy_algorithms FROM devices").fetchone()
    assert row == {"algorithms": after, "legacy_algorithms": after != "modern"}


def test_an_encoding_is_stored_in_one_spelling_or_refused(database: Database) -> None:
    with database.transaction() as tx:
        device = devices.create(tx, name="r1", host="r1", encoding="Latin1")
        assert device.encoding == "iso8859-1"
        assert devices.update(tx, device, {"encoding": "ISO_8859-15"}, by="ann").encoding == "iso8859-15"
        with pytest.raises(InvalidInput, match="encoding: 'utf-16'"):
            devices.create(tx, name="r1", host="r1", encoding="utf-16")
        with pytest.raises(InvalidInput, match="encoding: 'utf-16'"):
            devices.update(tx, device, {"encoding": "utf-16"}, by="ann")
