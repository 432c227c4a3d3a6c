"""Log-ins as a dialogue: the answers of stored secrets, the prompts for the user, and the failures."""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from netstacks import greenlets
from netstacks.errors import DeviceError, DeviceLoginRefused, DeviceUnreachable, OpeningAbandoned
from netstacks.terminal import ssh_channel, ssh_connection
from netstacks.terminal.dialling import dial
from netstacks.terminal.dialogue import Dialogue
from netstacks.terminal.shell import Shell
from netstacks.terminal.ssh_client import open_shell
from netstacks.terminal.ssh_connection import Connection, Hooks
from netstacks.terminal.ssh_target import SshTarget
from tests.waits import until
from tests.zoo.algorithms import Algorithms
from tests.zoo.scripts import REFUSED, Console, by_password, in_turn, offering, password, public_key, questions
from tests.zoo.server import Animal, Request, Script, ScriptedServer, Visit

SECRET = "s3cret"


class User:
    """A terminal that answers each question with the next of its answers."""

    def __init__(self, *answers: str) -> None:
        self.seen = b""
        self.was_asked = False
        self.dialogue = Dialogue()
        self._answers = list(answers)
        self.dialogue.join(self)

    def show(self, data: bytes) -> None:
        self.seen += data
        if self.was_asked and self._answers and data.rstrip().endswith((b":", b"?", b"]")):
            greenlets.spawn("user", self.dialogue.input, self._answers.pop(0).encode() + b"\r")

    def expect_keys(self) -> None:
        self.was_asked = True

    def kept(self) -> bytes:
        """What one that joins now is shown: all but the progress of waits, which a machine that pauses shows, too."""
        late = User()
        self.dialogue.join(late)
        return late.seen


@contextlib.contextmanager
def device(log_in: Script, session: Script | None = None, **facts: Any) -> Iterator[ScriptedServer]:
    with ScriptedServer(Animal(log_in, session or Console(greeting="welcome\r\n"), **facts)) as server:
        yield server
        assert server.failures == []


def log_in_to(server: ScriptedServer, user: User | None = None, **hooks: Any) -> Shell:
    target = SshTarget(server.host, server.port, "ada", password=SECRET)
    return open_to(target, user, **hooks)


def open_to(target: SshTarget, user: User | None = None, **hooks: Any) -> Shell:
    return open_shell(target, Hooks(lambda found: None, **hooks), (user or User()).dialogue)


def is_welcomed(shell: Shell) -> bool:
    output = b""
    while b"welcome" not in output:
        piece = shell.read(1000)
        assert piece != b"", shell.close_reason
        output += piece or b""
    shell.close()
    return True


@pytest.fixture(scope="module")
def private_key() -> str:
    key = ed25519.Ed25519PrivateKey.generate()
    form = serialization.PrivateFormat.OpenSSH
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def asking(*rounds: tuple[tuple[str, bool, str], ...], instruction: str = "") -> Script:
    return offering("keyboard-interactive", keyboard_interactive=questions(*rounds, instruction=instruction))


# Answers from stored secrets


@pytest.mark.parametrize(
    "prompt", ["Password: ", "Passwort:", "ada's password:", "Mot de passe :", "Пароль:", "密码:", ""]
)
def test_a_hidden_question_for_a_password_is_answered_with_the_stored_one(prompt: str) -> None:
    with device(asking(((prompt, False, SECRET),))) as server:
        user = User()
        assert is_welcomed(log_in_to(server, user))
        assert not user.was_asked


def test_a_question_for_the_user_name_is_answered_with_the_stored_one() -> None:
    with device(asking((("Username: ", True, "ada"), ("Password: ", False, SECRET)))) as server:
        assert is_welcomed(log_in_to(server))


def test_a_device_that_lists_no_method_is_tried_with_the_password() -> None:
    with device(offering(password=password(SECRET))) as server:
        assert is_welcomed(log_in_to(server))


# Prompts for the user


