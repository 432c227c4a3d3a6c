"""The log-in to a device (RFC 4252, RFC 4256): stored secrets answer its questions first, the user the rest."""

from dataclasses import dataclass, replace
from typing import Any

from ssh.exceptions import AuthenticationDenied, AuthenticationPartial, BaseSSHError
from ssh.key import KeyImportError, import_privkey_base64
from ssh.session import SSH_AUTH_DENIED, SSH_AUTH_INFO, SSH_AUTH_PARTIAL, SSH_AUTH_SUCCESS

from netstacks.crypto.ssh_keys import readable_private_key
from netstacks.errors import DeviceError, DeviceLoginRefused, InvalidInput
from netstacks.recording.login_prompts import classify_prompt
from netstacks.terminal import libssh
from netstacks.terminal.ssh_connection import Connection
from netstacks.terminal.ssh_target import SshTarget

# libssh's bits for the methods that the server offers (libssh.h, SSH_AUTH_METHOD_*).
_METHODS = {
    0x02: "password",
    0x04: "publickey",
    0x08: "hostbased",
    0x10: "keyboard-interactive",
    0x20: "gssapi-with-mic",
}
# Keyboard-interactive comes before the password method: only there can a device ask for a new password.
_ORDER = ("publickey", "keyboard-interactive", "password")
# libssh's error when it does not offer a key to the device.
_NOT_ALLOWED = "not allowed to be used by PUBLICKEY_ACCEPTED_TYPES"
_MAX_ROUNDS = 30
# How often a device may accept an answer and require another method.
_MAX_STEPS = 10
# A longer text is not meant for a user; only its end is kept.
_MAX_TEXT = 4096
# How often the user may answer again after a refusal.
_TYPED_TRIES = 2

# libssh mistakes SSH_MSG_USERAUTH_PASSWD_CHANGEREQ (RFC 4252, section 8) for another message 60, and drops it.
_CHANGE_REQUESTED = b"rejected packet (type 60)"


@dataclass
class _Stored:
    """Secrets of the credential that this log-in has not sent yet; None when sent or absent."""

    user_name: str | None
    password: str | None
    old_password: str | None
    """The password again, for a device that asks for it before a change of the password."""


