"""The versions of the C libraries that come inside Python packages, as these say themselves: advisories go by them."""

import ctypes
import platform
import ssl
import sys
from dataclasses import dataclass
from importlib import metadata


@dataclass(frozen=True)
class Component:
    """A package with the C libraries in it, and what the controller uses them for."""

    package: str
    libraries: tuple[str, ...]
    purpose: str


def components() -> list[Component]:
    """Everything that may need an update for a flaw in a C library."""
    # What a command that asks for no versions can do without.
    import psycopg
    import ssh.session
    from cryptography.hazmat.backends.openssl import backend

    libpq_user = str(sys.modules[psycopg.pq.PGconn.__module__].__file__)
    major, minor = divmod(psycopg.pq.version(), 10_000)
    libssh = _said_by(ssh.session.__file__, "ssh_version").partition("/")[0]
    return [
        Component(
            _named("ssh-python"),
            (f"libssh {libssh}", _said_by(ssh.session.__file__, "OpenSSL_version")),
            "SSH to devices",
        ),
        Component(_named("psycopg"), (f"libpq {major}.{minor}", _said_by(libpq_user, "OpenSSL_version")), "PostgreSQL"),
        Component(_named("cryptography"), (backend.openssl_version_text(),), "the vault, licences, private keys"),
        Component(
            f"Python {platform.python_version()}",
            (ssl.OPENSSL_VERSION,),
            "TLS to Valkey, between instances and to language models",
        ),
    ]


def _named(package: str) -> str:
    return f"{package} {metadata.version(package)}"


def _said_by(module_file: str, function: str) -> str:
    """What a C function `const char *function(int)` of a library says about it.

    The library is the one that this extension module is linked with: a symbol is looked up in the libraries that the
    module needs, and in no others, although several of them may bring an OpenSSL.
    """
    try:
        say = getattr(ctypes.CDLL(module_file), function)
    except (OSError, AttributeError):
        return f"unknown ({function} cannot be asked)"
    say.argtypes, say.restype = [ctypes.c_int], ctypes.c_char_p
    return str(say(0).decode(errors="replace"))
