"""Devices: found again by the address that a client names, and browsed by what describes them."""

from netstacks.store import devices
from netstacks.store.pool import Database


def test_a_device_is_found_by_any_spelling_of_its_address(database: Database) -> None:
    with database.transaction() as tx:
        name = devices.create(tx, name="r1", host="R1.Example.net", port=2222)
        address = devices.create(tx, name="r2", host="2001:db8:0::1")
        assert devices.find_by_address(tx, "r1.EXAMPLE.net.", 2222) == name
        assert devices.find_by_address(tx, "[2001:DB8::1]", 22) == address
        assert devices.find_by_address(tx, "r1.example.net", 22) is None
        assert devices.find(tx, name.id) == name


def test_of_two_devices_at_one_address_the_older_is_found(database: Database) -> None:
    with database.transaction() as tx:
        older = devices.create(tx, name="z", host="r1")
    with database.transaction() as tx:
        devices.create(tx, name="a", host="r1")
        assert devices.find_by_address(tx, "r1", 22) == older


def test_browsing_filters_and_counts_all_that_match(database: Database) -> None:
    with database.transaction() as tx:
        for number in range(5):
            devices.create(tx, name=f"Core-{number}", host=f"10.0.0.{number}", site="berlin", device_type="cisco_ios")
        devices.create(tx, name="edge_1", host="10.1.0.1", site="paris", source="netbox")

        def names(**filters: object) -> tuple[list[str], int]:
            page, total = devices.browse(tx, **filters)  # type: ignore[arg-type]
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
        device = devices.create(tx, name="r1", host="r1", description="in the cellar", legacy_algorithms=True)
        changed = devices.update(tx, devices.hold(tx, device.id), {"host": "R2", "port": 23})
    assert (changed.host, changed.port) == ("r2", 23)
    assert (changed.name, changed.description, changed.legacy_algorithms) == ("r1", "in the cellar", True)
