"""The alerts and the dashboard of deploy/: valid, documented, and without a metric that does not exist."""

import json
import re
import shutil
import subprocess

import pytest
import yaml

from tests.controller import ROOT

ALERTS = ROOT / "deploy/prometheus/alerts.yml"
DASHBOARD = ROOT / "deploy/grafana/netstacks.json"
_METRIC = re.compile(r"\bnetstacks_\w+")


def _promtool(*arguments: str) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("needs Debian's prometheus")
    done = subprocess.run([program, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_is_valid() -> None:
    _promtool("check", "config", "--syntax-only", "deploy/prometheus/prometheus.yml")
    _promtool("check", "rules", "--lint=all", "--lint-fatal", "deploy/prometheus/alerts.yml")


def test_every_alert_fires_for_its_fault_and_a_healthy_cluster_is_silent() -> None:
    _promtool("test", "rules", "tests/deploy/alerts_test.yml")
    tested = set(re.findall(r'alertname="(\w+)"', (ROOT / "tests/deploy/alerts_test.yml").read_text()))
    assert tested == set(_alerts())


def test_every_alert_says_what_to_do_in_a_section_of_its_own() -> None:
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs/alerts.md").read_text(), re.MULTILINE)
    assert headings == list(_alerts())
    for name, rule in _alerts().items():
        assert rule["annotations"]["runbook"] == f"docs/alerts.md#{name.lower()}"
        assert rule["labels"]["severity"] in ("critical", "warning")


def test_the_dashboard_has_no_overlapping_panels_and_no_id_twice() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells


def test_every_metric_that_they_use_is_documented() -> None:
    documented = set(_METRIC.findall((ROOT / "docs/operations.md").read_text()))
    used = set(_METRIC.findall(ALERTS.read_text())) | set(_METRIC.findall(DASHBOARD.read_text()))
    parts = re.compile(r"_(?:bucket|sum|count)$")
    assert {parts.sub("", name) for name in used} <= {parts.sub("", name) for name in documented}


def _alerts() -> dict[str, dict[str, dict[str, str]]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}
