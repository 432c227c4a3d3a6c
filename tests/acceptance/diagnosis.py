"""What the doctor and an instance's health say of a fault."""

import json
import subprocess
import sys
from typing import Any

from tests.controller import ROOT, Controller, until

Finding = dict[str, str]


def doctor(controller: Controller, *words: str, **changed: str) -> list[Finding]:
    """The findings in the environment of a controller but for what is changed; each fault has effect and remedy."""
    run = subprocess.run(
        [sys.executable, "-m", "netstacks", "doctor", "--json", *words],
        cwd=ROOT,
        env={**controller.environ, **changed},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert run.stderr == "", run.stderr
    found: list[Finding] = json.loads(run.stdout)
    levels = {each["level"] for each in found}
    assert run.returncode == (2 if "error" in levels else 1 if "warning" in levels else 0)
    for each in faults(found):
        assert each["why"], each
        assert each["do"], each
    return found


def faults(found: list[Finding]) -> list[Finding]:
    return [each for each in found if each["level"] != "ok"]


def fault(found: list[Finding], topic: str, cause: str, remedy: str) -> Finding:
    """The one finding of this topic that names the cause, with the remedy in its advice."""
    fitting = [each for each in faults(found) if each["topic"] == topic and cause in each["what"]]
    assert len(fitting) == 1, f"{topic}, {cause!r}: {faults(found)}"
    text = " ".join((fitting[0]["what"], fitting[0]["do"]))
    assert remedy in text, f"{remedy!r} in {text}"
    return fitting[0]


def reason(controller: Controller, *words: str) -> dict[str, Any]:
    """The health of the controller once its reason has all the words."""

    def told() -> dict[str, Any] | None:
        health = controller.health()
        return health if all(each in (health.get("reason") or "") for each in words) else None

    health: dict[str, Any] = until(told, f"{words} in the reason of {controller.health()}", 60)
    return health
