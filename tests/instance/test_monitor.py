"""The health monitor, driven by hand."""

from dataclasses import replace

import pytest

from netstacks import greenlets
from netstacks.cluster.health import Facts
from netstacks.instance import monitor as monitors
from netstacks.instance.monitor import HealthMonitor
from tests.cluster.test_health import WELL


def test_a_drain_is_told_at_once_whatever_the_stores_do() -> None:
    is_draining = False
    monitor = HealthMonitor(lambda now: replace(WELL, taken_at=now), lambda: is_draining)
    assert monitor.report() is None
    monitor.refresh()
    assert monitor.report().http_status == 200
    is_draining = True
    assert (monitor.report().status, monitor.report().http_status) == ("draining", 503)


def test_a_change_does_not_wait_for_the_next_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitors, "REFRESH_SECS", 3600.0)
    rounds = greenlets.Queue()

    def gather(now: float) -> Facts:
        rounds.put(now)
        return WELL

    monitor = HealthMonitor(gather, lambda: False)
    monitor.start()
    rounds.get(timeout=30)
    monitor.wake()
    rounds.get(timeout=30)
