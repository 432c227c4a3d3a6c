"""What the documentation tells its readers to type: each command, option, path, file and variable exists."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import requests

from netstacks.__main__ import main
from netstacks.settings import SECRETS, Settings
from tests.controller import ROOT, Controller
from tests.docs.markdown import Code, blocks, spans
from tests.postgres import Postgres

# Blocks without a language that are no commands, by their first line.
NO_COMMANDS = {
    "browser ── question ──> controller ── redacted ──> provider 1 ✗ (circuit open)": "a drawing",
    "browser ── WebSocket ──┐                                   ┌── SSH ── device": "a drawing",
    "  browser, Terminal client        anonymous client      guest with a share link": "a drawing",
    "set_real_ip_from 192.0.2.10;": "lines of nginx.conf",
}
# Commands whose options belong to other projects. Of their arguments the files of this project are checked.
OF_OTHERS = (
    *(
        "docker",
        "git",
        "gunicorn",
        "helm",
        "install",
        "jq",
        "kubectl",
        "openssl",
        "pip",
        "python3",
        "systemctl",
        "systemd-sysusers",
    ),
    *(".venv/bin/mutmut", ".venv/bin/pip", ".venv/bin/python"),
)
OWN = ("netstacks", "make", "curl", "deploy/make-secrets", ".ci/run")
# Variables of other programs, and of parts without Settings.
OTHER_VARIABLES = {
    "CONTROLLER_API_URL": "controller-admin",
    "REHEARSAL_SERVER": "deploy/systemd/netstacks-backup",
    "SSL_CERT_FILE": "OpenSSL",
    "SYSTEM_LIBSSH": "the build of ssh-python",
}
# Words in capitals with an underscore that are no variables.
CODES = {"BAD_REQUEST", "NOT_CONFIGURED", "PROVIDER_ERROR", "RATE_LIMITED", "SSH_MSG_USERAUTH_PASSWD_CHANGEREQ"}
FILE = re.compile(r"(?:(?:deploy|docs|tests|bench|netstacks|static|templates)/[\w./-]*|[\w.-]+\.(?:txt|py|ya?ml))")
REQUEST = re.compile(r"(GET|POST|PUT|PATCH|DELETE) (/(?:api|admin|health|metrics)\b[^ ?]*)(?:\?\S*)?")
VARIABLE = re.compile(r"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=.*)?")
ID = "00000000-0000-4000-8000-000000000000"
# Placeholders of arguments and of parts of paths that are not of any form, with a value that is accepted.
EXAMPLES = {"TIME": "2026-01-31T12:00:00Z", "ID": ID, "{key}": "keybindings", "{port}": "22"}

SHELL_BLOCKS = [
    each for each in blocks() if each.language in ("", "sh") and each.text.splitlines()[0] not in NO_COMMANDS
]


@dataclass(frozen=True)
class Command:
    """A program with its arguments, as a shell calls it."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.words)[:60]


