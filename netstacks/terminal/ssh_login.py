"""Logging in to a device: each method that the credential has and the device offers, in order."""

from typing import TYPE_CHECKING, Any

from ssh.exceptions import AuthenticationDenied, AuthenticationPartial, BaseSSHError
from ssh.key import KeyImportError, import_privkey_base64
from ssh.session import SSH_AUTH_INFO, SSH_AUTH_SUCCESS

from netstacks.errors import DeviceError, DeviceLoginRefused

if TYPE_CHECKING:
    from netstacks.terminal.ssh import Connection, SshTarget

# libssh's bits for what the server offers (libssh.h, SSH_AUTH_METHOD_*).
_METHODS = {0x02: "password", 0x04: "publickey", 0x10: "keyboard-interactive"}
_MAX_ROUNDS = 10


def log_in(connection: "Connection", target: "SshTarget") -> None:
    """Raises DeviceLoginRefused when no method succeeds, DeviceError for a private key that cannot be read."""
    session = connection.session
    if _succeeds(connection, session.userauth_none):
        return
    offered = {name for bit, name in _METHODS.items() if session.userauth_list() & bit}
    if target.private_key and "publickey" in offered:
        key = _read_key(target.private_key)
        if _succeeds(connection, session.userauth_publickey, key):
            return
    if target.password is not None:
        if "password" in offered and _succeeds(connection, session.userauth_password, target.username, target.password):
            return
        if "keyboard-interactive" in offered and _answer_prompts(connection, target.username, target.password):
            return
    given = " and ".join(name for name in ("private key", "password") if getattr(target, name.replace(" ", "_")))
    raise DeviceLoginRefused(
        f"{target.address} refused the {given or 'log-in'} of {target.username}"
        f" (it offers {', '.join(sorted(offered)) or 'nothing we know'}): check the credential"
    )


def _succeeds(connection: "Connection", call: Any, *arguments: Any) -> bool:
    try:
        return bool(connection.drive(call, *arguments) == SSH_AUTH_SUCCESS)
    except (AuthenticationDenied, AuthenticationPartial):
        return False
    except BaseSSHError as error:
        raise DeviceError("the connection was lost while logging in") from error


def _answer_prompts(connection: "Connection", username: str, password: str) -> bool:
    """Keyboard-interactive (RFC 4256): prompts that hide what is typed get the password, others nothing."""
    session = connection.session
    try:
        for _ in range(_MAX_ROUNDS):
            if connection.drive(session.userauth_kbdint, username, "") != SSH_AUTH_INFO:
                return True
            for number in range(session.userauth_kbdint_getnprompts()):
                answer = password if _hides_what_is_typed(session, number) else ""
                session.userauth_kbdint_setanswer(number, answer.encode())
    except (AuthenticationDenied, AuthenticationPartial):
        return False
    except BaseSSHError as error:
        raise DeviceError("the connection was lost while logging in") from error
    return False


def _hides_what_is_typed(session: Any, number: int) -> bool:
    # libssh writes its answer into these bytes. Two of them: Python shares one object for each single byte.
    echo = bytes(2)
    session.userauth_kbdint_getprompt(number, echo)
    return echo[0] == 0


def _read_key(text: str) -> Any:
    try:
        return import_privkey_base64(text.encode())
    except KeyImportError as error:
        raise DeviceError("the credential's private key cannot be read: store it again") from error
