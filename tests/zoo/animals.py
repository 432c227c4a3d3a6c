"""Scripted devices: what network gear does over SSH, in a few lines each, and what a user sees of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.zoo import protocol, scripts
from tests.zoo.algorithms import Algorithms
from tests.zoo.scripts import (
    REFUSED,
    SILENT,
    Channel,
    Console,
    by_password,
    in_turn,
    offering,
    password,
    public_key,
    questions,
)
from tests.zoo.server import Animal, ScriptedServer, Visit
from tests.zoo.wire_format import string

USER, SECRET = "ada", "the stored secret"
PROMPT = "zoo# "


@dataclass(frozen=True)
class Case:
    """An animal, what the device's entry says of it, and what a user sees and types until there is a prompt.

    `says` are texts that are shown on the way, `talk` is what is asked of the user and what they answer. With `refusal`
    no session comes of it, and all of these texts are shown instead. `noted` looks at what the device
    has been sent by then.
    """

    animal: Animal
    device: dict[str, Any] = field(default_factory=dict)
    key: str = ""
    says: tuple[str, ...] = ()
    talk: tuple[tuple[str, str], ...] = ()
    refusal: tuple[str, ...] = ()
    noted: Callable[[ScriptedServer], Any] = lambda server: None
    resizes: bool = True
    plays: Callable[[Any, ScriptedServer], None] | None = None
    """What is done in the session instead of the usual."""


CASES: dict[str, Case] = {}


def exhibit(name: str, animal: Animal, **members: Any) -> None:
    CASES[name] = Case(animal, **members)


def usual(**members: Any) -> Animal:
    """A device without peculiarities but for these."""
    return Animal(**{"log_in": by_password(SECRET), "session": Console(prompt=PROMPT), **members})


def asked(*rounds: tuple[tuple[str | bytes, bool, str], ...], instruction: str = "") -> Animal:
    """Logs in by keyboard-interactive."""
    return usual(
        log_in=offering("keyboard-interactive", keyboard_interactive=questions(*rounds, instruction=instruction))
    )


def once(server: ScriptedServer) -> None:
    """No device is bothered with a second log-in."""
    assert len(server.visits) == 1
    assert len(server.attempts) <= 1


LEGACY = {"algorithms": "legacy"}
ANTIQUE = {"algorithms": "antique"}

# --- Key exchange and algorithms ---

# Arista EOS, Junos since 18, NX-OS, IOS-XE since 17: nothing special; ECDSA host keys are common.
exhibit("modern", usual(version="SSH-2.0-OpenSSH_7.8"))
exhibit("ecdsa-host-key", usual(algorithms=Algorithms(host_key=("ecdsa-sha2-nistp256",))))
exhibit("rsa-sha2-host-key", usual(algorithms=Algorithms(host_key=("rsa-sha2-512", "rsa-sha2-256"))))

# Cisco ASA 8 and 9.1, IOS 15, Junos 12, ProCurve with K.15 firmware: group 14 with SHA-1, CBC.
_ASA = Algorithms(
    kex=("diffie-hellman-group14-sha1",), host_key=("ssh-rsa",), ciphers=("aes128-cbc",), macs=("hmac-sha1",)
)
exhibit("asa", usual(version="SSH-2.0-Cisco-1.25", algorithms=_ASA), device=LEGACY)
exhibit(
    "asa-at-modern",
    usual(version="SSH-2.0-Cisco-1.25", algorithms=_ASA),
    refusal=("diffie-hellman-group14-sha1", "legacy"),
    noted=once,
)

# Cisco IOS 12, Catalyst 2950 and 3550, Dell PowerConnect, old Alcatel OmniSwitch: group 1, 3DES, a short RSA key.
_IOS_12 = Algorithms(
    kex=("diffie-hellman-group1-sha1",),
    host_key=("ssh-rsa",),
    ciphers=("3des-cbc",),
    macs=("hmac-sha1", "hmac-sha1-96", "hmac-md5"),
    rsa_bits=1024,
)
exhibit("ios-12", usual(version="SSH-1.99-Cisco-1.25", algorithms=_IOS_12), device=ANTIQUE)
exhibit(
    "ios-12-at-legacy",
    usual(version="SSH-1.99-Cisco-1.25", algorithms=_IOS_12),
    device=LEGACY,
    refusal=("diffie-hellman-group1-sha1", "antique"),
)

# MikroTik RouterOS 6, Huawei VRP 5, Extreme XOS 15: the group is exchanged.
exhibit("gex-sha1", usual(algorithms=Algorithms(kex=("diffie-hellman-group-exchange-sha1",))), device=LEGACY)
# Comware 5, IronWare 7: the exchanged group has 1024 bits, but there is a fixed one to choose instead.
exhibit(
    "gex-1024-or-group1",
    usual(
        algorithms=Algorithms(kex=("diffie-hellman-group-exchange-sha1", "diffie-hellman-group1-sha1"), group_bits=1024)
    ),
    device=ANTIQUE,
)
exhibit(
    "gex-1024",
    usual(algorithms=Algorithms(kex=("diffie-hellman-group-exchange-sha1",), group_bits=1024)),
    device=ANTIQUE,
    refusal=("1024",),
)

# ScreenOS, old iLO and Extreme XOS 12 have DSS keys only; what libssh does not know at any level.
exhibit(
    "dss-host-key", usual(algorithms=Algorithms(host_key=("ssh-dss",))), device=ANTIQUE, refusal=("ssh-dss", "no level")
)
# Huawei VRP 3, 3Com: MD5. Some UPS cards: a MAC that is cut short.
exhibit("md5-mac", usual(algorithms=Algorithms(macs=("hmac-md5",))), device=ANTIQUE, refusal=("hmac-md5", "no level"))
exhibit(
    "short-mac",
    usual(algorithms=Algorithms(macs=("hmac-sha1-96",))),
    device=ANTIQUE,
    refusal=("hmac-sha1-96", "no level"),
)
# Cisco IOS before 12.4, set up in a hurry.
exhibit("rsa-768", usual(algorithms=Algorithms(host_key=("ssh-rsa",), rsa_bits=768)), device=ANTIQUE)
exhibit(
    "rsa-768-at-legacy",
    usual(algorithms=Algorithms(host_key=("ssh-rsa",), rsa_bits=768)),
    device=LEGACY,
    refusal=("RSA host key has 768 bits", "antique"),
)

# --- The version line ---

# APC and Eaton UPS cards, Raritan and old Opengear console servers: the CPU takes its time, and a notice comes first.
exhibit(
    "late-version",
    usual(before_version=lambda visit: (visit.write(b"Welcome to the UPS\r\n\r\n"), visit.stall(12))),
)
# Cisco IOS: version 1 and 2, and a line with blanks. Nokia SR OS and Ericsson write a comment behind it.
exhibit("version-1.99", usual(version="SSH-1.99-Cisco-1.25"))
exhibit("version-comment", usual(version="SSH-2.0-Server (build 7, tpsda)"))
# CatOS, PIX 6: version 1 only.
exhibit("version-1", usual(version="SSH-1.5-Cisco-1.25"), refusal=("SSH",))


def _never_speaks(visit: Visit) -> None:
    visit.stall(60)
    visit.hang_up()


# A console server's port whose far end is switched off; a firewall that answers for what it protects.
exhibit("silent", usual(before_version=_never_speaks), device={"patience_secs": 5}, refusal=("5 s",), noted=once)
# Moxa: the wrong port, and something else is behind it.
exhibit("telnet", usual(version="\r\nlogin:"), device={"patience_secs": 5}, refusal=("5 s",))

# --- Passwords and questions ---

# IOS-XE and NX-OS with AAA, FreeBSD-based gear, Palo Alto, everything with PAM: a question, and in one's own language.
for _name, _prompt in {
    "english": "Password: ",
    "user-at-host": "(ada@10.0.0.1) Password: ",
    "german": "Passwort: ",
    "french": "Mot de passe : ",
    "spanish": "Contraseña: ",
    "russian": "Пароль: ",
    "chinese": "密码：",
    "japanese": "パスワード: ",
}.items():
    exhibit(f"asks-{_name}", asked(((_prompt, False, SECRET),)), noted=once)
# The same, and not in UTF-8.
exhibit(
    "asks-latin-1", asked((("Contraseña: ".encode("iso-8859-1"), False, SECRET),)), device={"encoding": "iso-8859-1"}
)
# Brocade, Nokia SR OS with TACACS+: the name is asked for once more, in a round of its own.
exhibit("asks-user-name", asked((("Username: ", True, USER),), (("Password: ", False, SECRET),)))
exhibit("asks-both-at-once", asked((("login: ", True, USER), ("Password: ", False, SECRET))))
# PAM modules with something to say: a round without a question.
exhibit("empty-round", asked((("Password: ", False, SECRET),), (), instruction="Authorised staff only"))
# RADIUS with RSA SecurID: the code comes second.
exhibit(
    "token-code",
    asked((("Password: ", False, SECRET),), (("Enter PASSCODE: ", False, "123456"),)),
    talk=(("Enter PASSCODE: ", "123456"),),
)
# Duo: a menu, and an answer that is shown.
exhibit(
    "duo",
    asked(
        (("Password: ", False, SECRET),),
        (("Passcode or option (1-2): ", True, "1"),),
        instruction="Duo two-factor login for ada\n\n 1. Duo Push to XXX-7788\n 2. SMS passcodes\n",
    ),
    says=("Duo Push to XXX-7788",),
    talk=(("Passcode or option (1-2): ", "1"),),
)
# Junos and Linux with AuthenticationMethods: a key and a password, or a password and a code.
exhibit(
    "key-then-password",
    usual(
        log_in=in_turn(
            (("publickey",), {"publickey": public_key("ssh-ed25519")}),
            (("password",), {"password": password(SECRET)}),
        )
    ),
    key="ed25519",
    # A credential with a key has no password: the user has one.
    talk=(("assword", SECRET),),
)
exhibit(
    "password-then-code",
    usual(
        log_in=in_turn(
            (("password",), {"password": password(SECRET)}),
            (
                ("keyboard-interactive",),
                {"keyboard_interactive": questions((("Verification code: ", False, "424242"),))},
            ),
        )
    ),
    talk=(("Verification code: ", "424242"),),
)
# Foundry IronWare, old OmniSwitch: says that it offers nothing, and takes a password.
exhibit("no-methods", usual(log_in=offering(password=password(SECRET))))
# H3C Comware, Dell PowerConnect with `ip ssh password-auth` off: lets everyone in and asks in its terminal.
exhibit("no-login", usual(log_in=lambda visit: (visit.next_log_in(), visit.succeed())))
# TACACS+ behind a slow line, RADIUS with a first server that is down.
exhibit("slow-aaa", usual(log_in=by_password(SECRET, after_secs=25)), says=("waiting for the device",), noted=once)
exhibit(
    "too-slow-aaa",
    usual(log_in=by_password(SECRET, after_secs=30)),
    device={"patience_secs": 5},
    refusal=("5 s",),
    noted=once,
)
# The wrong password. Cisco ends the connection after it, others offer another try.
exhibit("refuses", usual(log_in=by_password("another")), refusal=("refused", USER), noted=once)
exhibit(
    "refuses-answers",
    asked((("Password: ", False, "another"),)),
    refusal=("refused", USER),
    noted=once,
)


def _refuse_and_disconnect(visit: Visit) -> None:
    visit.next_log_in()
    visit.fail("password")
    visit.next_log_in()
    visit.disconnect("Too many authentication failures", 2)


exhibit(
    "refuses-and-disconnects",
    usual(log_in=_refuse_and_disconnect),
    refusal=("Too many authentication failures",),
    noted=once,
)


def _expired(visit: Visit) -> None:
    visit.next_log_in()
    visit.fail("password")
    visit.next_log_in()
    visit.ask_for_a_new_password("Your password has expired")
    visit.fail("password")


# OpenSSH without PAM, Tectia: the password method itself asks for a new one, which libssh cannot answer.
exhibit("password-method-expired", usual(log_in=_expired), refusal=("new password", "device"), noted=once)


def _banners(*texts: bytes) -> Animal:
    """One with the answer to each request to log in."""

    def log_in(visit: Visit) -> None:
        for number, text in enumerate(texts):
            if number:
                visit.fail("password")
            visit.next_log_in()
            visit.banner(text)
        visit.succeed()

    return usual(log_in=log_in)


# A typical legal notice.
exhibit(
    "banner",
    _banners(b"", b"*****\r\nUnauthorised access is prohibited\r\n*****\r\n"),
    says=("*****\r\nUnauthorised access is prohibited\r\n*****",),
)
# Nokia and Alcatel gear in Western Europe: more than one, and not in UTF-8. Line ends are the device's.
exhibit(
    "two-banners",
    _banners(b"Acc\xe8s priv\xe9\n", b"Bient\xf4t en maintenance\n"),
    device={"encoding": "iso-8859-1"},
    says=("Accès privé\r\nBientôt en maintenance",),
)

# --- Keys ---

# IOS 15 and 16, Comware 7, old Dropbear: an RSA key is proven with SHA-1 or not at all.
exhibit("sha1-key", usual(log_in=offering("publickey", publickey=public_key("ssh-rsa"))), key="rsa", device=LEGACY)
exhibit(
    "sha1-key-at-modern",
    usual(log_in=offering("publickey", publickey=public_key("ssh-rsa"))),
    key="rsa",
    refusal=("legacy",),
)
# Junos, EOS, OpenSSH: the device says that it takes SHA-2.
exhibit(
    "sha2-key",
    usual(
        log_in=offering("publickey", publickey=public_key("rsa-sha2-512", "rsa-sha2-256")),
        algorithms=Algorithms(signatures=("rsa-sha2-512", "rsa-sha2-256")),
    ),
    key="rsa",
)
exhibit("ed25519-key", usual(log_in=offering("publickey", publickey=public_key("ssh-ed25519"))), key="ed25519")
exhibit(
    "refuses-key",
    usual(log_in=offering("publickey", publickey=public_key())),
    key="ed25519",
    refusal=("refused", "private key"),
)

# --- Connections that end during the log-in ---


def _at_first_request(end: Callable[[Visit], None]) -> Animal:
    def log_in(visit: Visit) -> None:
        visit.next_log_in()
        end(visit)

    return usual(log_in=log_in)


# IOS with all its lines taken, ProCurve: 'Maximum sessions'. FortiGate and Check Point: the address is not trusted.
exhibit(
    "lines-busy",
    _at_first_request(lambda visit: visit.disconnect("Maximum number of sessions reached", 12)),
    refusal=("Maximum number of sessions reached",),
)
exhibit("reset-at-login", _at_first_request(lambda visit: visit.reset()), refusal=("connection",))
exhibit("end-at-login", _at_first_request(lambda visit: visit.hang_up()), refusal=("connection",))
# IOS `login block-for`, TCP wrappers: ends before its version line.
exhibit("end-at-once", usual(before_version=lambda visit: visit.hang_up()), refusal=("connection",))

# --- Channels, terminals and shells ---

exhibit(
    "refuses-channel",
    usual(session=Console(refuses_channel="resource shortage: no free VTY")),
    refusal=("resource shortage: no free VTY",),
)
# Lights-out cards and console servers: no terminal to be had, but a session.
for _how in (REFUSED, SILENT):
    exhibit(
        f"pty-{_how}",
        usual(session=Console(PROMPT, requests={"pty-req": _how})),
        device={"patience_secs": 5},
        says=("terminal",),
        resizes=False,
    )
# Moxa, Netgear: starts the shell and never says so. libssh sends no window size on such a channel.
exhibit(
    "shell-silent",
    usual(session=Console(PROMPT, requests={"shell": SILENT})),
    device={"patience_secs": 5},
    says=("size",),
    resizes=False,
)
# SFTP-only accounts.
exhibit("shell-refused", usual(session=Console(requests={"shell": REFUSED})), refusal=("shell",))
# Juniper and Nokia with a large configuration, AAA authorisation by a slow server.
exhibit("slow-shell", usual(session=Console(PROMPT, shell_after_secs=12)), says=("waiting for the device",))
# Systems that write their warnings to standard error: Cumulus, SONiC, VyOS.
exhibit(
    "standard-error",
    usual(session=Console(PROMPT, errors="warning: configuration not saved\r\n")),
    says=("warning: configuration not saved",),
)


def _chatters(visit: Visit) -> None:
    visit.send(bytes([protocol.IGNORE]) + string("padding"))
    visit.send(bytes([protocol.DEBUG]) + b"\1" + string("debugging is on") + string(""))
    by_password(SECRET)(visit)
    visit.send(bytes([scripts.GLOBAL_REQUEST]) + string("hostkeys-00@openssh.com") + b"\0" + string("no key"))


def _print_nothing(channel: Channel) -> None:
    for text in ("", "something\r\n", ""):
        channel.print(text)
        channel.print_error(text)


def _reads_something(person: Any, server: ScriptedServer) -> None:
    person.type("print\r")
    person.sees_times("something\r\n", 2)


# Devices with debugging switched on; OpenSSH announces its host keys; Tectia sends empty pieces.
exhibit(
    "chatters",
    usual(log_in=_chatters, session=Console(PROMPT, commands={"print": _print_nothing})),
    plays=_reads_something,
)
# MikroTik, ProCurve: rekeys early and asks whether the client lives.


def _rekey(channel: Channel) -> None:
    channel.visit.rekey()
    channel.visit.send(bytes([scripts.GLOBAL_REQUEST]) + string("keepalive@openssh.com") + b"\1")
    channel.request("keepalive@openssh.com")
    channel.print("rekeyed\r\n")


def _rekeys(person: Any, server: ScriptedServer) -> None:
    for count in (1, 2, 3):
        person.type("rekey\r")
        person.sees_times("rekeyed\r\n", count)
    assert server.last.protocol.exchanges == 4


exhibit("rekeys", usual(session=Console(PROMPT, commands={"rekey": _rekey})), plays=_rekeys)


def _pastes(person: Any, server: ScriptedServer) -> None:
    text = "".join(f"set interfaces ge-0/0/{number} disable\r" for number in range(100))
    person.type(text)
    person.sees_times(PROMPT, 101)
    assert server.last.typed == text.encode()


# Old ProCurve, Netgear: a window of some bytes, and small packets; a paste arrives whole all the same.
exhibit("small-window", usual(session=Console(PROMPT, window=64, packet=48)), plays=_pastes)


def _in(encoding: str, text: str) -> tuple[Animal, Callable[[Any, ScriptedServer], None]]:
    def play(person: Any, server: ScriptedServer) -> None:
        person.sees(text)
        for character in text:
            person.type(character)
        person.type("\r")
        person.sees_times(text, 2)
        assert text.encode(encoding) + b"\r" in server.last.typed

    return usual(session=Console(PROMPT, greeting=text + "\r\n", encoding=encoding, commands={})), play


# Nokia and Alcatel gear in Western Europe; Huawei and H3C in China; old Japanese routers.
for _encoding, _text in {"iso-8859-1": "Zürich, Genève", "gbk": "接口状态", "shift_jis": "設定を保存"}.items():
    _animal, _play = _in(_encoding, _text)
    exhibit(f"encoding-{_encoding}", _animal, device={"encoding": _encoding}, plays=_play)

# --- How sessions end ---


def _ending(*steps: Callable[[Channel], None]) -> Console:
    def leave(channel: Channel) -> None:
        for step in steps:
            step(channel)

    return Console(PROMPT, on_exit=leave)


def _ends_with(*texts: str) -> Callable[[Any, ScriptedServer], None]:
    def play(person: Any, server: ScriptedServer) -> None:
        person.type("exit\r")
        person.ends(*texts)

    return play


exhibit(
    "exit-status",
    usual(session=_ending(lambda channel: channel.exit_status(3), Channel.eof, Channel.close)),
    plays=_ends_with("exit status 3"),
)
exhibit(
    "exit-signal",
    usual(session=_ending(lambda channel: channel.exit_signal("KILL", "out of memory"), Channel.close)),
    plays=_ends_with("KILL"),
)
# Comware: the end of the output, and no close. MikroTik: a close, and no end.
exhibit("end-without-close", usual(session=_ending(Channel.eof)), plays=_ends_with())
exhibit("close-without-end", usual(session=_ending(Channel.close)), plays=_ends_with())
# IOS `exec-timeout`, FortiGate's idle time: says why.
exhibit(
    "idle-timeout",
    usual(session=_ending(lambda channel: channel.visit.disconnect("Idle timeout, goodbye"))),
    plays=_ends_with("Idle timeout, goodbye"),
)
# A reload.
exhibit("reset", usual(session=_ending(lambda channel: channel.visit.reset())), plays=_ends_with("lost"))
