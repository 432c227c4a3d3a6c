"""Functions of libssh that ssh-python 1.2 does not export, or only with a TypeError, by ctypes."""

import ctypes
from collections.abc import Callable
from pathlib import Path

from ssh.session import Session

MIN_RSA_BITS = 768

# SSH_OPTIONS_RSA_MIN_SIZE in libssh.h, which only ever adds to the end of its list.
_RSA_MIN_SIZE = 41
_LOG_EVERYTHING = 4
_LOG_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)


def _loaded() -> ctypes.CDLL:
    """The libssh that ssh-python has loaded: the one from its wheel, or the system's."""
    # ssh-python does not expose the path of its library: the memory map of the process has it.
    fields = (line.split(maxsplit=5) for line in Path("/proc/self/maps").read_text().splitlines())
    files = (Path(each[5]) for each in fields if len(each) == 6)
    library = ctypes.CDLL(str(next(file for file in files if file.name.startswith(("libssh-", "libssh.")))))
    library.ssh_userauth_kbdint_getname.restype = ctypes.c_char_p
    library.ssh_userauth_kbdint_getinstruction.restype = ctypes.c_char_p
    return library


_LIBRARY = _loaded()


def _pointer(session: Session) -> ctypes.c_void_p:
    """The ssh_session behind the object: its first member (ssh/session.pxd)."""
    return ctypes.c_void_p(ctypes.c_void_p.from_address(id(session) + object.__basicsize__).value)


def question_name(session: Session) -> bytes:
    """The name field of a keyboard-interactive request (RFC 4256, section 3.2); b"" without one."""
    return _LIBRARY.ssh_userauth_kbdint_getname(_pointer(session)) or b""


def question_instruction(session: Session) -> bytes:
    """The instruction field of a keyboard-interactive request (RFC 4256, section 3.2); b"" without one."""
    return _LIBRARY.ssh_userauth_kbdint_getinstruction(_pointer(session)) or b""


def allow_short_rsa(session: Session) -> None:
    """Accepts RSA keys from MIN_RSA_BITS on, libssh's lowest limit; its default minimum is 1024 bits."""
    _LIBRARY.ssh_options_set(_pointer(session), _RSA_MIN_SIZE, ctypes.byref(ctypes.c_int(MIN_RSA_BITS)))


class Counter(ctypes.Structure):
    """Counts the bytes that libssh reads and writes on its socket. Any call may read, whatever its purpose."""

    _fields_ = [
        ("in_bytes", ctypes.c_uint64),
        ("out_bytes", ctypes.c_uint64),
        ("in_packets", ctypes.c_uint64),
        ("out_packets", ctypes.c_uint64),
    ]
    _session: Session | None = None

    def count(self, session: Session) -> None:
        """Counts a session's bytes from now on."""
        self._session = session
        _LIBRARY.ssh_set_counters(_pointer(session), ctypes.byref(self), None)

    def stop(self) -> None:
        """Stops counting. A session that is freed later still sends a message, and would write into freed memory."""
        if self._session is not None:
            _LIBRARY.ssh_set_counters(_pointer(self._session), None, None)
            self._session = None

    def __del__(self) -> None:
        self.stop()


class LogWatch:
    """Looks for a text in libssh's log, for facts that libssh reports nowhere else."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self.line = b""
        """The line of the log with the text; b"" before it came."""

    def call(self, function: Callable[..., int], *arguments: object) -> int:
        """Calls libssh. The call must not yield: the log is shared by all sessions of the process."""
        _watches.append(self)
        _LIBRARY.ssh_set_log_level(_LOG_EVERYTHING)
        try:
            return function(*arguments)
        finally:
            _LIBRARY.ssh_set_log_level(0)
            _watches.remove(self)

    def take(self, line: bytes) -> None:
        if self._text in line:
            self.line = line


_watches: list[LogWatch] = []


def _on_log_line(level: int, function: bytes, line: bytes, data: object) -> None:
    for watch in _watches:
        watch.take(line)


# libssh keeps a pointer to the callback, so it must never be freed.
_ON_LOG = _LOG_CALLBACK(_on_log_line)
_LIBRARY.ssh_set_log_callback(_ON_LOG)
