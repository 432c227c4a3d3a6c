"""No page of the device list reads more than it shows, of 100,000 devices, as a real server explains it."""

from collections.abc import Iterator

import psycopg
import pytest

from netstacks.permissions import EVERYWHERE
from netstacks.store import device_lists, host_key_lists, shared_credentials
from netstacks.store.device_lists import Filter, Sort
from netstacks.store.pool import Database, Transaction
from netstacks.store.schema import migrate
from tests.plans import Call, readings
from tests.postgres import Postgres

DEVICES = 100_000
SHOWN = 100

_LOAD = f"""
INSERT INTO credentials (id, name, credential_type, username, vault_type)
SELECT ('00000000-0000-0000-0003-' || lpad(to_hex(i), 12, '0'))::uuid, 'shared-' || i, 'ssh_password', 'us', 'shared'
FROM generate_series(1, 50) i;
INSERT INTO devices (id, name, host, port, site, device_type, tags, contact, contact_at, session_at, created_at,
                     default_credential_id)
SELECT gen_random_uuid(), 'Core-' || md5(i::text), '10.' || i / 65536 || '.' || i / 256 % 256 || '.' || i % 256, 22,
       'site-' || i % 100, 'type-' || i % 20, ARRAY['tag-' || i % 50, 'all'] ||
       CASE WHEN i % 10000 = 0 THEN ARRAY['rare'] ELSE '{{}}' END,
       CASE i % 10 WHEN 0 THEN 'unreachable' WHEN 1 THEN NULL ELSE 'reached' END, now(),
       CASE WHEN i % 3 = 0 THEN now() - i * interval '1 minute' END, now() - i * interval '1 second',
       CASE WHEN i % 2 = 0 THEN ('00000000-0000-0000-0003-' || lpad(to_hex(1 + i % 50), 12, '0'))::uuid END
FROM generate_series(1, {DEVICES}) i;
INSERT INTO host_keys (host, port, key_type, public_key, approved_by)
SELECT host, port, 'ssh-ed25519', 'AAAA', 'ana' FROM devices;
"""


@pytest.fixture(scope="module")
def crowded() -> Iterator[str]:
    server = Postgres(("-c", "autovacuum=off", "-c", "synchronous_commit=off")).start()
    url = server.create_database()
    database = Database(url)
    database.open()
    migrate(database)
    database.close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_LOAD.encode())
        connection.execute("VACUUM ANALYZE")
    yield url
    server.destroy()


def reads_no_more_than(url: str, rows: int, call: Call) -> None:
    for reading in readings(url, call):
        told = f"{reading.mode}: {reading.rows} rows, {reading.pages} pages\n{reading.statement}\n{reading.plan}"
        assert reading.rows <= rows, told


def second_page(tx: Transaction, wanted: Filter, sort: Sort, *, descending: bool) -> None:
    first = device_lists.page(tx, wanted, within=EVERYWHERE, sort=sort, descending=descending, limit=SHOWN)
    device_lists.page(tx, wanted, within=EVERYWHERE, sort=sort, descending=descending, after=first.next, limit=SHOWN)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", ["name", "host", "site", "type", "session", "added"])
def test_a_page_in_every_order(crowded: str, sort: Sort, descending: bool) -> None:
    reads_no_more_than(crowded, 2 * SHOWN, lambda tx: second_page(tx, Filter(), sort, descending=descending))


@pytest.mark.parametrize(
    "wanted", [Filter(site="site-7"), Filter(device_type="type-7"), Filter(reachability="unreachable")], ids=str
)
def test_a_page_of_one_site_type_or_state(crowded: str, wanted: Filter) -> None:
    reads_no_more_than(crowded, 2 * SHOWN, lambda tx: second_page(tx, wanted, "name", descending=False))


def test_a_rare_tag_is_found_by_its_index(crowded: str) -> None:
    """With the value in sight: the ten devices. A plan without it must expect a frequent tag."""
    found = readings(crowded, lambda tx: device_lists.page(tx, Filter(tag="rare"), within=EVERYWHERE, limit=SHOWN))
    assert next(reading.rows for reading in found if reading.mode == "force_custom_plan") <= 40, found[0].plan


def test_a_search_stops_when_its_page_is_full(crowded: str) -> None:
    reads_no_more_than(
        crowded, 2 * SHOWN, lambda tx: device_lists.page(tx, Filter(search="core"), within=EVERYWHERE, limit=SHOWN)
    )


def test_counts_and_facets_read_each_device_once(crowded: str) -> None:
    # The numbers of the four facets are taken from the one reading.
    reads_no_more_than(crowded, DEVICES, lambda tx: device_lists.facets(tx, within=EVERYWHERE))
    reads_no_more_than(crowded, DEVICES, lambda tx: device_lists.count(tx, Filter(), within=EVERYWHERE))
    for wanted in (Filter(site="site-7"), Filter(device_type="type-7")):
        reads_no_more_than(
            crowded,
            2 * DEVICES // 20 + SHOWN,
            lambda tx, wanted=wanted: device_lists.count(tx, wanted, within=EVERYWHERE),
        )


def test_the_credentials_count_their_devices_by_an_index(crowded: str) -> None:
    reads_no_more_than(crowded, DEVICES + 500, lambda tx: shared_credentials.list_all(tx, within=EVERYWHERE))


def test_a_page_of_host_keys(crowded: str) -> None:
    reads_no_more_than(
        crowded,
        5 * SHOWN,
        lambda tx: host_key_lists.page(tx, within=EVERYWHERE, after=("10.0.9.9", 22), limit=SHOWN),
    )