def calls(code: str, folder: Path) -> list[Command]:
    """The commands of a block, from a real shell in which each program only notes how it was called."""
    noted = folder / "calls"
    for program in (*OWN, *OF_OTHERS):
        stub = folder / (program if "/" in program else f"bin/{program}")
        stub.parent.mkdir(parents=True, exist_ok=True)
        note = f"open({str(noted)!r}, 'a').write(json.dumps([{program!r}, *sys.argv[1:]]) + '\\n')"
        stub.write_text(f"#!{sys.executable}\nimport json, sys\n{note}\n")
        stub.chmod(0o755)
    # An unknown program ends the shell. The folders of a real host do not exist.
    script = f"set -e\ncd() {{ :; }}\n{code}"
    environ = {"PATH": str(folder / "bin"), "TOKEN": "token", "URL": "http://controller"}
    done = subprocess.run(["/bin/bash", "-c", script], cwd=folder, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [Command(tuple(json.loads(line))) for line in noted.read_text().splitlines()]


def parse(words: list[str]) -> None:
    """Has the real command line parse the words, without running the command. Raises click.UsageError."""
    context = click.Context(main)
    command: click.Command | None = main
    while isinstance(command, click.Group) and words:
        name, command, words = command.resolve_command(context, words)
    assert command is not None
    # A group alone, as in `netstacks ha`, stands for its commands.
    if not isinstance(command, click.Group):
        command.make_context(name, list(words), parent=context)


@pytest.mark.parametrize("block", SHELL_BLOCKS, ids=str)
def test_each_command_of_a_block_exists_with_its_options_and_files(block: Code, tmp_path: Path) -> None:
    called = calls(block.text, tmp_path)
    assert called
    for command in called:
        program, *words = command.words
        if program == "netstacks":
            parse(words)
        elif program == "make":
            made = subprocess.run(["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True)
            assert made.returncode == 0, made.stderr
        missing = [each for each in words if FILE.fullmatch(each) and not (ROOT / each).exists()]
        assert missing == [], command


def test_a_block_that_is_no_command_is_named_with_what_it_is() -> None:
    assert set(NO_COMMANDS) <= {each.text.splitlines()[0] for each in blocks()}


def written(code: str) -> list[str]:
    """The words of a span like `netstacks users passwd NAME [--json]`, with values in place of what it leaves open."""
    return [EXAMPLES.get(each, each) for each in code.replace("[", "").replace("]", "").split()]


COMMAND_SPANS = sorted({each.text for each in spans() if each.text.startswith(("netstacks ", "make "))})


@pytest.mark.parametrize("text", COMMAND_SPANS)
def test_a_command_in_a_sentence_exists_with_its_options(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda prompt: "a password of the tests")
    program, *words = written(text)
    if program == "make":
        made = subprocess.run(["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        return
    try:
        parse(words)
    except click.exceptions.Exit:
        assert text == "netstacks --version"
    except click.MissingParameter:
        pass  # A sentence may leave arguments out; the options before are parsed.


def test_a_file_that_a_sentence_names_exists() -> None:
    named = {(each.file, each.text) for each in spans() if FILE.fullmatch(each.text) and "/" in each.text}
    assert named
    assert [each for each in sorted(named) if not (ROOT / each[1]).exists()] == []


def test_a_variable_that_a_sentence_names_is_a_setting() -> None:
    settings = {name.upper() for name in Settings.model_fields} | {f"{name.upper()}_FILE" for name in SECRETS}
    named = {(each.file, found[1]) for each in spans() if (found := VARIABLE.fullmatch(each.text))}
    unknown = sorted(each for each in named if each[1] not in settings | set(OTHER_VARIABLES) | CODES)
    assert unknown == []
    assert {name for _, name in named} > CODES


@pytest.fixture(scope="module")
def controller(postgres: Postgres) -> Iterator[Controller]:
    controller = Controller(postgres.create_database()).start()
    # The shared credential that the list of devices in docs/devices.md names.
    controller.login().add_credential("netops", "a password", name="Backbone TACACS")
    yield controller
    controller.stop()


# Commands that change nothing, or write to a new file only.
HARMLESS = (
    "netstacks --version",
    "netstacks audit verify [--from TIME] [--to TIME] [--head HASH] [--json]",
    "netstacks backup FILE",
    "netstacks check-config",
    "netstacks doctor",
    "netstacks doctor --bundle FILE",
    "netstacks doctor --load-balancer URL",
    "netstacks recordings verify",
    "netstacks users list",
    "netstacks vault status",
)


@pytest.mark.parametrize("text", HARMLESS)
def test_a_harmless_command_in_a_sentence_runs(text: str, controller: Controller, tmp_path: Path) -> None:
    assert text in COMMAND_SPANS
    # A hash of a row that exists would have to be looked up first.
    values = {"FILE": str(tmp_path / "file"), "URL": controller.url}
    words = [values.get(each, each) for each in written(text.replace(" [--head HASH]", ""))]
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, env=controller.environ, capture_output=True, text=True
    )
    # With 1 the doctor says that it has found a problem, as the missing Valkey is one.
    assert done.returncode in ((0, 1) if "doctor" in text else (0,)), done.stdout + done.stderr
    assert done.stdout


CURL_BLOCKS = [each for each in SHELL_BLOCKS if "curl " in each.text]
CURL_SPANS = [each for each in spans() if each.text.startswith("curl ")]


@pytest.mark.parametrize("code", [*CURL_BLOCKS, *CURL_SPANS], ids=str)
def test_curl_is_answered_by_a_controller(code: Code, controller: Controller, tmp_path: Path) -> None:
    if not (shutil.which("curl") and shutil.which("jq")):
        pytest.skip("needs Debian's curl and jq")
    (devices,) = [each.text for each in blocks() if each.language == "csv"]
    (tmp_path / "devices.csv").write_text(devices)
    lines = [each for each in code.text.splitlines() if not each.startswith(("docker ", "deploy/"))]
    script = re.sub(r"https?://(localhost|HOST|controller\.example\.net)(:8080)?", controller.url, "\n".join(lines))
    # Each curl of the script fails on an error status, which the script itself may print instead.
    script = f'set -euo pipefail\ncurl() {{ command curl --fail --silent --show-error "$@"; }}\n{script}'
    environ = {"PATH": os.environ["PATH"], "TOKEN": controller.login().token, "URL": controller.url}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    json.loads(done.stdout)


REQUESTS = sorted({found.groups() for each in spans() if (found := REQUEST.fullmatch(each.text))})


def test_a_request_that_a_sentence_names_has_a_route(controller: Controller) -> None:
    assert len(REQUESTS) > 50
    missing = []
    for method, path in REQUESTS:
        filled = re.sub(r"\{\w+\}|\bID\b", lambda name: EXAMPLES.get(name[0], ID), path)
        answer = requests.options(controller.url + filled, timeout=10)
        if method not in answer.headers.get("Allow", ""):
            missing.append((method, path, answer.status_code))
    assert not missing, missing