def test_a_code_is_asked_of_the_user_and_the_stored_password_is_not_sent_for_it() -> None:
    with device(asking((("Password: ", False, SECRET),), (("Enter PASSCODE: ", False, "123456"),))) as server:
        user = User("123456")
        assert is_welcomed(log_in_to(server, user))
        assert server.last.answers == [SECRET, "123456"]
        assert b"Enter PASSCODE: " in user.seen
        assert b"123456" not in user.seen


def test_a_visible_answer_is_shown_while_it_is_typed() -> None:
    with device(asking((("Which realm?", True, "lab"),), instruction="Choose lab or prod")) as server:
        user = User("lab")
        assert is_welcomed(log_in_to(server, user))
        assert b"Choose lab or prod\r\nWhich realm?lab\r\n" in user.seen


def test_a_partial_success_goes_on_with_what_is_wanted_next() -> None:
    first = (("password",), {"password": password(SECRET)})
    second = (("keyboard-interactive",), {"keyboard_interactive": questions((("Code: ", False, "42"),))})
    with device(in_turn(first, second)) as server:
        assert is_welcomed(log_in_to(server, User("42")))


def test_a_password_behind_a_key_is_asked_when_none_is_stored(private_key: str) -> None:
    first = (("publickey",), {"publickey": public_key("ssh-ed25519")})
    second = (("password",), {"password": password("typed")})
    with device(in_turn(first, second)) as server:
        target = SshTarget(server.host, server.port, "ada", private_key=private_key)
        assert is_welcomed(open_to(target, User("typed")))


def test_a_typed_code_that_is_wrong_may_be_corrected() -> None:
    with device(asking((("Password: ", False, SECRET),), (("Code: ", False, "2"),))) as server:
        user = User("1", "2")
        assert is_welcomed(log_in_to(server, user))
        assert b"did not accept this" in user.seen


def test_a_stored_password_is_not_sent_again_when_it_may_have_been_what_was_wrong() -> None:
    """Both were asked for at once, so the device's no may be about either."""
    with device(asking((("Password: ", False, "changed"), ("Code: ", False, "2")))) as server:
        assert is_welcomed(log_in_to(server, User("1", "changed", "2")))
        assert server.last.answers == [SECRET, "1", "changed", "2"]


def test_a_device_that_is_never_content_is_given_up() -> None:
    def log_in(visit: Visit) -> None:
        while True:
            visit.next_log_in()
            visit.fail("keyboard-interactive", partial=True)

    with device(log_in) as server, pytest.raises(DeviceError, match="accepted 10 answers and still wants another"):
        log_in_to(server)


def test_a_device_that_hangs_up_ends_its_own_question() -> None:
    def log_in(visit: Visit) -> None:
        visit.next_log_in()
        visit.fail("keyboard-interactive")
        visit.next_log_in()
        visit.ask(("Code: ", False))

    class Asked(User):
        def expect_keys(self) -> None:
            greenlets.spawn("device", server.last.close)

    with device(log_in) as server, pytest.raises(DeviceError, match="closed the connection while it waited"):
        log_in_to(server, Asked())


@pytest.mark.parametrize("echo", [True, False])
def test_a_question_of_any_length_is_cheap(echo: bool) -> None:
    question = "a@" * 60_000 + " Code: "
    with device(asking(((question, echo, "7"),))) as server:
        assert is_welcomed(log_in_to(server, User("7")))


def test_a_user_name_that_the_library_refuses_is_told() -> None:
    with device(by_password(SECRET)) as server:
        target = SshTarget(server.host, server.port, "-oProxy", password=SECRET)
        with pytest.raises(DeviceError, match="this controller's SSH library does not accept the user name"):
            open_to(target)


def test_a_host_name_with_an_underscore_is_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    with device(by_password(SECRET)) as server:
        monkeypatch.setattr(
            "netstacks.terminal.ssh_connection.dial", lambda host, port, **_: dial("127.0.0.1", port, **_)
        )
        assert is_welcomed(open_to(SshTarget("core_sw1.lab", server.port, "ada", password=SECRET)))


