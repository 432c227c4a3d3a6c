"""The commands of the jump box: each line yields an action."""

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from netstacks.errors import InvalidInput, NotFound
from netstacks.hosts import normal_host, shown_address
from netstacks.permissions import Reach
from netstacks.store import access, credentials, devices, session_lists
from netstacks.store.audit import Actor
from netstacks.store.credentials import Credential
from netstacks.store.devices import Device
from netstacks.store.pool import Database, Transaction
from netstacks.terminal.plain_text import table
from netstacks.web.jumpbox.words import (
    CANDIDATES,
    PERMISSION,
    STORE_SECS,
    USAGE,
    WORDS,
    begins,
    command_of,
    split_credential,
)

_LISTED_DEVICES = 100
_LISTED_SESSIONS = 50
_WITH_PORT = re.compile(r"\[?(?P<host>[^\]]+)\]?:(?P<port>\d{1,5})")


@dataclass(frozen=True)
class Say:
    """Shows lines, then the prompt for the next command."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Ask:
    """Shows lines and a question. `then` handles the answer, and raises InvalidInput for an invalid one."""

    lines: Sequence[str]
    question: str
    then: Callable[[str], "Action"]


@dataclass(frozen=True)
class Connect:
    """Opens a terminal."""

    device: Device
    credential: Credential


@dataclass(frozen=True)
class Clear:
    """Clears the screen."""


@dataclass(frozen=True)
class Leave:
    """Closes the connection."""


Action = Say | Ask | Connect | Clear | Leave


class Commands:
    """The commands of one user."""

    def __init__(self, database: Database, actor: Actor) -> None:
        assert actor.id is not None
        self._database = database
        self._actor = actor
        self._user_id = actor.id
        self._actions: dict[str, Callable[[str], Action]] = {
            "help": self._help,
            "devices": self._devices,
            "connect": self._connect,
            "credentials": self._credentials,
            "sessions": self._sessions,
            "whoami": self._whoami,
            "clear": lambda _: Clear(),
            "exit": lambda _: Leave(),
        }

    def run(self, line: str) -> Action:
        """Runs a line. Raises InvalidInput and NotFound, with advice, and StoreUnavailable."""
        word, _, rest = line.strip().partition(" ")
        if not word:
            return Say(())
        action = self._actions.get(command_of(word))
        if action is None:
            similar = difflib.get_close_matches(word.lower(), WORDS, n=1)
            suggestion = f" Did you mean {similar[0]}?" if similar else ""
            raise InvalidInput(f"There is no command {word[:40]}.{suggestion} The commands are {', '.join(USAGE)}.")
        return action(rest.strip())

    # Commands.

    def _help(self, _: str) -> Action:
        return Say([line for usage, meaning in USAGE.values() for line in (usage, f"    {meaning}")])

    def _devices(self, text: str) -> Action:
        with self._database.transaction(timeout_secs=STORE_SECS) as tx:
            reach = access.confirm(tx, self._actor, PERMISSION).reach
            found, total = devices.list_page(tx, within=reach, search=text or None, limit=_LISTED_DEVICES)
        if not found:
            what = f"no device has {text!r} in its name or address" if text else "there are no devices yet"
            return Say([f"{what[0].upper()}{what[1:]}."])
        lines = _listed(found)
        if total > len(found):
            lines.append(
                f"These are {len(found)} of {total}. Type devices TEXT for those with TEXT in name or address."
            )
        return Say(lines)

    def _connect(self, text: str) -> Action:
        wanted, credential_name = split_credential(text)
        if not wanted:
            raise InvalidInput("The name or the address of a device is missing. Type connect NAME.")
        with self._database.transaction(timeout_secs=STORE_SECS) as tx:
            reach = access.confirm(tx, self._actor, PERMISSION).reach
            found = _find_devices(tx, reach, wanted)
            if len(found) == 1:
                return self._with_credential(tx, found[0], credential_name, reach)
        if not found:
            raise NotFound(f"No device begins with {wanted!r}. Type devices TEXT to search names and addresses.")
        more = ["…"] if len(found) > CANDIDATES else []
        which = f"Several devices begin with {wanted!r}. Type more of the name, or the address with its port:"
        return Say([which, *_listed(found[:CANDIDATES]), *more])

    def _with_credential(self, tx: Transaction, device: Device, name: str | None, reach: Reach) -> Action:
        usable = credentials.usable(tx, self._user_id, within=reach)
        if not usable:
            raise NotFound("You have no SSH credential. Add one on the page Credentials.")
        if name is not None:
            return _chosen(device, usable, name)
        place = (device.host, device.port)
        default_id = device.default_credential_id
        fitting = [each for each in usable if each.may_be_sent(*place, default_id=default_id, within=reach)]
        if not fitting:
            raise NotFound(
                f"All your credentials are for other addresses than that of {device.name}. Add one on the page"
                " Credentials."
            )
        of_user = credentials.default_for(tx, self._user_id, within=reach)
        default_ids = (default_id, of_user.id if of_user else None)
        defaults = [each for wanted in default_ids for each in fitting if each.id == wanted]
        return Connect(device, defaults[0]) if defaults else _ask_which(device, fitting)

    def _credentials(self, _: str) -> Action:
        with self._database.transaction(timeout_secs=STORE_SECS) as tx:
            reach = access.confirm(tx, self._actor, PERMISSION).reach
            usable = credentials.usable(tx, self._user_id, within=reach)
            default = credentials.default_for(tx, self._user_id, within=reach)
        if not usable:
            return Say(["You have no SSH credential. Add one on the page Credentials."])
        rows = [(*_described(each), "your default" if default and each.id == default.id else "") for each in usable]
        return Say(table(("NAME", "LOGS IN AS", "TYPE", "OWNER", ""), rows))

    def _sessions(self, _: str) -> Action:
        with self._database.transaction(timeout_secs=STORE_SECS) as tx:
            rows = session_lists.page(tx, user_id=self._user_id, live=True, limit=_LISTED_SESSIONS).rows
        if not rows:
            return Say(["You have no open terminals."])
        lines = table(
            ("DEVICE", "ADDRESS", "STATE", "SINCE"),
            [
                (
                    row["device_name"],
                    shown_address(row["host"], row["port"]),
                    "in use" if row["state"] == "active" else "waits for you",
                    f"{row['started_at']:%Y-%m-%d %H:%M} UTC",
                )
                for row in rows
            ],
        )
        return Say([*lines, "The page Sessions opens them."])

    def _whoami(self, _: str) -> Action:
        with self._database.transaction(timeout_secs=STORE_SECS) as tx:
            role = access.confirm(tx, self._actor, PERMISSION)
        return Say([f"{self._actor.name}, with the role {role.name}, from {self._actor.address}"])


def _find_devices(tx: Transaction, reach: Reach, wanted: str) -> list[Device]:
    """The device with that name, else with that address, else all whose name or address begins with the text."""
    found = devices.starting_with(tx, wanted, within=reach, limit=CANDIDATES + 1)
    named = [each for each in found if each.name.lower() == wanted.lower()]
    addressed = [each for each in found if each.host == _host(wanted)]
    if found:
        return named or addressed or found
    with_port = _WITH_PORT.fullmatch(wanted)
    if with_port is None:
        return []
    device = devices.find_by_address(tx, _host(with_port["host"]), int(with_port["port"]), within=reach)
    return [device] if device else []


def _host(text: str) -> str:
    try:
        return normal_host(text)
    except InvalidInput:
        return text.lower()


def _chosen(device: Device, usable: Sequence[Credential], name: str) -> Action:
    """The credential with that name, else the only one whose name begins with it; a question if there are several."""
    named = [each for each in usable if each.name.lower() == name.lower()]
    found = named or [each for each in usable if begins(each.name, name)]
    if not found:
        raise NotFound(f"You have no credential {name!r}. Type credentials for a list.")
    return Connect(device, found[0]) if len(found) == 1 else _ask_which(device, found)


def _ask_which(device: Device, usable: Sequence[Credential]) -> Ask:
    def then(answer: str) -> Action:
        answer = answer.strip()
        if not answer:
            return Say(["Not connected."])
        if answer.isdecimal() and 1 <= int(answer) <= len(usable):
            return Connect(device, usable[int(answer) - 1])
        raise InvalidInput(f"Type a number from 1 to {len(usable)}, or only Enter to cancel.")

    rows = [(f"{number}", *_described(each)) for number, each in enumerate(usable, 1)]
    lines = [f"Log in to {device.name} with:", *table(("", "NAME", "LOGS IN AS", "TYPE", "OWNER"), rows)]
    return Ask(lines, "Number: ", then)


def _listed(found: Sequence[Device]) -> list[str]:
    rows = [(each.name, shown_address(each.host, each.port), each.device_type, each.site or "") for each in found]
    return table(("NAME", "ADDRESS", "TYPE", "SITE"), rows)


def _described(credential: Credential) -> tuple[str, str, str, str]:
    kind = "key" if credential.credential_type == "ssh_key" else "password"
    return credential.name, credential.username or "", kind, "yours" if credential.owner_id else "shared"
