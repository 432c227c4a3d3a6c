"""What operators see of a cluster, as pages and the command line show it."""

import subprocess
import sys
from typing import Any

from tests.controller import ROOT, Api, Controller


def shown(api: Api) -> dict[str, dict[str, Any]]:
    """The instance table by instance."""
    return {each["id"]: each for each in api.get("/api/v1/ha/status")["instances"]}


def status(api: Api) -> dict[str, Any]:
    return dict(api.get("/api/v1/ha/status"))


def lost(api: Api) -> dict[str, dict[str, Any]]:
    """The lost instances by id."""
    return {each["id"]: each for each in status(api)["lost"]}


def events(api: Api) -> list[tuple[str, str]]:
    return [(each["kind"], each["instance_id"]) for each in api.get("/api/v1/ha/status")["events"]]


def command(controller: Controller, *words: str) -> subprocess.CompletedProcess[str]:
    """`netstacks ...` in the environment of a controller."""
    return subprocess.run(
        [sys.executable, "-m", "netstacks", *words],
        cwd=ROOT,
        env=controller.environ,
        capture_output=True,
        text=True,
        timeout=120,
    )
