"""The frames passed to the library mean what the client sent, cut small, however TCP delivers the bytes."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from netstacks.web.ws.fragmenting import FRAGMENT_BYTES, Fragmenter
from netstacks.web.ws.message_assembly import MAX_MESSAGE_BYTES, Assembler, MessageTooBig
from tests.web.websocket_peer import BINARY, CONTINUATION, PING, TEXT, frame

KEY = bytes([0xA5, 0x3C, 0x00, 0xFF])


def masked(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """A frame as browsers send it, masked with a key that is not zero."""
    plain = frame(opcode, payload, fin=fin)
    head = plain[: len(plain) - len(payload) - 4]
    keys = KEY * (len(payload) // 4 + 1)
    return head + KEY + bytes(a ^ b for a, b in zip(payload, keys, strict=False))


def read(stream: bytes, cuts: list[int]) -> tuple[list[Frame], ServerProtocol]:
    """The frames that the library finds in a stream which comes cut at these places."""
    protocol, fragmenter = ServerProtocol(state=State.OPEN, max_size=(None, MAX_MESSAGE_BYTES)), Fragmenter()
    found: list[Frame] = []
    at = 0
    for cut in [*sorted(cuts), len(stream)]:
        if cut > at:
            protocol.receive_data(fragmenter.feed(stream[at:cut]))
            found += protocol.events_received()  # type: ignore[arg-type]
            at = cut
    return found, protocol


PAYLOADS = [
    *(b"", b"k", os.urandom(126), os.urandom(FRAGMENT_BYTES), os.urandom(FRAGMENT_BYTES + 1)),
    *(os.urandom(2 * FRAGMENT_BYTES), os.urandom(3 * FRAGMENT_BYTES + 5)),
]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from(PAYLOADS), st.booleans(), st.booleans()), min_size=1, max_size=4),
    st.lists(st.integers(0, 16 * FRAGMENT_BYTES), max_size=8),
    st.lists(st.integers(0, 40), max_size=8),
)
def test_every_message_arrives_as_it_was_sent(
    messages: list[tuple[bytes, bool, bool]], cuts: list[int], early_cuts: list[int]
) -> None:
    stream = b""
    for payload, is_fragmented, is_pinged in messages:
        if is_fragmented:
            stream += masked(BINARY, payload, fin=False) + masked(PING, b"?") * is_pinged
            stream += masked(CONTINUATION, payload, fin=False) + masked(CONTINUATION, b"")
        else:
            stream += masked(BINARY, payload)
    found, protocol = read(stream, [min(cut, len(stream)) for cut in (*cuts, *early_cuts)])
    assert protocol.state is State.OPEN
    assert max(len(each.data) for each in found) <= FRAGMENT_BYTES
    wholes, whole = [], b""
    for each in found:
        if each.opcode is not Opcode.PING:
            assert (each.opcode is Opcode.BINARY) == (not whole and each.opcode is not Opcode.CONT)
            whole += bytes(each.data)
            if each.fin:
                wholes.append(whole)
                whole = b""
    assert wholes == [payload * (2 if is_fragmented else 1) for payload, is_fragmented, _ in messages]


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (frame(TEXT, b"x" * (MAX_MESSAGE_BYTES + 1)), CloseCode.MESSAGE_TOO_BIG),
        (frame(PING, b"x" * 200_000), CloseCode.PROTOCOL_ERROR),
        (frame(BINARY, b"x" * 200_000, masked=False), CloseCode.PROTOCOL_ERROR),
        (frame(BINARY, b"x" * 200_000, rsv=4), CloseCode.PROTOCOL_ERROR),
        (frame(CONTINUATION, b"x" * 200_000), CloseCode.PROTOCOL_ERROR),
        (frame(BINARY, b"x", fin=False) + frame(BINARY, b"x" * 200_000), CloseCode.PROTOCOL_ERROR),
        (frame(3, b"x" * 200_000), CloseCode.PROTOCOL_ERROR),
    ],
)
def test_an_invalid_large_frame_is_still_refused(stream: bytes, code: CloseCode) -> None:
    _, protocol = read(stream, [])
    assert protocol.close_sent is not None
    assert protocol.close_sent.code == code


def test_nothing_of_a_large_frame_is_kept() -> None:
    protocol, fragmenter = ServerProtocol(state=State.OPEN, max_size=(None, MAX_MESSAGE_BYTES)), Fragmenter()
    head = bytes([0x82, 0xFF]) + (2**40).to_bytes(8, "big") + KEY
    protocol.receive_data(fragmenter.feed(head))
    for _ in range(100):
        protocol.receive_data(fragmenter.feed(b"x" * 50_000))
        protocol.events_received()
        assert len(protocol.reader.buffer) <= FRAGMENT_BYTES
    assert protocol.state is State.OPEN


def assemble(*frames: Frame) -> list[bytes | str]:
    assembler = Assembler()
    return [message for each in frames if (message := assembler.take(each)) is not None]


TEXT_OF_MANY = "aé€😀".encode()


@pytest.mark.parametrize("first", range(len(TEXT_OF_MANY) + 1))
@pytest.mark.parametrize("second", range(len(TEXT_OF_MANY) + 1))
def test_pieces_are_data_and_end_with_whole_characters(first: int, second: int) -> None:
    one, two = sorted((first, second))
    pieces = assemble(
        Frame(Opcode.BINARY, b"\x01" + TEXT_OF_MANY[:one], fin=False),
        Frame(Opcode.CONT, TEXT_OF_MANY[one:two], fin=False),
        Frame(Opcode.CONT, TEXT_OF_MANY[two:]),
    )
    assert all(isinstance(piece, bytes) and piece[:1] == b"\x01" for piece in pieces)
    assert "".join(piece[1:].decode() for piece in pieces if isinstance(piece, bytes)) == TEXT_OF_MANY.decode()


def test_bytes_that_are_no_utf8_are_not_held_back() -> None:
    noise = bytes(range(128, 192)) * 3
    pieces = assemble(Frame(Opcode.BINARY, b"\x01" + noise, fin=False))
    assert pieces == [b"\x01" + noise]


def test_a_type_byte_may_come_late() -> None:
    frames = [Frame(Opcode.BINARY, b"", fin=False), Frame(Opcode.CONT, b"\x01", fin=False), Frame(Opcode.CONT, b"k")]
    assert assemble(*frames) == [b"\x01k"]


def test_the_message_after_a_paste_is_one_of_its_own() -> None:
    paste = [Frame(Opcode.BINARY, b"\x01a", fin=False), Frame(Opcode.CONT, b"b", fin=True)]
    assert assemble(*paste, Frame(Opcode.BINARY, b"\x03"), *paste) == [b"\x01a", b"\x01b", b"\x03", b"\x01a", b"\x01b"]


@pytest.mark.parametrize(("opcode", "first"), [(Opcode.TEXT, b"\x01"), (Opcode.BINARY, b"\x02"), (Opcode.BINARY, b"x")])
def test_other_messages_have_a_limit(opcode: Opcode, first: bytes) -> None:
    half = first * (MAX_MESSAGE_BYTES // 2)
    whole = half + half
    frames = [Frame(opcode, half, fin=False), Frame(Opcode.CONT, half)]
    assert assemble(*frames) == [whole.decode() if opcode is Opcode.TEXT else whole]
    with pytest.raises(MessageTooBig):
        assemble(Frame(opcode, half, fin=False), Frame(Opcode.CONT, half, fin=False), Frame(Opcode.CONT, first))
