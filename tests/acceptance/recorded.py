"""Recordings as the command line reports them."""

import subprocess
import sys

from tests.controller import ROOT, Controller


def verified(controller: Controller) -> str:
    """The output of `netstacks recordings verify`."""
    answer = subprocess.run(
        [sys.executable, "-m", "netstacks", "recordings", "verify"],
        cwd=ROOT,
        env=controller.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout + answer.stderr