def test_a_new_password_is_chosen_by_the_user_and_handed_on() -> None:
    rounds = (
        (("Password: ", False, SECRET),),
        (("Current password: ", False, SECRET),),
        (("New password: ", False, "fresh"), ("Retype new password: ", False, "fresh")),
    )
    chosen: list[str] = []
    with device(asking(*rounds)) as server:
        assert is_welcomed(log_in_to(server, User("fresh", "fresh"), on_new_password=chosen.append))
    assert chosen == ["fresh"]


def test_ctrl_c_at_a_question_gives_the_log_in_up() -> None:
    with device(asking((("Code: ", False, "2"),))) as server, pytest.raises(OpeningAbandoned, match="cancelled"):
        log_in_to(server, User("\x03"))


# Refusals


@pytest.mark.parametrize("methods", [("password",), ("keyboard-interactive",), ("password", "keyboard-interactive")])
def test_a_refused_password_is_sent_once(methods: tuple[str, ...]) -> None:
    checks = {"password": password("other"), "keyboard_interactive": questions((("Password: ", False, "other"),))}
    with device(offering(*methods, **checks)) as server:
        with pytest.raises(DeviceLoginRefused, match="refused the password of ada") as refusal:
            log_in_to(server)
        assert refusal.value.refused_secret
        sent = [*server.last.answers, *(each.secret for each in server.attempts if each.secret)]
        assert sent == [SECRET]


class AskingAgain:
    """A device that asks for a wrong password once more in the same exchange, after `first` was asked."""

    def __init__(self, right: str, *first: tuple[str, bool]) -> None:
        self._right = right
        self._first = first

    def __call__(self, visit: Visit, request: Request) -> bool:
        answers: list[str] = []
        for _ in range(2):
            for question in (*self._first, ("Password: ", False)):
                answers = visit.ask(question)
            if answers == [self._right]:
                return True
        return False


def asking_again(right: str, *first: tuple[str, bool]) -> Script:
    return offering("keyboard-interactive", keyboard_interactive=AskingAgain(right, *first))


def test_a_stored_password_that_is_asked_for_again_is_refused_and_the_user_types_it() -> None:
    refusals: list[str] = []
    with device(asking_again("changed")) as server:
        user = User("changed")
        assert is_welcomed(log_in_to(server, user, secret_refused=refusals.append))
        assert server.last.answers == [SECRET, "changed"]
    assert b"did not accept the stored password" in user.seen
    assert len(refusals) == 1
    assert "refused the password of ada" in refusals[0]


def test_a_stored_password_is_refused_where_the_user_name_is_asked_for_again_too() -> None:
    refusals: list[str] = []
    with device(asking_again("changed", ("Username: ", True))) as server:
        assert is_welcomed(log_in_to(server, User("ada", "changed"), secret_refused=refusals.append))
        assert server.last.answers == ["ada", SECRET, "ada", "changed"]
    assert len(refusals) == 1


def test_a_stored_password_that_was_asked_for_again_is_not_sent_in_the_next_exchange() -> None:
    refusals: list[str] = []
    with device(asking_again("changed")) as server:
        assert is_welcomed(log_in_to(server, User("mistyped", "changed"), secret_refused=refusals.append))
        assert server.last.answers == [SECRET, "mistyped", "changed"]
    assert len(refusals) == 1


@pytest.mark.parametrize(
    ("rounds", "typed"),
    [
        ([(("Password: ", False, SECRET),), (("LDAP password: ", False, "2"),)], ["2"]),
        ([(("Password: ", False, SECRET), ("Password: ", False, "2"))], ["2"]),
        # The code may be what was wrong.
        ([(("Password: ", False, SECRET), ("Code: ", False, "1")), (("Password: ", False, "2"),)], ["1", "2"]),
    ],
)
def test_another_question_for_a_password_refuses_nothing(rounds: Any, typed: list[str]) -> None:
    refusals: list[str] = []
    with device(asking(*rounds)) as server:
        assert is_welcomed(log_in_to(server, User(*typed), secret_refused=refusals.append))
    assert refusals == []


def test_a_password_change_that_the_library_does_not_know_is_told() -> None:
    def log_in(visit: Visit) -> None:
        visit.next_log_in()
        visit.fail("password")
        visit.next_log_in()
        visit.ask_for_a_new_password("Your password has expired")

    with device(log_in) as server, pytest.raises(DeviceLoginRefused, match="requires a new password for ada"):
        log_in_to(server)


