"""The disk of the spool."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from netstacks.instance import disk_watch
from netstacks.instance.disk_watch import DiskWatch


def test_a_disk_with_too_little_room_is_told_with_the_setting_until_there_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free_bytes = 99_000_000
    monkeypatch.setattr(disk_watch, "_free_bytes", lambda _: free_bytes)
    watch = DiskWatch(tmp_path, 100_000_000)
    with capture_logs() as logs:
        for _ in range(3):
            watch.look()
        assert watch.problem is not None
        assert "99 MB free, less than the 100 MB of DISK_FREE_MIN_BYTES" in watch.problem
        free_bytes = 100_000_000
        watch.look()
    assert watch.problem is None
    assert [entry["event"] for entry in logs] == ["disk.low", "disk.has_room"]


def test_the_real_disk_is_looked_at(tmp_path: Path) -> None:
    for least_free_bytes, is_low in ((0, False), (1, False), (2**62, True)):
        watch = DiskWatch(tmp_path, least_free_bytes)
        watch.look()
        assert (watch.problem is not None) is is_low


def test_a_folder_that_is_not_there_is_not_a_full_disk(tmp_path: Path) -> None:
    watch = DiskWatch(tmp_path / "nowhere", 2**62)
    watch.look()
    assert watch.problem is None
