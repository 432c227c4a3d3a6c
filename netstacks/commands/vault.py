"""`netstacks vault`: which keys the stored secrets are sealed with, and changing to a new one (docs/vault.md)."""

import os

import click

from netstacks import settings
from netstacks.commands import database
from netstacks.store import audit
from netstacks.store.pool import Database
from netstacks.store.vault import Vault


@click.group("vault")
def vault_group() -> None:
    """The encrypted secrets of credentials, and the keys of providers."""


@vault_group.command("status")
def status_command() -> None:
    """Prints each key that secrets are sealed with, and whether this environment holds it."""
    with database.opened() as opened:
        keys = _vault(opened).status()
    for key in keys:
        role = "current" if key.is_current else "retired"
        held = "held" if key.held else "not held"
        click.echo(f"{key.key_id}  {role}  {held}  {key.secrets} secrets")
    if not keys:
        click.echo("no key yet: the first instance that starts makes VAULT_MASTER_KEY the current one")


@vault_group.command("rotate")
def rotate_command() -> None:
    """Seals all secrets with VAULT_MASTER_KEY that are sealed with VAULT_MASTER_KEY_PREVIOUS.

    Every instance must have been restarted with both before. May be interrupted and run again.
    """
    with database.opened() as opened:
        vault = _vault(opened)
        unreadable: list[str] = []
        resealed = vault.rotate(
            audit.SYSTEM,
            progress=lambda done: click.echo(f"{done} secrets are sealed anew ..."),
            unreadable=unreadable.append,
        )
    if unreadable:
        for problem in unreadable:
            click.echo(problem, err=True)
        click.echo(f"sealed {resealed} secrets anew; {len(unreadable)} could not be read and stay as they were")
        raise SystemExit(1)
    click.echo(f"sealed {resealed} secrets anew; all are sealed with the key {vault.key_ids[0]} now")


def _vault(opened: Database) -> Vault:
    values = settings.load(os.environ)
    return Vault(opened, values.vault_master_key, values.vault_master_key_previous)
