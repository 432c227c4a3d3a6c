"""Finds keys and certificates in PEM (RFC 7468), incomplete ones too."""

import re
from collections.abc import Iterator

# SSH2 keys have four hyphens and blanks (RFC 4716).
_BEGIN = re.compile(r"----(?:-| )BEGIN ([A-Za-z0-9 ]{1,60})----")
_END = re.compile(r"----(?:-| )END ([A-Za-z0-9 ]{1,60})-----?")
_BASE64_LINE = re.compile(r"[ \t]{0,40}[A-Za-z0-9+/=]{1,128}\s{0,2}")


def find_pem_blocks(text: str) -> Iterator[tuple[int, int, str]]:
    """Yields start, end and name of each key or certificate, from its first line to its last.

    A screen may show only a part of a block. Without an end, a block extends to the end of the text; without a
    beginning, it begins with the first of the base64 lines before its end.
    """
    done = 0
    while end := _END.search(text, done):
        begin = _BEGIN.search(text, done, end.start())
        start = begin.start() if begin else _beginning(text, done, end.start())
        yield start, end.end(), _block_name(end[1])
        done = end.end()
    if begin := _BEGIN.search(text, done):
        yield begin.start(), len(text), _block_name(begin[1])


def _beginning(text: str, first: int, end: int) -> int:
    start = end
    while start > first:
        line = max(text.rfind("\n", 0, start - 1) + 1, first)
        if not _BASE64_LINE.fullmatch(text, line, start):
            break
        start = line
    return start


def _block_name(label: str) -> str:
    return "private_key_block" if "PRIVATE" in label or "Static" in label else "certificate_block"
