"""The control of a drain: what can be cancelled, and until when."""

import pytest

from netstacks import greenlets
from netstacks.errors import Conflict
from netstacks.instance.drain_control import DrainControl


def test_a_cancel_returns_when_the_instance_serves_again() -> None:
    control = DrainControl()
    control.request()
    control.wait()
    cancel = greenlets.spawn("cancel", control.cancel)
    greenlets.sleep(0)
    assert control.is_cancelled
    assert not cancel.ready()
    assert not control.leave()
    control.resume()
    cancel.join(30)
    assert cancel.successful()
    assert not control.is_cancelled


def test_without_a_drain_there_is_nothing_to_cancel() -> None:
    control = DrainControl()
    with pytest.raises(Conflict, match="is not draining"):
        control.cancel()
    assert not control.request_cancel()
    control.request()
    assert control.request_cancel()
    control.resume()
    with pytest.raises(Conflict, match="is not draining"):
        control.cancel()


def test_after_the_hand_over_a_cancel_is_too_late() -> None:
    control = DrainControl()
    control.request()
    assert control.leave()
    with pytest.raises(Conflict, match="too late"):
        control.cancel()
    assert not control.request_cancel()


def test_the_drain_of_sigterm_cannot_be_cancelled() -> None:
    control = DrainControl()
    control.terminate()
    with pytest.raises(Conflict, match="SIGTERM"):
        control.cancel()
    assert control.leave()


def test_sigterm_overrules_a_cancel_that_the_drain_has_not_noticed() -> None:
    control = DrainControl()
    control.request()
    cancel = greenlets.spawn("cancel", control.cancel)
    greenlets.sleep(0)
    control.terminate()
    assert control.leave()
    cancel.join(30)
    assert isinstance(cancel.exception, Conflict)


def test_a_sigterm_during_the_resumption_begins_the_final_drain() -> None:
    control = DrainControl()
    control.request()
    assert control.request_cancel()
    assert not control.leave()
    control.terminate()
    control.resume()
    control.wait()
    assert control.leave()


def test_a_request_voids_a_cancel_that_the_drain_has_not_noticed() -> None:
    control = DrainControl()
    control.request()
    cancel = greenlets.spawn("cancel", control.cancel)
    greenlets.sleep(0)
    control.request()
    assert control.leave()
    cancel.join(30)
    assert isinstance(cancel.exception, Conflict)
