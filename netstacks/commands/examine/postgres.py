"""Checks of PostgreSQL, the vault and the licence."""

import psycopg
from psycopg.rows import dict_row

from netstacks.commands.examine.findings import Finding, Findings
from netstacks.commands.printing import clock
from netstacks.crypto.license import TIER_NAMES
from netstacks.settings import Settings
from netstacks.store import checkup, faults, rehearsals, schema
from netstacks.store.faults import Fault
from netstacks.store.pool import Database
from netstacks.store.vault import Vault
from netstacks.web.auth.licensing import Licensing

_DIAL_SECS = 2
_WHY = "open terminals go on; users cannot log in or open new ones"


def examine_database(loaded: Settings, database: Database) -> Findings:
    try:
        with psycopg.connect(database.url, connect_timeout=_DIAL_SECS, row_factory=dict_row) as connection:
            version = connection.info.server_version // 10_000
            fault = checkup.find(connection, try_space=True)
    except psycopg.OperationalError as error:
        fault = faults.of_statement(error) or faults.of_connecting(error)
        what, do = str(error).strip().splitlines()[0], "start PostgreSQL; check DATABASE_URL"
        yield _finding(fault) if fault else Finding("PostgreSQL", "error", what, _WHY, do)
        return
    yield Finding("PostgreSQL", "ok", f"version {version} answers")
    if fault:
        yield _finding(fault)
    else:
        yield Finding("PostgreSQL", "ok", "it accepts writes")
    schema.require(database)
    yield Finding("PostgreSQL", "ok", "its schema matches this version")
    Vault(database, loaded.vault_master_key, loaded.vault_master_key_previous).unlock()
    yield Finding("PostgreSQL", "ok", "VAULT_MASTER_KEY opens the vault")
    yield Finding("PostgreSQL", "ok", _backup(database))


def _backup(database: Database) -> str:
    """When a backup was last proven. Never a problem: only its operator knows how old the proof may be."""
    with database.transaction() as tx:
        proof = rehearsals.last(tx)
    if proof is None:
        return "no backup has been proven yet, which `netstacks rehearse-restore` does"
    made_at, proven_at = (clock(each.timestamp()) for each in (proof.backup_created_at, proof.proven_at))
    return f"the backup of {made_at} was proven at {proven_at}"


def _finding(fault: Fault) -> Finding:
    return Finding("PostgreSQL", "error", fault.problem, _WHY, fault.advice)


def examine_license(loaded: Settings, database: Database) -> Findings:
    grant = Licensing(database, loaded.license_key).current()
    name = f"{TIER_NAMES[grant.tier]}, {grant.status}"
    if grant.problem:
        why, do = "the limits of an evaluation licence apply", "activate a valid licence on the page Licence"
        yield Finding("Licence", "warning", grant.problem, why, do)
    if grant.tier == "enterprise":
        yield Finding("Licence", "ok", name)
    else:
        why = "Valkey is not used, and every instance runs without a cluster"
        yield Finding("Licence", "error", name, why, "activate an Enterprise licence and restart the instances")
