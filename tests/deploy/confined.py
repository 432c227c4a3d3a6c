"""Runs a program as systemd does with NoNewPrivileges=, SystemCallFilter= and MemoryDenyWriteExecute=.

`python confined.py CALLS PROGRAM ARGUMENTS...`: CALLS is a file with the allowed system calls, one a line; others fail
with EPERM. Exits with 1 and a line when the kernel or libseccomp refuses.
"""

import ctypes
import errno
import os
import sys

_ALLOW = 0x7FFF0000
_EPERM = 0x00050000 | errno.EPERM
_MASKED_EQUAL = 7
_PROT_WRITE, _PROT_EXEC, _SHM_EXEC = 2, 4, 0o100000
# The argument of each call that has the protection, and the bits that are refused together.
_WRITE_EXECUTE = {
    "mmap": (2, _PROT_WRITE | _PROT_EXEC),
    "mprotect": (2, _PROT_EXEC),
    "pkey_mprotect": (2, _PROT_EXEC),
    "shmat": (2, _SHM_EXEC),
}


class _Comparison(ctypes.Structure):
    """libseccomp's scmp_arg_cmp."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("mask", ctypes.c_uint64), ("value", ctypes.c_uint64))


_seccomp = ctypes.CDLL("libseccomp.so.2")
_seccomp.seccomp_init.restype = ctypes.c_void_p
_seccomp.seccomp_init.argtypes = [ctypes.c_uint32]
_seccomp.seccomp_load.argtypes = [ctypes.c_void_p]
_seccomp.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
_seccomp.seccomp_rule_add_array.argtypes = [
    ctypes.c_void_p,
    ctypes.c_uint32,
    ctypes.c_int,
    ctypes.c_uint,
    ctypes.POINTER(_Comparison),
]


def _check(result: int, what: str) -> None:
    if result < 0:
        sys.exit(f"{what}: {os.strerror(-result)}")


def _deny_write_execute() -> None:
    """As MemoryDenyWriteExecute=."""
    denying = _seccomp.seccomp_init(_ALLOW)
    for name, (argument, bits) in _WRITE_EXECUTE.items():
        number = _seccomp.seccomp_syscall_resolve_name(name.encode())
        comparison = _Comparison(argument, _MASKED_EQUAL, bits, bits)
        _check(_seccomp.seccomp_rule_add_array(denying, _EPERM, number, 1, ctypes.byref(comparison)), name)
    _check(_seccomp.seccomp_load(denying), "the filter for memory")


def _allow_only(names: list[str]) -> None:
    allowing = _seccomp.seccomp_init(_EPERM)
    for name in names:
        number = _seccomp.seccomp_syscall_resolve_name(name.encode())
        # Negative for a call of another architecture.
        if number >= 0:
            _check(_seccomp.seccomp_rule_add_array(allowing, _ALLOW, number, 0, None), name)
    _check(_seccomp.seccomp_load(allowing), "the filter of system calls")


def main() -> None:
    calls, *command = sys.argv[1:]
    with open(calls) as file:
        names = file.read().split()
    # libseccomp sets no_new_privs before it loads a filter.
    _deny_write_execute()
    _allow_only(names)
    os.execv(command[0], command)


main()
