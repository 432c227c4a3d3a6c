"""Records that something else has written: what a field, a hash or a key of ours can hold, plausible or not."""

from collections.abc import Collection

from hypothesis import strategies as st
from redis import Redis

# What a reader may take for a number, a time or an address, and what it must not.
_PLAUSIBLE = (
    "", "0", "1", "-1", "7.5", "1e9", "1e400", "-inf", "inf", "nan", "0x10", "1_000", " 5 ", "٣", "9" * 400, "True",
    "None", "active", "draining", "ended", "closed", "open", "127.0.0.1:8080", "[::1]:80", "host:99999", ":80", "{}",
)  # fmt: skip

values = st.one_of(st.sampled_from(_PLAUSIBLE).map(str.encode), st.binary(max_size=12))


def hashes(fields: Collection[str]) -> st.SearchStrategy[dict[bytes, bytes]]:
    """Some of the fields, and perhaps others, with any values."""
    known = st.sampled_from(sorted(fields)).map(str.encode)
    return st.dictionaries(st.one_of(known, st.binary(max_size=5)), values, min_size=1, max_size=len(fields) + 2)


def spoilt(whole: dict[str, str]) -> st.SearchStrategy[dict[bytes, bytes]]:
    """A whole record in which one field has another value, or is missing."""

    def spoil(field: str, value: bytes | None) -> dict[bytes, bytes]:
        record = {name.encode(): text.encode() for name, text in whole.items()}
        del record[field.encode()]
        return record | ({} if value is None else {field.encode(): value})

    return st.builds(spoil, st.sampled_from(sorted(whole)), st.none() | values)


TYPES = ("string", "list", "set", "zset", "hash", "stream")


def plant(client: Redis, key: str, kind: str) -> None:
    """Puts a value of that type in the place of what is there."""
    client.delete(key)
    match kind:
        case "string":
            client.set(key, "text")
        case "list":
            client.rpush(key, "item")
        case "set":
            client.sadd(key, "member")
        case "zset":
            client.zadd(key, {"member": 1.0})
        case "hash":
            client.hset(key, "field", "value")
        case "stream":
            client.xadd(key, {"field": "value"})
