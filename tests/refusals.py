"""Refusals of values that contain a password."""

from collections.abc import Callable

import pytest

from netstacks.errors import InvalidInput

PASSWORD = "hunter2"


def assert_refused(parse: Callable[[str], object], text: str, told: str) -> None:
    """Asserts that `text` is refused with the words `told`, and that the refusal does not show PASSWORD."""
    with pytest.raises(InvalidInput) as caught:
        parse(text)
    assert told in str(caught.value)
    assert PASSWORD not in str(caught.value)
