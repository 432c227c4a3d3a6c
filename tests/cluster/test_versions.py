"""The features that may be used while a rolling upgrade runs two versions side by side."""

from dataclasses import replace

import pytest

from netstacks.cluster.model import Snapshot
from netstacks.cluster.versions import all_have
from tests.cluster.facts import instance


def seen(*versions: str) -> Snapshot:
    instances = [replace(instance(f"i{number}"), version=version) for number, version in enumerate(versions)]
    return Snapshot(100.0, {each.id: each for each in instances})


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        (["0.2.0"], True),
        (["0.2.0", "0.10", "1"], True),
        (["0.2.0", "0.1.9"], False),
        (["0.2.0rc1"], True),
        (["unknown"], False),
        ([], False),
    ],
)
def test_all_registered_instances_must_have_the_version(versions: list[str], expected: bool) -> None:
    assert all_have(seen(*versions), "0.2.0") == expected


def test_an_unreadable_record_may_be_of_any_version() -> None:
    assert not all_have(replace(seen("0.2.0"), unreadable={"i9": "not JSON"}), "0.2.0")