def test_a_disconnect_is_told_in_the_devices_words() -> None:
    def log_in(visit: Visit) -> None:
        visit.next_log_in()
        visit.fail("password")
        visit.next_log_in()
        visit.disconnect("Maximum number of sessions reached", 12)

    with device(log_in) as server:
        with pytest.raises(DeviceError, match='says "Maximum number of sessions reached"') as refusal:
            log_in_to(server)
        assert not isinstance(refusal.value, DeviceLoginRefused)


def test_a_disconnect_as_the_answer_to_a_password_is_a_refusal() -> None:
    def log_in(visit: Visit) -> None:
        visit.next_log_in()
        visit.fail("password")
        visit.next_log_in()
        visit.disconnect("Too many authentication failures", 2)

    with device(log_in) as server:
        with pytest.raises(DeviceLoginRefused, match="Too many authentication failures") as refusal:
            log_in_to(server)
        assert refusal.value.refused_secret


@pytest.mark.parametrize("end", [Visit.reset, Visit.hang_up], ids=["RST", "FIN"])
def test_a_connection_that_ends_during_the_log_in_is_told(end: Callable[[Visit], None]) -> None:
    def log_in(visit: Visit) -> None:
        visit.next_log_in()
        visit.fail("password")
        visit.next_log_in()
        end(visit)

    with device(log_in) as server, pytest.raises(DeviceError, match="ended the log-in of ada"):
        log_in_to(server)


# Messages of the device


def test_a_banner_is_part_of_the_devices_words() -> None:
    def log_in(visit: Visit) -> None:
        visit.banner("Authorised use only\r\n")
        by_password(SECRET)(visit)

    with device(log_in) as server:
        user = User()
        assert is_welcomed(log_in_to(server, user))
        assert user.dialogue.words == b"Authorised use only\r\n"
        assert user.kept() == b""


def test_a_banner_is_shown_in_front_of_a_question() -> None:
    def log_in(visit: Visit) -> None:
        visit.banner("A code was sent to you")
        asking((("Code: ", False, "7"),))(visit)

    with device(log_in) as server:
        user = User("7")
        assert is_welcomed(log_in_to(server, user))
        assert b"A code was sent to you\r\nCode: " in user.seen
        assert user.dialogue.words_shown == len(user.dialogue.words)


# Waiting for devices and users


def test_a_slow_device_is_waited_for_and_the_user_is_told() -> None:
    with device(offering("password", password=password(SECRET, after_secs=3.5))) as server:
        user = User()
        assert is_welcomed(log_in_to(server, user))
        # A machine that pauses shows other seconds.
        assert re.search(rb"\[waiting for the device to check the password, \d+ s \(Ctrl-C cancels\)\]", user.seen)


def test_a_device_that_takes_longer_than_its_entry_allows_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    passed_secs = 0.0

    def log_in(visit: Visit) -> None:
        nonlocal passed_secs
        while visit.next_log_in().method != "password":
            visit.fail("password")
        passed_secs = 60.0
        visit.stall(600)

    monkeypatch.setattr(ssh_connection, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + passed_secs))
    with device(log_in) as server:
        target = SshTarget(server.host, server.port, "ada", password=SECRET, patience_secs=60)
        with pytest.raises(DeviceUnreachable, match="60 s were not enough for the device to check the password"):
            open_to(target)


def test_ctrl_c_gives_a_slow_log_in_up() -> None:
    def press() -> None:
        if server.attempts:
            user.dialogue.input(b"\x03")

    with device(offering("password", password=password(SECRET, after_secs=600))) as server:
        user = User()
        with pytest.raises(OpeningAbandoned, match="cancelled"):
            log_in_to(server, user, on_wait=press)


# Terminals and shells that are not given


