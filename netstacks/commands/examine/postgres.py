"""PostgreSQL, the vault in it, and the licence."""

import psycopg

from netstacks.commands.examine.findings import Finding, Findings
from netstacks.settings import Settings
from netstacks.store import schema
from netstacks.store.license import TIER_NAMES
from netstacks.store.pool import Database
from netstacks.store.vault import Vault
from netstacks.web.licensing import Licensing

_DIAL_SECS = 2


def examine_database(loaded: Settings, database: Database) -> Findings:
    try:
        with psycopg.connect(loaded.database_url, connect_timeout=_DIAL_SECS) as connection:
            version = connection.info.server_version // 10_000
    except psycopg.OperationalError as error:
        why = "terminals that are open go on; nobody can log in or open one"
        yield Finding(
            "PostgreSQL", "error", str(error).strip().splitlines()[0], why, "see that it runs; check DATABASE_URL"
        )
        return
    yield Finding("PostgreSQL", "ok", f"version {version} answers")
    schema.require(database)
    yield Finding("PostgreSQL", "ok", "its schema is that of this program")
    Vault(database, loaded.vault_master_key, loaded.vault_master_key_previous).unlock()
    yield Finding("PostgreSQL", "ok", "VAULT_MASTER_KEY opens its vault")


def examine_license(loaded: Settings, database: Database) -> Findings:
    grant = Licensing(database, loaded.license_key).current()
    name = f"{TIER_NAMES[grant.tier]}, {grant.status}"
    if grant.tier == "enterprise":
        yield Finding("Licence", "ok", name)
    else:
        why = "Valkey is not used, and every instance is a single one"
        yield Finding("Licence", "error", name, why, "activate an Enterprise licence and restart the instances")
