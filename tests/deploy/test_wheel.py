"""The wheel: it has all that the program needs, and a controller runs from an installation that it cannot write to."""

import json
import os
import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import requests
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from netstacks import __version__
from tests.acceptance.controller_admin import ControllerAdmin, Visitor
from tests.controller import ADMIN, ROOT, Controller
from tests.postgres import Postgres

CONSTRAINTS = str(ROOT / "constraints.txt")
# The installation of some fifty packages, on a busy machine.
pytestmark = pytest.mark.timeout(400)

COPIED = [
    word
    for line in (ROOT / "deploy/api.Dockerfile").read_text().splitlines()
    if line.startswith("COPY ") and "--from" not in line
    for word in line.split()[1:-1]
]
# Without capabilities root is bound by the permissions of files, too.
AS_OTHERS = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from what the images copy: setuptools writes beside its sources."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in sources():
        if {name, name.split("/")[0]} & set(COPIED):
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(folder / "source"))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Iterator[Path]:
    """An environment with the wheel and what it requires, and nothing else."""
    with tempfile.TemporaryDirectory(prefix="netstacks-installed-") as name:
        folder = Path(name)
        venv.create(folder, with_pip=False)
        pip("install", str(wheel), python=str(folder / "bin/python"))
        yield folder
        for each in (folder, *folder.rglob("*")):
            if each.is_dir():
                each.chmod(0o700)


def sources(*folders: str) -> list[str]:
    """The project's files, without what git ignores."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders]
    names = subprocess.check_output(command, cwd=ROOT, text=True).splitlines()
    return [name for name in names if (ROOT / name).is_file()]


def pip(*arguments: str, python: str = sys.executable) -> None:
    command = [sys.executable, "-m", "pip", "--python", python, "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PIP_CONSTRAINT": CONSTRAINTS})
    assert done.returncode == 0, done.stderr


def test_every_file_is_in_the_wheel(wheel: Path) -> None:
    packed = zipfile.ZipFile(wheel).namelist()
    (data,) = {name.split("/share/")[0] for name in packed if "/share/" in name}
    missing = [
        name
        for name in sources("netstacks", "templates", "static")
        if not {name, f"{data}/share/netstacks/{name}"} & set(packed)
    ]
    assert missing == []
    assert f"{data}/share/netstacks/gunicorn.conf.py" in packed


def test_the_version_is_the_same_wherever_it_is_named(wheel: Path, installed: Path) -> None:
    printed = subprocess.check_output([installed / "bin/netstacks", "--version"], cwd="/", text=True).splitlines()[0]
    labels = {name: (ROOT / "deploy" / name).read_text() for name in ("api.Dockerfile", "admin.Dockerfile")}
    named = {
        "wheel": wheel.name.split("-")[1],
        "netstacks --version": printed.rpartition(" ")[2],
        "chart": yaml.safe_load((ROOT / "deploy/helm/netstacks/Chart.yaml").read_text())["appVersion"],
        **{name: re.findall(r"^ARG VERSION=(.*)$", text, re.MULTILINE)[0] for name, text in labels.items()},
    }
    assert set(named.values()) == {__version__}, named
    for name, text in labels.items():
        assert 'org.opencontainers.image.version="${VERSION}"' in text, name


def test_the_changelog_of_a_tagged_commit_begins_with_its_version() -> None:
    """Before the tag it begins with what is not released yet."""
    tags = subprocess.check_output(["git", "tag", "--points-at", "HEAD", "v*"], cwd=ROOT, text=True).split()
    newest = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    assert newest in (__version__, "Unreleased")
    if tags:
        assert tags == [f"v{__version__}"]
        assert newest == __version__


def test_the_bill_of_materials_names_every_package(installed: Path) -> None:
    """CycloneDX, written to artefacts/sbom.json: what to look up when a vulnerability becomes known."""
    target = ROOT / "artefacts/sbom.json"
    target.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--validate"]
    subprocess.run([*command, "-o", str(target), str(installed / "bin/python")], check=True)
    listed = {canonicalize_name(each["name"]) for each in json.loads(target.read_text())["components"]}
    required = [Requirement(line) for line in metadata.requires("netstacks-controller") or []]
    assert {canonicalize_name(each.name) for each in required if each.marker is None} - listed == set()


def of_image(name: str, installed: Path) -> list[str]:
    """The command of an image, with the installation in place of its /venv."""
    text = (ROOT / f"deploy/{name}.Dockerfile").read_text()
    words = [json.loads(each) for each in re.findall(r"^(?:ENTRYPOINT|CMD) (\[.*\])$", text, re.MULTILINE)]
    places = {"entrypoint": str(ROOT / "deploy/entrypoint"), "gunicorn": str(installed / "bin/gunicorn")}
    command = [places.get(word, word).replace("/venv", str(installed)) for part in words for word in part]
    return [*AS_OTHERS, *command] if os.getuid() == 0 else command


def test_both_images_commands_run_from_an_installation_that_they_cannot_change(
    installed: Path, postgres: Postgres
) -> None:
    compiled = subprocess.run([installed / "bin/python", "-m", "compileall", "-q", installed / "lib"], check=False)
    assert compiled.returncode == 0
    printed = subprocess.check_output([installed / "bin/netstacks", "--version"], cwd="/", text=True)
    assert __version__ in printed

    for each in (installed, *installed.rglob("*")):
        if not each.is_symlink():
            each.chmod(each.stat().st_mode & ~0o222)
    path = f"{installed / 'bin'}:{os.environ['PATH']}"
    controller = Controller(postgres.create_database(), HOME="/nonexistent", PATH=path)
    admin = ControllerAdmin(controller)
    admin.environ |= {"HOME": "/nonexistent", "PATH": path}
    for each, name in ((controller, "api"), (admin, "admin")):
        each.command, each.folder = of_image(name, installed), Path("/")
    try:
        controller.start()
        assert controller.login(*ADMIN).get("/api/v1/about")["version"] == __version__
        with admin:
            for each in (controller, admin):
                assert "Log in" in requests.get(f"{each.url}/login", timeout=10).text
                for name in ("style.css", "terminal/page.js", "vendor/xterm/xterm.mjs"):
                    assert requests.get(f"{each.url}/static/{name}", timeout=10).ok, name
            assert __version__ in Visitor(admin).get("/admin/about").text
    finally:
        controller.stop()
