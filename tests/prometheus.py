"""A real Prometheus that scrapes test controllers every second, with the rules of deploy/ and short delays."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import pytest
import requests

from tests.controller import ROOT, until
from tests.ports import free_port

PROMETHEUS = shutil.which("prometheus")

needs_prometheus = pytest.mark.skipif(PROMETHEUS is None, reason="needs Debian's prometheus")

_CONFIGURATION = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [{folder}/alerts.yml]
scrape_configs:
  - job_name: netstacks
    authorization: {{credentials: "{token}"}}
    static_configs: [{{targets: [{targets}]}}]
"""


class Prometheus:
    """Scrapes the controllers on these ports for as long as the `with` block lasts."""

    def __init__(self, ports: Sequence[int], token: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="netstacks-prometheus-"))
        rules = (ROOT / "deploy/prometheus/alerts.yml").read_text()
        (self._folder / "alerts.yml").write_text(re.sub(r"\bfor: \w+", "for: 1s", rules))
        targets = ", ".join(f'"127.0.0.1:{port}"' for port in ports)
        configuration = _CONFIGURATION.format(folder=self._folder, token=token, targets=targets)
        (self._folder / "prometheus.yml").write_text(configuration)
        self._port = free_port()
        self._url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        assert PROMETHEUS is not None
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    PROMETHEUS,
                    f"--config.file={self._folder}/prometheus.yml",
                    f"--storage.tsdb.path={self._folder}/data",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdout=log,
                stderr=log,
            )
        until(self._is_ready, "a Prometheus that is ready")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)
        shutil.rmtree(self._folder)

    def _is_ready(self) -> bool:
        try:
            return requests.get(f"{self._url}/-/ready", timeout=2).ok
        except requests.RequestException:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query."""
        answer = requests.get(f"{self._url}/api/v1/query", {"query": expression}, timeout=60).json()
        assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
        series: list[dict[str, Any]] = answer["data"]["result"]
        return series

    def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        return {series["metric"]["alertname"] for series in self.query('ALERTS{alertstate="firing"}')}