@pytest.mark.parametrize("answer", ["refused", "silent"])
def test_a_terminal_that_is_not_given_is_told_and_the_shell_goes_on(
    answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if answer == "silent":
        monkeypatch.setattr(ssh_channel, "_TERMINAL_SECS", 1.0)
    with device(by_password(SECRET), Console(greeting="welcome\r\n", requests={"pty-req": answer})) as server:
        user = User()
        assert is_welcomed(log_in_to(server, user))
        assert b"no terminal type" in user.seen


def test_a_shell_that_prints_and_never_answers_is_used() -> None:
    with device(by_password(SECRET), Console(greeting="welcome\r\n", requests={"shell": "silent"})) as server:
        assert is_welcomed(log_in_to(server))


def test_a_refused_shell_is_told() -> None:
    console = Console(requests={"shell": "refused"})
    with device(by_password(SECRET), console) as server, pytest.raises(DeviceError, match="refused to start a shell"):
        log_in_to(server)


def test_every_change_of_the_window_reaches_the_device_by_itself() -> None:
    with device(by_password(SECRET), Console(greeting="welcome\r\n")) as server:
        shell = log_in_to(server)
        for cols in (100, 110, 120):
            shell.resize(cols, 40)
        until(lambda: len(server.last.windows) == 3, "the last window")
        assert server.last.windows == [(100, 40), (110, 40), (120, 40)]
        shell.close()


# Algorithms


@pytest.mark.parametrize(
    ("lists", "needed"),
    [
        ({"kex": ("diffie-hellman-group14-sha1",)}, "legacy"),
        ({"kex": ("diffie-hellman-group1-sha1",)}, "antique"),
        ({"ciphers": ("aes128-cbc",)}, "legacy"),
        ({"ciphers": ("3des-cbc",)}, "antique"),
        ({"macs": ("hmac-sha1",)}, "legacy"),
        ({"host_key": ("ssh-rsa",)}, "legacy"),
    ],
)
def test_the_error_names_the_level_that_would_help_and_it_helps(lists: dict[str, Any], needed: str) -> None:
    with device(by_password(SECRET), algorithms=Algorithms(**lists)) as server:
        target = SshTarget(server.host, server.port, "ada", password=SECRET)
        (name,) = next(iter(lists.values()))
        with pytest.raises(DeviceUnreachable, match=f"offers only {name} .*set the device's algorithms to {needed}"):
            open_to(target)
        assert is_welcomed(open_to(replace(target, algorithms=needed)))  # type: ignore[arg-type]


@pytest.mark.parametrize("lists", [{"macs": ("hmac-md5",)}, {"macs": ("hmac-sha1-96",)}])
def test_an_algorithm_that_no_level_allows_is_told(lists: dict[str, Any]) -> None:
    with device(by_password(SECRET), algorithms=Algorithms(**lists)) as server:
        target = SshTarget(server.host, server.port, "ada", password=SECRET, algorithms="antique")
        with pytest.raises(DeviceUnreachable, match="no level helps"):
            open_to(target)


def test_the_title_of_a_question_is_shown_above_it() -> None:
    def log_in(visit: Visit) -> None:
        visit.next_log_in()
        visit.fail("keyboard-interactive")
        visit.next_log_in()
        visit.ask(("Code: ", False), name="Second factor", instruction="From your app")
        visit.succeed()

    with device(log_in) as server:
        user = User("7")
        assert is_welcomed(log_in_to(server, user))
        assert b"Second factor\r\nFrom your app\r\nCode: " in user.seen


@pytest.mark.parametrize("requests", [{}, {"shell": REFUSED}], ids=["confirmed", "refused"])
def test_an_answer_about_the_shell_counts_whichever_call_receives_it(
    requests: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Connection.advance

    def slow_step(*arguments: Any) -> int:
        result = step(*arguments)
        greenlets.sleep(0.3)  # The device's answer arrives before the next call.
        return result

    monkeypatch.setattr(Connection, "advance", staticmethod(slow_step))
    # A console server: it prints nothing before the first key.
    with device(by_password(SECRET), Console(prompt="", requests=requests)) as server:
        target = SshTarget(server.host, server.port, "ada", password=SECRET, patience_secs=60)
        user = User()
        if requests:
            with pytest.raises(DeviceError, match="refused to start a shell"):
                open_to(target, user)
        else:
            open_to(target, user).close()
            assert user.kept() == b""
