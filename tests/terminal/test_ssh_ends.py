"""The end of a device connection, in every way: other terminals go on, and its own user is told."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controller import ROOT
from tests.sshd import SSHD, Sshd


@pytest.fixture
def server() -> Iterator[Sshd]:
    if SSHD is None:
        pytest.skip("needs Debian's openssh-server")
    with Sshd() as server:
        yield server


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_connections_that_end_anyhow_and_anywhere_hurt_no_other(server: Sshd, seed: int) -> None:
    """In a process of its own: on a descriptor that is another's by now, libev would abort it."""
    with tempfile.NamedTemporaryFile("w") as key:
        Path(key.name).write_text(server.private_key)
        where = [server.host, str(server.port), server.user, key.name]
        run = subprocess.run(
            [sys.executable, "-m", "tests.terminal.ends", *where, str(seed), "40"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
    assert run.returncode == 0, (run.stdout + run.stderr)[-3000:]
    assert "whole" in run.stdout
    assert run.stdout.strip().endswith("descriptors left: 0")