class Login:
    """One log-in. A stored secret is sent once, by any method; the user answers all other questions."""

    def __init__(self, connection: Connection, target: SshTarget) -> None:
        self._connection = connection
        self._session = connection.session
        self._target = target
        self._dialogue = connection.dialogue
        self._key = target.private_key
        self._stored = _Stored(target.username, target.password, target.password)
        self._sent: str | None = None
        """The stored secret that the current method has sent."""
        self._has_typed = False
        """Whether the user has typed an answer for the current method."""
        self._answered: set[str] = set()
        """The questions of the current method that a stored user name or password has answered."""
        self._is_refused = False
        """Whether the device has refused the stored password by asking its question again."""
        self._round = self._sent_round = self._typed_round = 0
        """Rounds of keyboard-interactive: the current, the last with a stored secret, the last with a typed answer."""
        self._typed_tries = 0
        self._new_password: str | None = None
        self._offered: set[str] = set()
        self._closed: set[str] = set()
        """Methods that the device has refused since the last accepted one."""

    def run(self) -> str | None:
        """Logs in. Returns the new password that the user has chosen because the device asked for one.

        Raises DeviceLoginRefused when the device refuses the stored or typed answers, else DeviceError.
        """
        result = self._try("the device to answer", self._session.userauth_none)
        steps = 0
        while result != SSH_AUTH_SUCCESS:
            method = self._next_method()
            if method is None:
                raise DeviceLoginRefused(self._refusal())
            stored = replace(self._stored)
            self._sent, self._has_typed, self._answered = None, False, set()
            result = self._attempt(method)
            if result == SSH_AUTH_PARTIAL:
                # Accepted, and another method is required as well (RFC 4252, section 5.1).
                self._closed.clear()
                steps += 1
                if steps == _MAX_STEPS:
                    raise DeviceError(f"{self._target.address} has accepted {steps} answers and still wants another")
            elif result == SSH_AUTH_DENIED:
                self._refused(method, stored)
        return self._new_password

    def _next_method(self) -> str | None:
        listed = self._session.userauth_list()
        self._offered = {name for bit, name in _METHODS.items() if listed & bit}
        # A device that lists no method may still accept a password.
        usable = (self._offered or {"keyboard-interactive", "password"}) - self._closed
        if self._key is None:
            usable.discard("publickey")
        return next((name for name in _ORDER if name in usable), None)

    def _attempt(self, method: str) -> int:
        match method:
            case "publickey":
                assert self._key is not None
                key, self._key = _read_key(self._key), None
                self._send_stored("private key")
                return self._try("the device to check the private key", self._session.userauth_publickey, key)
            case "password":
                password = self._take_password() or self._ask(f"Password for {self._target.username}: ", echo=False)
                what = "the device to check the password"
                return self._try(what, self._send_password, password)
            case _:
                return self._keyboard_interactive()

    def _send_password(self, password: str) -> int:
        """One step of the password method. Raises DeviceLoginRefused when the device requires a new password."""
        name, change = self._target.username, libssh.LogWatch(_CHANGE_REQUESTED)
        result = change.call(self._session.userauth_password, name, password)
        if change.line:
            raise DeviceLoginRefused(
                f"{self._target.address} requires a new password for {name} by SSH_MSG_USERAUTH_PASSWD_CHANGEREQ, which"
                " this controller's SSH library does not support: change it with another SSH client or on the device,"
                " then store it here",
                refused_secret=True,
            )
        return result

    def _take_password(self) -> str | None:
        password, self._stored.password = self._stored.password, None
        if password is not None:
            self._send_stored("password")
        return password

    def _send_stored(self, what: str) -> None:
        self._connection.hooks.before_secret()
        self._sent, self._sent_round = what, self._round

    def _keyboard_interactive(self) -> int:
        what = "the device to ask"
        for self._round in range(_MAX_ROUNDS):
            result = self._try(what, self._session.userauth_kbdint, self._target.username, "")
            if result != SSH_AUTH_INFO:
                return result
            self._show_texts(libssh.question_name(self._session), libssh.question_instruction(self._session))
            for number in range(self._session.userauth_kbdint_getnprompts()):
                # libssh writes the echo flag into these bytes. Two bytes: Python shares the objects of single bytes.
                echo = bytes(2)
                question = self._text(self._session.userauth_kbdint_getprompt(number, echo))
                answer = self._answer(question, echo=bool(echo[0]))
                self._session.userauth_kbdint_setanswer(number, answer.encode(self._target.encoding, "replace"))
            what = "the device to check the password" if self._sent else "the device to check the answer"
        raise DeviceError(f"{self._target.address} has asked {_MAX_ROUNDS} rounds of questions and does not decide")

    def _answer(self, question: str, *, echo: bool) -> str:
        self._check_for_refusal(question)
        stored = self._stored
        match classify_prompt(question, echo=echo):
            case "user name" if stored.user_name is not None:
                name, stored.user_name = stored.user_name, None
                self._answered.add(question)
                return name
            case "password" if (password := self._take_password()) is not None:
                self._answered.add(question)
                return password
            case "old password" if stored.old_password is not None:
                old, stored.old_password = stored.old_password, None
                self._send_stored("password")
                return old
            case "new password":
                self._new_password = self._ask(question, echo=echo)
                return self._new_password
        return self._ask(question, echo=echo)

    def _check_for_refusal(self, question: str) -> None:
        """Takes a repeated question as a refusal, if all answers so far were stored ones."""
        is_again = question in self._answered and self._sent is not None and self._round > self._sent_round
        if is_again and not self._has_typed:
            self._is_refused = True
            self._stored = _Stored(None, None, None)
            self._connection.hooks.secret_refused(self._refusal())
            self._dialogue.say("the device did not accept the stored password: type the right one, or press Ctrl-C")

    def _ask(self, question: str, *, echo: bool) -> str:
        self._has_typed, self._typed_round = True, self._round
        with self._connection.hooks.thinking():
            return self._dialogue.ask(question, echo=echo, check=self._check_connected)

    def _check_connected(self) -> None:
        """Raises DeviceError when the device has closed the connection during a question."""
        if self._connection.has_hung_up():
            raise DeviceError(f"{self._target.address} closed the connection while it waited for an answer")

    def _show_texts(self, *texts: Any) -> None:
        for words in filter(None, (self._text(text).strip() for text in texts)):
            self._dialogue.add_text(words.replace("\r\n", "\n").replace("\n", "\r\n") + "\r\n")

    def _text(self, text: bytes | str | None) -> str:
        """A text of the device, cut from the front: the question is at its end."""
        text = text.decode(self._target.encoding, "replace") if isinstance(text, bytes) else text or ""
        return text[-_MAX_TEXT:]

    def _try(self, what: str, call: Any, *arguments: Any) -> int:
        try:
            with self._connection.step(what):
                return self._connection.drive(call, *arguments)
        except AuthenticationPartial:
            return int(SSH_AUTH_PARTIAL)
        except AuthenticationDenied as error:
            if self._connection.is_broken:
                raise self._lost(error) from error
            if _NOT_ALLOWED in self._connection.why(error):
                raise DeviceError(self._key_not_allowed()) from error
            return int(SSH_AUTH_DENIED)
        except BaseSSHError as error:
            raise self._lost(error) from error
        finally:
            self._show_texts(self._connection.new_banner())

    def _lost(self, error: BaseSSHError) -> DeviceError:
        target = self._target
        why = self._connection.explain(error)
        if self._sent is not None and self._connection.has_refused_by_disconnect():
            return DeviceLoginRefused(
                f"{target.address} ended the log-in of {target.username}: {why}", refused_secret=not self._has_typed
            )
        return DeviceError(f"{target.address} ended the log-in of {target.username}: {why}")

    def _key_not_allowed(self) -> str:
        return (
            f"{self._target.address} takes the private key of {self._target.username} with SHA-1 only, which the level"
            " modern does not allow: set the device's algorithms to legacy, or use an Ed25519 key"
        )

    def _refused(self, method: str, stored: _Stored) -> None:
        """Handles the refusal of a method. Raises DeviceLoginRefused unless there is another way.

        The user may type an answer again. A stored secret is sent again only if the device went on to ask for something
        else after it.
        """
        if self._has_typed and self._typed_tries < _TYPED_TRIES:
            self._typed_tries += 1
            went_on = self._typed_round > self._sent_round and not self._is_refused
            self._stored = stored if went_on else _Stored(stored.user_name, None, None)
            self._new_password = None
            self._dialogue.say("the device did not accept this: answer once more, or press Ctrl-C")
            return
        self._closed.add(method)
        has_another = method == "publickey" and self._stored.password is not None
        if (self._sent is not None or self._has_typed) and not has_another:
            raise DeviceLoginRefused(self._refusal(), refused_secret=not self._has_typed)

    def _refusal(self) -> str:
        target = self._target
        stored = [name for name, text in (("private key", target.private_key), ("password", target.password)) if text]
        what = (
            "the typed answer"
            if self._has_typed
            else " and the ".join(["the " + name for name in stored][:1] + stored[1:])
        )
        offers = ", ".join(sorted(self._offered)) or "no method by name"
        return f"{target.address} refused {what or 'the log-in'} of {target.username} (it offers {offers})"


def _read_key(text: str) -> Any:
    try:
        # Former versions stored keys as they were pasted.
        return import_privkey_base64(readable_private_key(text).encode())
    except (InvalidInput, KeyImportError) as error:
        raise DeviceError(f"the credential's private key cannot be read: {error}") from error
