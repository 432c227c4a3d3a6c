"""`netstacks migrate`: the schema of a new version, before the first instance of it starts."""

import os

import click

from netstacks import settings
from netstacks.commands import database
from netstacks.store import schema


@click.command("migrate")
def migrate_command() -> None:
    """Creates or upgrades the database schema, as the first instance of a version does. Instances may run meanwhile."""
    with database.unchecked(settings.load(os.environ).database_url) as opened:
        click.echo(f"schema version {schema.migrate(opened)}")
