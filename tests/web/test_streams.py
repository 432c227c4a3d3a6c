"""The number of live event streams: bounded, and no user takes those of all others."""

from contextlib import ExitStack
from uuid import uuid4

import pytest

from netstacks.errors import RetryLater
from netstacks.web.http.streams import Streams


def test_a_user_has_twenty_streams_at_most_and_others_have_theirs() -> None:
    streams, greedy, other = Streams(), uuid4(), uuid4()
    with ExitStack() as opened:
        for _ in range(20):
            streams.check(greedy)
            opened.enter_context(streams.taken(greedy))
        with pytest.raises(RetryLater, match="20 of your pages"):
            streams.check(greedy)
        streams.check(other)
        assert len(streams) == 20
    streams.check(greedy)
    assert len(streams) == 0


def test_an_instance_has_a_hundred_streams_at_most() -> None:
    streams = Streams()
    with ExitStack() as opened:
        for _ in range(100):
            opened.enter_context(streams.taken(uuid4()))
        with pytest.raises(RetryLater, match="100 pages"):
            streams.check(uuid4())
    streams.check(uuid4())
