"""The SSH algorithms allowed for a device, by the level in its entry, and advice when none is common."""

import re
from typing import Literal

from ssh import options

Level = Literal["modern", "legacy", "antique"]

_LEVELS: tuple[Level, ...] = ("modern", "legacy", "antique")

# What each level adds to libssh's default lists, by libssh's names for the kinds. SHA-1, CBC and short groups are
# broken or will be: only a device in a trusted network, or one that is about to be replaced, should need them.
_SHA1_KEX = "diffie-hellman-group14-sha1,diffie-hellman-group-exchange-sha1"
_SHORT_KEX = "diffie-hellman-group14-sha1,diffie-hellman-group1-sha1,diffie-hellman-group-exchange-sha1"
_CBC = "aes256-cbc,aes192-cbc,aes128-cbc"
_ADDED: dict[Level, dict[str, str]] = {
    "modern": {},
    "legacy": {"kex algos": _SHA1_KEX, "server host key algo": "ssh-rsa", "encryption": _CBC, "mac": "hmac-sha1"},
    "antique": {
        # The group exchange comes last: old devices choose groups of 1024 bits, which libssh refuses.
        "kex algos": _SHORT_KEX,
        "server host key algo": "ssh-rsa",
        "encryption": f"{_CBC},3des-cbc",
        "mac": "hmac-sha1",
    },
}
_OPTIONS = {
    "kex algos": (options.KEY_EXCHANGE,),
    "server host key algo": (options.HOSTKEYS, options.PUBLICKEY_ACCEPTED_TYPES),
    "encryption": (options.CIPHERS_C_S, options.CIPHERS_S_C),
    "mac": (options.HMAC_C_S, options.HMAC_S_C),
}
_NAMES = {
    "kex algos": "key exchange",
    "server host key algo": "host key",
    "encryption": "encryption",
    "mac": "integrity check",
}

_NO_MATCH = re.compile(r"no match for method (?P<kind>[^:]+): server \[(?P<offered>[^]]*)\]")


def added_options(level: Level) -> list[tuple[options.Option, str]]:
    """libssh's options for a level, each with the algorithm names to add to its default list."""
    return [(option, f"+{names}") for kind, names in _ADDED[level].items() for option in _OPTIONS[kind]]


def advise(error: str, level: Level) -> str:
    """Explains libssh's error when no algorithm is common: what the device offers, and which level would allow it.

    Any other error is returned as it is.
    """
    found = _NO_MATCH.search(error)
    if found is None or not found["kind"].startswith(tuple(_NAMES)):
        return error
    kind = next(kind for kind in _NAMES if found["kind"].startswith(kind))
    offered = [name for name in found["offered"].split(",") if name]
    text = f"the device offers only {', '.join(offered) or 'nothing'} for the {_NAMES[kind]}"
    for higher in _LEVELS[_LEVELS.index(level) + 1 :]:
        if set(offered) & set(_ADDED[higher].get(kind, "").split(",")):
            return f"{text}, which the level {level} does not allow: set the device's algorithms to {higher}"
    return f"{text}, which this controller's SSH library does not support: no level helps"
