"""How the events of a chunk are compressed: with zstd, as one frame that holds their size and a checksum."""

import zstandard

NONE, ZSTD = "none", "zstd"

# On what routers print, level 3 takes twice the time and gains nothing.
_LEVEL = 1
# Fewer bytes are not worth the work: most of their row is not theirs.
SMALLEST_BYTES = 4 * 1024
# More bytes are never compressed, so that no stored chunk can expand to more, whatever its frame says.
LARGEST_BYTES = 16 * 1024 * 1024


def is_worth_it(size: int) -> bool:
    """Whether so many bytes of events are to be compressed."""
    return SMALLEST_BYTES < size <= LARGEST_BYTES


def compressor() -> zstandard.ZstdCompressor:
    """For one thread, and for as many chunks as are at hand: it is expensive to make."""
    return zstandard.ZstdCompressor(_LEVEL, write_checksum=True)


def decompress(codec: str, stored: bytes) -> bytes:
    """The events as they were. Raises ValueError when `stored` is damaged, and for a codec that is not known here."""
    if codec != ZSTD:
        raise ValueError(f"is compressed with {codec!r}, which this version does not know")
    try:
        # The decompressor allocates what the frame says and writes no more. It refuses a frame that says nothing.
        size = zstandard.frame_content_size(stored)
        if size > LARGEST_BYTES:
            raise ValueError(f"is damaged: it would expand to more than {LARGEST_BYTES} bytes")
        # What says that it holds nothing is taken for empty, without a look at the rest.
        if 0 <= size <= SMALLEST_BYTES:
            raise ValueError(f"is damaged: {size} bytes are never compressed")
        return zstandard.ZstdDecompressor().decompress(stored, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ValueError(f"is damaged: {error}") from error
