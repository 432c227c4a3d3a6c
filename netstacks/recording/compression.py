"""Compression of a chunk's events: one zstd frame (RFC 8878) with content size and checksum."""

import zstandard

NONE, ZSTD = "none", "zstd"

# On the output of routers level 3 takes twice the time and saves nothing.
_LEVEL = 1
# Compressing fewer bytes saves little: the other columns are most of the row.
SMALLEST_BYTES = 4 * 1024
# More bytes are never compressed, so that any frame that claims more is rejected as damaged.
LARGEST_BYTES = 16 * 1024 * 1024


def is_worth_it(size: int) -> bool:
    """Whether events of this size are to be compressed."""
    return SMALLEST_BYTES < size <= LARGEST_BYTES


def compressor() -> zstandard.ZstdCompressor:
    """A compressor for one thread; expensive to create, so one call should serve many chunks."""
    return zstandard.ZstdCompressor(_LEVEL, write_checksum=True)


def decompress(codec: str, stored: bytes) -> bytes:
    """The original events. Raises ValueError for damaged data, and for an unknown codec."""
    if codec != ZSTD:
        raise ValueError(f"is compressed with {codec!r}, which this version does not know")
    try:
        # The decompressor allocates the content size of the frame, never writes more, and refuses a frame without one.
        size = zstandard.frame_content_size(stored)
        if size > LARGEST_BYTES:
            raise ValueError(f"is damaged: it would expand to more than {LARGEST_BYTES} bytes")
        # The decompressor takes a frame of content size 0 for empty without reading it: damage would go unnoticed.
        if 0 <= size <= SMALLEST_BYTES:
            raise ValueError(f"is damaged: {size} bytes are never compressed")
        return zstandard.ZstdDecompressor().decompress(stored, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ValueError(f"is damaged: {error}") from error
