"""The versions of the packages that a controller is made of, and of the C libraries bundled in them."""

import ctypes
import platform
import re
import ssl
import sys
from dataclasses import dataclass
from importlib import metadata

from typing_extensions import TypedDict

_NAME = re.compile(r"[\w.-]+")


class Dependency(TypedDict):
    package: str
    version: str


@dataclass(frozen=True)
class Component:
    """A package, the C libraries in it, and what the controller uses them for."""

    package: str
    libraries: tuple[str, ...]
    purpose: str


def components() -> list[Component]:
    """All packages that may need an update because of a vulnerability in a C library."""
    # Imported here, so that other commands start without these packages.
    import psycopg
    import ssh.session
    from cryptography.hazmat.backends.openssl import backend

    libpq_user = str(sys.modules[psycopg.pq.PGconn.__module__].__file__)
    major, minor = divmod(psycopg.pq.version(), 10_000)
    libssh = _reported_by(ssh.session.__file__, "ssh_version").partition("/")[0]
    return [
        Component(
            _named("ssh-python"),
            (f"libssh {libssh}", _reported_by(ssh.session.__file__, "OpenSSL_version")),
            "SSH to devices",
        ),
        Component(
            _named("psycopg"), (f"libpq {major}.{minor}", _reported_by(libpq_user, "OpenSSL_version")), "PostgreSQL"
        ),
        Component(_named("cryptography"), (backend.openssl_version_text(),), "the vault, licences, private keys"),
        Component(
            f"Python {platform.python_version()}",
            (ssl.OPENSSL_VERSION,),
            "TLS to Valkey, between instances and to language models",
        ),
    ]


def build() -> str:
    """What this program runs on."""
    return f"{platform.python_implementation()} {platform.python_version()}, {platform.system()} {platform.machine()}"


def dependencies() -> list[Dependency]:
    """The packages that the controller requires, with the installed versions; none when it is not installed."""
    try:
        required = metadata.requires("netstacks-controller") or ()
    except metadata.PackageNotFoundError:
        return []
    names = {_NAME.match(each)[0] for each in required if "extra ==" not in each}  # type: ignore[index]
    return [{"package": name, "version": _version(name)} for name in sorted(names, key=str.lower)]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _named(package: str) -> str:
    return f"{package} {metadata.version(package)}"


def _reported_by(module_file: str, function: str) -> str:
    """The result of a C function `const char *function(int)` in a library that reports its version.

    The library is the one that the extension module is linked with: the symbol is looked up only in the dependencies
    of that module, although the process may contain several copies of OpenSSL.
    """
    try:
        report = getattr(ctypes.CDLL(module_file), function)
    except (OSError, AttributeError):
        return f"unknown ({function} is not available)"
    report.argtypes, report.restype = [ctypes.c_int], ctypes.c_char_p
    return str(report(0).decode(errors="replace"))
