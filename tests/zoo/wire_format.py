"""The data types of SSH (RFC 4251, section 5), written and read."""


def uint32(number: int) -> bytes:
    return number.to_bytes(4, "big")


def string(value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return uint32(len(data)) + data


def mpint(number: int) -> bytes:
    # One bit more than the number has: a leading one would make it negative.
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big") if number else b"")


def boolean(value: bool) -> bytes:
    return bytes([value])


def name_list(names: tuple[str, ...]) -> bytes:
    return string(",".join(names))


class Reader:
    """Takes a message apart, from its first byte on."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        piece = self.data[self._at : self._at + size]
        if len(piece) < size:
            raise ValueError(f"a message ends {size - len(piece)} bytes early: {self.data!r}")
        self._at += size
        return piece

    def byte(self) -> int:
        return self.take(1)[0]

    def boolean(self) -> bool:
        return bool(self.byte())

    def uint32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        return self.take(self.uint32())

    def text(self) -> str:
        return self.string().decode("utf-8", "surrogateescape")

    def mpint(self) -> int:
        return int.from_bytes(self.string(), "big")

    def names(self) -> tuple[str, ...]:
        text = self.text()
        return tuple(text.split(",")) if text else ()
