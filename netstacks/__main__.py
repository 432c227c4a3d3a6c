"""The `netstacks` command: administration from the command line."""

import os
import sys

import click

from netstacks import __version__, bundled, logs, settings
from netstacks.commands.audit import audit_group
from netstacks.commands.backup import backup_command, rehearse_command, restore_command
from netstacks.commands.doctor import doctor_command
from netstacks.commands.ha import ha_group
from netstacks.commands.license import license_group
from netstacks.commands.migrate import migrate_command
from netstacks.commands.recordings import recordings_group
from netstacks.commands.second_factors import reset_command
from netstacks.commands.users import users_group
from netstacks.commands.vault import vault_group
from netstacks.errors import NetstacksError


def _print_versions(context: click.Context, _: click.Parameter, is_set: bool) -> None:
    if not is_set or context.resilient_parsing:
        return
    click.echo(f"netstacks, version {__version__}")
    for each in bundled.components():
        click.echo(f"  {each.package}: {', '.join(each.libraries)}  ({each.purpose})")
    context.exit()


@click.group()
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_versions,
    help="Prints the version, and the versions of the bundled C libraries.",
)
def main() -> None:
    """NetStacks Controller: terminals to network devices. `gunicorn -c gunicorn.conf.py` runs the server."""


@main.command("check-config")
def check_config() -> None:
    """Prints the effective settings with secrets masked; exit code 2 when a setting is wrong."""
    for name, value in settings.effective(settings.load(os.environ)).items():
        click.echo(f"{name}={value}")


for command in (
    audit_group,
    backup_command,
    doctor_command,
    ha_group,
    license_group,
    migrate_command,
    recordings_group,
    rehearse_command,
    restore_command,
    users_group,
    vault_group,
):
    main.add_command(command)


users_group.add_command(reset_command)


def run() -> None:
    """Runs the command; prints a failure as one line without a traceback."""
    logs.quieten()
    try:
        main()
    except settings.SettingsError as error:
        sys.exit(_fail(f"wrong settings\n{error}", 2))
    except NetstacksError as error:
        sys.exit(_fail(str(error), 1))


def _fail(text: str, code: int) -> int:
    click.echo(f"netstacks: {text}", err=True)
    return code


if __name__ == "__main__":
    run()
