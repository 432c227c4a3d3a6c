"""Events come out of bytes as the HTML standard says, however the bytes are split."""

from itertools import pairwise

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netstacks.llm.failures import ProviderBroken
from netstacks.llm.sse import MAX_EVENT_BYTES, MAX_LINES, Decoder, Event

# Every kind of line, and every kind of end.
_LINES = st.sampled_from(
    ["", "data: a", "data:b", "data:  c", "data", "data: ü→😀", "event: x", ": comment", "id: 1", "odd"]
)
_STREAMS = st.lists(st.tuples(_LINES, st.sampled_from(["\n", "\r\n", "\r"])), max_size=20)


def test_lines_of_data_are_joined_and_comments_and_events_without_data_are_none() -> None:
    stream = b": hello\n\nevent: ping\n\nevent: a\ndata: 1\ndata: 2\nid: 7\n\ndata:3\n\n"
    assert Decoder().feed(stream) == [Event("a", "1\n2"), Event("message", "3")]


def test_an_event_without_its_end_is_none() -> None:
    assert Decoder().feed(b"data: 1\n") == []


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    assert Decoder().feed(b"\xef\xbb\xbfdata: 1\n\n") == [Event("message", "1")]


def test_a_line_feed_that_comes_after_its_carriage_return_is_no_line_of_its_own() -> None:
    decoder = Decoder()
    assert [decoder.feed(part) for part in (b"data: 1\r", b"\ndata: 2\r\n\r", b"\n")] == [
        [],
        [Event("message", "1\n2")],
        [],
    ]


@given(_STREAMS, st.lists(st.integers(0, 400)))
def test_it_reads_as_another_implementation_does_wherever_the_bytes_are_split(
    lines: list[tuple[str, str]], cuts: list[int]
) -> None:
    # httpx2 tells events without data and without an end too, and the standard does not.
    stream = "".join(line + end for line, end in [*lines, ("", "\n\n")]).encode()
    with (
        httpx2.Client(transport=httpx2.MockTransport(lambda _: _response(stream))) as client,
        client.sse("http://x") as sse,
    ):
        expected = [Event(each.event, each.data) for each in sse]
    decoder, places = Decoder(), sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    parts = [stream[start:end] for start, end in pairwise(places)]
    events = [event for part in parts for event in decoder.feed(part)]
    assert [each for each in events if each.data] == [each for each in expected if each.data]


def _response(stream: bytes) -> httpx2.Response:
    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream)


@pytest.mark.parametrize("unit", [b"x" * 1000, b"\ndata: " + b"x" * 1000, b"\n: " + b"x" * 2_000_000])
def test_an_event_and_a_line_have_a_largest_size(unit: bytes) -> None:
    parts = [b"data: ", *([unit] * (MAX_EVENT_BYTES // 1000 + 1))]
    decoder = Decoder()
    with pytest.raises(ProviderBroken, match="more than 262144 bytes"):
        list(map(decoder.feed, parts))


def test_many_events_and_comments_are_not_one_large_event() -> None:
    decoder = Decoder()
    events = [
        event for _ in range(300) for event in decoder.feed(b": " + b"c" * 5000 + b"\ndata: " + b"x" * 5000 + b"\n\n")
    ]
    assert len(events) == 300


@pytest.mark.parametrize("line", [b"\n", b":\n", b"odd\n", b"data\n\n", b"\r", b"\r\n"])
def test_a_stream_has_a_largest_number_of_lines(line: bytes) -> None:
    decoder, part = Decoder(), line * 500
    with pytest.raises(ProviderBroken, match="more than 600000 lines"):
        list(map(decoder.feed, [part] * (MAX_LINES // 500 + 1)))
