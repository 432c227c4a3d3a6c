"""`netstacks migrate`: it creates the schema that commands and instances need."""

import pytest
from click.testing import CliRunner

from netstacks.commands.database import unchecked
from netstacks.commands.migrate import migrate_command
from netstacks.errors import SchemaMismatch
from netstacks.store import schema
from tests.controller import JWT_SECRET, MASTER_KEY
from tests.postgres import Postgres


def test_an_empty_database_gets_the_schema_and_a_second_run_changes_nothing(postgres: Postgres) -> None:
    url = postgres.create_database()
    environ = {"DATABASE_URL": url, "VAULT_MASTER_KEY": MASTER_KEY, "JWT_SECRET": JWT_SECRET}
    with unchecked(url) as database:
        with pytest.raises(SchemaMismatch):
            schema.require(database)
        for _ in range(2):
            done = CliRunner().invoke(migrate_command, env=environ, catch_exceptions=False)
            assert f"schema version {schema.newest()}\n" in done.output
            schema.require(database)
