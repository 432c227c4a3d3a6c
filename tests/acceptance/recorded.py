"""What the command line says of recordings."""

import subprocess
import sys

from tests.controller import ROOT, Controller


def verified(controller: Controller) -> str:
    """What `netstacks recordings verify` says."""
    answer = subprocess.run(
        [sys.executable, "-m", "netstacks", "recordings", "verify"],
        cwd=ROOT,
        env=controller.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout + answer.stderr
