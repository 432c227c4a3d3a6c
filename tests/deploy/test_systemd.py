"""The systemd unit: accepted and rated by systemd, in step with the settings, and run below its own restrictions."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from netstacks.settings import SECRETS, Settings
from tests.acceptance.lab import make_lab
from tests.controller import ADMIN, JWT_SECRET, MASTER_KEY, ROOT, until
from tests.deploy import units
from tests.deploy.units import FOLDER, Service, on_this_host
from tests.ports import free_port
from tests.postgres import Postgres
from tests.sshd import Sshd
from tests.valkey import Valkey

NAME = "netstacks-controller.service"
# What `systemd-analyze security` calls OK ends at 4.9; hardened services are below this.
EXPOSURE_MAX = 2.5

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs Debian's systemd")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit with its drop-in, as an administrator lays them out; its paths are those of this project."""
    unit = tmp_path / NAME
    unit.write_text(on_this_host((FOLDER / NAME).read_text()))
    (tmp_path / f"{NAME}.d").mkdir()
    shutil.copy(FOLDER / "cluster.conf", tmp_path / f"{NAME}.d")
    return unit


@needs_systemd
def test_systemd_has_nothing_against_the_unit(installed: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", installed], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd
def test_systemd_rates_the_unit_as_hardened(installed: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(installed)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (exposure,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert float(exposure) < EXPOSURE_MAX, done.stdout


@needs_systemd
def test_systemd_understands_the_account(tmp_path: Path) -> None:
    command = ["systemd-sysusers", "--dry-run", "--root", str(tmp_path), str(FOLDER / "netstacks.sysusers")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (user,) = units.read(NAME)["User"]
    assert f"Creating user '{user}' (NetStacks Controller)" in done.stderr


def test_the_controller_knows_every_variable() -> None:
    known = {name.upper() for name in Settings.model_fields} | {f"{name.upper()}_FILE" for name in SECRETS}
    lines = re.findall(r"^#?([A-Z]\w+)=", (FOLDER / "controller.env").read_text(), re.MULTILINE)
    given = units.environ(units.read(NAME, "cluster.conf"), Path("/c"), Path("/s"))
    assert {*lines, *given} - {"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"} <= known
    assert not set(lines) & set(given), "set in the unit already"


def test_every_credential_has_its_variable() -> None:
    unit = units.read(NAME, "cluster.conf")
    loaded = dict(value.split(":") for value in unit["LoadCredential"])
    files = {name: value for name, value in units.environ(unit, Path("/c"), Path("/s")).items() if value[:3] == "/c/"}
    assert files == {f"{name}_FILE": f"/c/{name}" for name in loaded}
    assert loaded == {name: f"/etc/netstacks/credentials/{name}" for name in loaded}


def test_the_unit_waits_for_the_drain() -> None:
    unit = units.read(NAME)
    drain_secs = int(units.environ(unit, Path("/c"), Path("/s"))["DRAIN_TIMEOUT_SECS"])
    assert drain_secs == Settings.model_fields["drain_timeout_secs"].default
    assert unit["TimeoutStopSec"] == [str(drain_secs + 10)]
    # SIGTERM to gunicorn alone: its workers would end without a drain of their own accord.
    assert unit["KillMode"] == ["mixed"]


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    server = Valkey().start()
    yield server
    server.destroy()


@pytest.fixture
def service(postgres: Postgres, valkey: Valkey) -> Iterator[Service]:
    secrets = {
        "DATABASE_URL": postgres.create_database(),
        "VAULT_MASTER_KEY": MASTER_KEY,
        "JWT_SECRET": JWT_SECRET,
        "VALKEY_URL": valkey.url,
    }
    lines = {"BOOTSTRAP_ADMIN_PASSWORD": ADMIN[1], "HA_ADVERTISE_HOST": "127.0.0.1", "HA_PEER_PORT": str(free_port())}
    service = Service(units.read(NAME, "cluster.conf"), secrets, lines)
    yield service
    service.stop()


@needs_systemd
def test_the_unit_runs_within_its_restrictions_and_sigterm_drains_it(service: Service, sshd: Sshd) -> None:
    service.launch()
    assert service.notified().startswith("READY=1\n")
    service.started()
    (worker,) = service.worker_pids()
    assert "\nSeccomp_filters:\t2\n" in Path(f"/proc/{worker}/status").read_text()
    until(lambda: service.health().get("valkey") == "connected", "the contact with Valkey")
    assert Path(service.environ["SPOOL_DIR"]).stat().st_mode & 0o777 == 0o700
    terminal = make_lab(service.login(), sshd).open()
    terminal.type("echo within-$((6*7))-limits\n")
    terminal.expect("within-42-limits")
    assert service.process is not None
    service.terminate()
    assert terminal.closed()[0] == 1012
    assert service.process.wait(60) == 0
    assert "instance.drained" in service.log()
    assert "Operation not permitted" not in service.log()


@needs_systemd
def test_wrong_settings_end_the_unit_for_good(postgres: Postgres) -> None:
    secrets = {"DATABASE_URL": postgres.url("postgres"), "VAULT_MASTER_KEY": MASTER_KEY, "JWT_SECRET": "too short"}
    unit = units.read(NAME)
    service = Service(unit, secrets, {})
    try:
        service.launch()
        assert service.process is not None
        status = service.process.wait(60)
        assert str(status) in unit["RestartPreventExitStatus"][0].split(), service.log()
        assert "JWT_SECRET='***': must have at least 32 characters" in service.log()
    finally:
        service.stop()


def test_the_documented_installation_ends_with_valid_settings(tmp_path: Path) -> None:
    """In a folder instead of `/`, without the commands for Python and for systemd itself."""
    section = (ROOT / "docs/deploy.md").read_text().split("\n## systemd\n")[1].split("\n## ")[0]
    others = (".venv/", "python3 -m venv", "systemctl", "systemd-sysusers")
    lines = [line[4:] for line in section.splitlines() if line.startswith("    ") and not line[4:].startswith(others)]
    commands = "\n".join(lines).replace("/opt/netstacks", str(ROOT))
    assert commands.count("\nnetstacks check-config\n") == 1
    commands = re.sub(r"(?<=[\s])(/etc|/usr/local)/", rf"{tmp_path}\1/", commands)
    # The script is installed with the paths of a real host.
    script = on_this_host((FOLDER / "netstacks").read_text()).replace("/etc/netstacks", f"{tmp_path}/etc/netstacks")
    (tmp_path / "script").write_text(script)
    commands = commands.replace("\nnetstacks check-config\n", f"\nsh {tmp_path}/script check-config\n")
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    done = subprocess.run(["bash", "-euc", commands], cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "DATABASE_URL=postgresql://netstacks:***@HOST:5432/netstacks" in done.stdout
    assert "LOG_FORMAT=text" in done.stdout
    credentials = tmp_path / "etc/netstacks/credentials"
    assert {each.name for each in credentials.iterdir()} == {"DATABASE_URL", "VAULT_MASTER_KEY", "JWT_SECRET"}
    assert {each.stat().st_mode & 0o777 for each in credentials.iterdir()} == {0o600}
    assert (credentials / "JWT_SECRET").read_text().strip() not in done.stdout
    for file in ("sysusers.d/netstacks.conf", f"systemd/system/{NAME}", f"systemd/system/{NAME}.d/cluster.conf"):
        assert (tmp_path / "etc" / file).is_file()
    assert (tmp_path / "usr/local/sbin/netstacks").stat().st_mode & 0o111
