"""`netstacks vault`: the keys that encrypt the stored secrets, and their rotation (docs/vault.md)."""

import os

import click

from netstacks import settings
from netstacks.commands import database
from netstacks.store import audit
from netstacks.store.pool import Database
from netstacks.store.vault import Vault


@click.group("vault")
def vault_group() -> None:
    """The encrypted secrets of credentials and of providers."""


@vault_group.command("status")
def status_command() -> None:
    """Prints each key that encrypts secrets, and whether this environment has it."""
    with database.opened() as opened:
        keys = _vault(opened).status()
    for key in keys:
        role = "current" if key.is_current else "retired"
        held = "held" if key.held else "not held"
        click.echo(f"{key.key_id}  {role}  {held}  {key.secrets} secrets")
    if not keys:
        click.echo("no key yet: the first instance that starts makes its VAULT_MASTER_KEY the current key")


@vault_group.command("rotate")
def rotate_command() -> None:
    """Encrypts all secrets of VAULT_MASTER_KEY_PREVIOUS with VAULT_MASTER_KEY.

    Restart every instance with both keys first. The rotation may be interrupted and run again.
    """
    with database.opened() as opened:
        vault = _vault(opened)
        unreadable: list[str] = []
        resealed = vault.rotate(
            audit.SYSTEM,
            progress=lambda done: click.echo(f"resealed {done} secrets ..."),
            unreadable=unreadable.append,
        )
    if unreadable:
        for problem in unreadable:
            click.echo(problem, err=True)
        click.echo(f"resealed {resealed} secrets; {len(unreadable)} could not be read and are unchanged")
        raise SystemExit(1)
    click.echo(f"resealed {resealed} secrets; all are now sealed with the key {vault.key_ids[0]}")


def _vault(opened: Database) -> Vault:
    values = settings.load(os.environ)
    return Vault(opened, values.vault_master_key, values.vault_master_key_previous)
