"""`netstacks license`: prints the grant of a licence, and issues licences with the private key."""

from datetime import UTC, datetime
from typing import TextIO

import click

from netstacks.commands.printing import print_line
from netstacks.crypto import license
from netstacks.crypto.license import TIER_NAMES

_TIERS = {name: tier for tier, name in TIER_NAMES.items()}


@click.group("license")
def license_group() -> None:
    """Licences: signed tokens with tier, seats and expiry date."""


@license_group.command("inspect")
@click.argument("key", envvar="LICENSE_KEY")
@click.option("--public-key", type=click.File(), help="Verifies the signature with the public key in this PEM file.")
def inspect_command(key: str, public_key: TextIO | None) -> None:
    """Prints the grant of the licence KEY, by default that of LICENSE_KEY."""
    found = license.read(key, public_key.read() if public_key else license.PUBLIC_KEY)
    grant = license.judge(found, datetime.now(UTC))
    print_line(f"customer: {found.customer}")
    print_line(f"tier:     {TIER_NAMES[found.tier]}")
    print_line(f"seats:    {found.seats}")
    print_line(f"issued:   {found.issued_at:%Y-%m-%d}")
    print_line(f"expires:  {found.expires_at:%Y-%m-%d}")
    print_line(f"status:   {grant.status}")


@license_group.command("issue")
@click.option("--private-key", type=click.File(), required=True, help="PEM file of an Ed25519 key; - for stdin.")
@click.option("--customer", required=True)
@click.option("--tier", type=click.Choice(list(_TIERS), case_sensitive=False), required=True)
@click.option("--seats", type=click.IntRange(min=1), required=True)
@click.option(
    "--expires", type=click.DateTime(["%Y-%m-%d"]), required=True, help="The first day without a valid licence."
)
def issue_command(private_key: TextIO, customer: str, tier: str, seats: int, expires: datetime) -> None:
    """Prints a new licence key. `openssl genpkey -algorithm ed25519` makes a private key."""
    expires_at = expires.replace(tzinfo=UTC)
    print_line(
        license.issue(private_key.read(), customer=customer, tier=_TIERS[tier], seats=seats, expires_at=expires_at)
    )
