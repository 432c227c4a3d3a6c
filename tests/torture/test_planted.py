"""The bugs that prove the torture can still be planted: each names exactly one place of the product."""

import pytest

from tests.controller import ROOT
from tests.torture.planted import BUGS


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_names_one_place(name: str) -> None:
    for edit in BUGS[name]:
        assert (ROOT / edit.path).read_text().count(edit.old) == 1, edit
