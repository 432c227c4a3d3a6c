"""Child processes: stopped with their block, told when they end before it, killed when they do not listen."""

import sys
from pathlib import Path

import pytest

from netstacks.demo import children
from netstacks.demo.children import Child, ChildEnded
from tests.controller import until


def python(tmp_path: Path, code: str) -> Child:
    return Child("The child", [sys.executable, "-u", "-c", code], tmp_path / "log")


def test_it_ends_with_the_block(tmp_path: Path) -> None:
    with python(tmp_path, "import time; time.sleep(600)") as child:
        child.check()
    with pytest.raises(ChildEnded, match="The child ended with exit code -15"):
        child.check()


def test_one_that_ends_by_itself_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    with python(tmp_path, "print('early'); print('late\\n' * 15); raise SystemExit(3)") as child:
        until(lambda: _has_ended(child), "the end")
        with pytest.raises(ChildEnded, match=r"^The child ended with exit code 3\..*\n\n(late\n)+") as caught:
            child.check()
    assert "early" not in str(caught.value)


def test_one_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "_STOP_SECS", 0.1)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready'); time.sleep(600)"
    with python(tmp_path, code) as child:
        until(lambda: "ready" in (tmp_path / "log").read_text(), "the start")
    with pytest.raises(ChildEnded, match="exit code -9"):
        child.check()


def _has_ended(child: Child) -> bool:
    try:
        child.check()
    except ChildEnded:
        return True
    return False
