"""The Helm chart of deploy/, rendered by the real helm."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.controller import ROOT

CHART = ROOT / "deploy/helm/netstacks"
# `.ci/helm` puts it beside the interpreter.
HELM = shutil.which("helm", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
VALUES = {"defaults": "values.yaml", "minimal": "ci/minimal-values.yaml", "full": "ci/full-values.yaml"}


def helm(*arguments: str, values: Any = None) -> subprocess.CompletedProcess[str]:
    if HELM is None:
        pytest.skip("needs helm: run .ci/helm")
    given = ("-f", "-") if values is not None else ()
    text = yaml.safe_dump(values) if values is not None else ""
    return subprocess.run([HELM, *arguments, *given], input=text, capture_output=True, text=True, timeout=60)


def render(*arguments: str, values: Any = None, release: str = "netstacks") -> list[dict[str, Any]]:
    done = helm("template", release, str(CHART), "--namespace", "terminals", *arguments, values=values)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def refusal(values: Any) -> str:
    done = helm("template", "netstacks", str(CHART), values=values)
    assert done.returncode != 0, done.stdout
    return done.stderr


def only(manifests: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = (each for each in manifests if each["kind"] == kind)
    return found


def pod(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = only(manifests, "StatefulSet")["spec"]["template"]["spec"]
    return found


def container(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = pod(manifests)["containers"]
    return dict(found)


def environ(manifests: list[dict[str, Any]]) -> dict[str, str]:
    """The container's environment; what Kubernetes fills in has the name of its field."""
    return {
        each["name"]: each["value"] if "value" in each else each["valueFrom"]["fieldRef"]["fieldPath"]
        for each in container(manifests)["env"]
    }
