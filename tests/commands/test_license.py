"""`netstacks license`: what it prints can be used; and what the doctor says of a licence that cannot."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from netstacks.commands.examine.postgres import examine_license
from netstacks.commands.license import license_group
from netstacks.crypto import license
from netstacks.errors import InvalidInput
from netstacks.settings import Settings
from netstacks.store import settings
from netstacks.store.pool import Database
from tests.controller import ROOT
from tests.crypto.test_license import PRIVATE, PUBLIC


def run(*arguments: str, **kwargs: str) -> Result:
    return CliRunner().invoke(license_group, arguments, **kwargs)


def issue(tmp_path: Path, tier: str = "Teams") -> str:
    (tmp_path / "private.pem").write_text(PRIVATE)
    options = ["--customer", "ACME", "--tier", tier, "--seats", "25", "--expires", "2999-01-31"]
    return run("issue", "--private-key", str(tmp_path / "private.pem"), *options).output.strip()


@pytest.mark.parametrize(("name", "tier"), [("Starter", "standalone"), ("teams", "team"), ("ENTERPRISE", "enterprise")])
def test_the_specifications_names_of_tiers_are_issued_as_the_clients(tmp_path: Path, name: str, tier: str) -> None:
    found = license.read(issue(tmp_path, name), PUBLIC)
    assert (found.customer, found.tier, found.seats) == ("ACME", tier, 25)


def test_an_issued_licence_can_be_inspected(tmp_path: Path) -> None:
    (tmp_path / "public.pem").write_text(PUBLIC)
    shown = run("inspect", issue(tmp_path), "--public-key", str(tmp_path / "public.pem")).output
    for line in ("customer: ACME", "tier:     Teams", "seats:    25", "expires:  2999-01-31", "status:   active"):
        assert line in shown.splitlines()


def test_a_key_with_an_unknown_signature_is_refused(tmp_path: Path) -> None:
    assert isinstance(run("inspect", issue(tmp_path)).exception, InvalidInput)


def test_the_key_of_the_environment_is_inspected_unless_one_is_given() -> None:
    result = CliRunner().invoke(license_group, ["inspect"], env={"LICENSE_KEY": "nonsense"})
    assert "not a licence key" in str(result.exception)


def test_the_doctor_names_the_page_where_an_unreadable_licence_is_replaced(database: Database) -> None:
    loaded = Settings(database_url=database.url, vault_master_key="5e" * 32, jwt_secret="long enough " * 4)
    with database.transaction() as tx:
        settings.put(tx, "license_key", "nonsense")
    unreadable, _ = examine_license(loaded, database)
    heading = f"<h1>{unreadable.do.removeprefix('activate a valid licence on the page ')}</h1>"
    pages = [each.read_text() for each in (ROOT / "templates/admin").glob("*.html")]
    [named] = [each for each in pages if heading in each]
    assert "/api/admin/license/activate" in named
