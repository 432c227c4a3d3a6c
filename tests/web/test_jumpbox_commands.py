"""The commands of the jump box on a real database, without a terminal."""

from collections.abc import Callable

import pytest

from netstacks.errors import InvalidInput, NotFound, StoreUnavailable
from netstacks.store import credentials, devices
from netstacks.store.audit import Actor
from netstacks.store.credentials import Credential, Secrets
from netstacks.store.devices import Device
from netstacks.store.pool import Database
from netstacks.store.users import User
from netstacks.store.vault import Vault
from netstacks.web.jumpbox.commands import Ask, Clear, Commands, Connect, Leave, Say
from netstacks.web.jumpbox.completion import Completion
from tests.web.conftest import MASTER_KEY

AddDevice = Callable[..., Device]
AddCredential = Callable[..., Credential]


@pytest.fixture
def lee(add_user: Callable[..., User]) -> User:
    return add_user("lee")


@pytest.fixture
def commands(database: Database, lee: User) -> Commands:
    return Commands(database, Actor("lee", lee.id, "192.0.2.200"))


@pytest.fixture
def completion(database: Database, lee: User) -> Completion:
    return Completion(database, Actor("lee", lee.id), lambda: None)


@pytest.fixture
def add_device(database: Database) -> AddDevice:
    def add(name: str, host: str, **rest: object) -> Device:
        with database.transaction() as tx:
            return devices.create(tx, name=name, host=host, **rest)  # type: ignore[arg-type]

    return add


@pytest.fixture
def add_credential(database: Database, lee: User) -> AddCredential:
    vault = Vault(database, MASTER_KEY)
    vault.unlock()

    def add(name: str, *, is_shared: bool = False) -> Credential:
        owner = None if is_shared else lee.id
        with database.transaction() as tx:
            return credentials.create(
                tx,
                vault,
                Secrets("a password"),
                name=name,
                credential_type="ssh_password",
                owner_id=owner,
                username="ops",
            )

    return add


def said(commands: Commands, line: str) -> str:
    action = commands.run(line)
    assert isinstance(action, Say)
    return "\n".join(action.lines)


def connected(commands: Commands, line: str) -> tuple[str, str]:
    """The names of the device and of the credential that a line connects with."""
    action = commands.run(line)
    assert isinstance(action, Connect), action
    return action.device.name, action.credential.name


@pytest.mark.parametrize("line", ["help", "HELP", " ? ", "help me"])
def test_help_lists_every_command(commands: Commands, line: str) -> None:
    words = [usage.split()[0] for usage in said(commands, line).split("\n")[::2]]
    assert words == ["help", "devices", "connect", "credentials", "sessions", "whoami", "clear", "exit"]


@pytest.mark.parametrize("line", ["exit", "quit", "logout"])
def test_leaving(commands: Commands, line: str) -> None:
    assert commands.run(line) == Leave()


def test_small_ones(commands: Commands) -> None:
    assert commands.run("clear") == Clear()
    assert commands.run("   ") == Say(())
    assert said(commands, "whoami") == "lee, with the role operator, from 192.0.2.200"
    assert said(commands, "sessions") == "You have no open terminals."


def test_an_unknown_command_is_told_what_is_right(commands: Commands) -> None:
    text = r"no command devises. Did you mean devices\? The commands are help, devices, connect"
    with pytest.raises(InvalidInput, match=text):
        commands.run("devises")


def test_devices(commands: Commands, add_device: AddDevice) -> None:
    assert said(commands, "devices") == "There are no devices yet."
    add_device("Leaf", "192.0.2.1", device_type="ios", site="Ulm")
    add_device("東京-1", "2001:db8::1", port=2222)
    assert said(commands, "ls").split("\n") == [
        "NAME    ADDRESS             TYPE  SITE",
        "Leaf    192.0.2.1:22        ios   Ulm",
        "東京-1  [2001:db8::1]:2222",
    ]
    assert "Leaf" not in said(commands, "search db8")
    assert said(commands, "devices LEA").count("\n") == 1
    assert said(commands, "devices %") == "No device has '%' in its name or address."


def test_a_device_of_that_name_comes_before_those_that_begin_so(
    commands: Commands, add_device: AddDevice, add_credential: AddCredential
) -> None:
    add_credential("Lab")
    for number in range(30):
        add_device(f"core-{number:02}", f"192.0.2.{number + 1}")
    add_device("zore", "core-router.example.net")
    add_device("Core-", "198.51.100.1")
    assert connected(commands, "connect core-") == ("Core-", "Lab")
    assert connected(commands, "connect CORE-07") == ("core-07", "Lab")
    assert connected(commands, "connect zo") == ("zore", "Lab")
    assert connected(commands, "ssh 192.0.2.3") == ("core-02", "Lab")
    answer = said(commands, "connect core-0")
    assert "core-00" in answer
    assert "core-10" not in answer
    assert said(commands, "connect cor").endswith("\n…")


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("192.0.2.1:2222", "second"),
        ("192.0.2.1:22", "first"),
        ("[2001:DB8::1]:22", "sixth"),
        ("2001:db8:0::1", "sixth"),
        ("2001:db8::1", "sixth"),
        ("R1.Example.NET", "named"),
        ("r1.example.net:22", "named"),
    ],
)
def test_a_device_is_found_by_its_address(
    commands: Commands, add_device: AddDevice, add_credential: AddCredential, typed: str, found: str
) -> None:
    add_credential("Lab")
    add_device("first", "192.0.2.1")
    add_device("second", "192.0.2.1", port=2222)
    add_device("sixth", "2001:db8::1")
    add_device("named", "r1.example.net")
    assert connected(commands, f"connect {typed}") == (found, "Lab")


def test_one_address_of_two_devices_needs_the_port(
    commands: Commands, add_device: AddDevice, add_credential: AddCredential
) -> None:
    add_credential("Lab")
    add_device("first", "192.0.2.1")
    add_device("second", "192.0.2.1", port=2222)
    answer = said(commands, "connect 192.0.2.1")
    assert [line.split() for line in answer.split("\n")[2:]] == [
        ["first", "192.0.2.1:22"],
        ["second", "192.0.2.1:2222"],
    ]


def test_a_name_may_have_spaces(commands: Commands, add_device: AddDevice, add_credential: AddCredential) -> None:
    add_credential("The lab")
    add_credential("Other")
    add_device("core as built", "192.0.2.1")
    assert connected(commands, "connect  core as built  AS  the lab ") == ("core as built", "The lab")
    assert connected(commands, "connect core as b as oth") == ("core as built", "Other")


@pytest.mark.parametrize(
    ("line", "error", "text"),
    [
        ("connect", InvalidInput, "connect NAME"),
        ("connect r1 as", InvalidInput, "Type credentials for"),
        ("connect nowhere", NotFound, "Type devices TEXT to search"),
        ("connect r1:99999", NotFound, "Type devices TEXT to search"),
        ("connect r1 as nothing", NotFound, "no credential 'nothing'"),
    ],
)
def test_a_line_without_a_match_is_told_what_is_right(
    commands: Commands,
    add_device: AddDevice,
    add_credential: AddCredential,
    line: str,
    error: type[Exception],
    text: str,
) -> None:
    add_device("r1", "192.0.2.1")
    add_credential("Lab")
    with pytest.raises(error, match=text):
        commands.run(line)


def test_without_a_credential_it_says_where_to_add_one(commands: Commands, add_device: AddDevice) -> None:
    add_device("r1", "192.0.2.1")
    with pytest.raises(NotFound, match="on the page Credentials"):
        commands.run("connect r1")
    assert "on the page Credentials" in said(commands, "credentials")


def test_the_devices_credential_comes_before_the_users(
    commands: Commands, add_device: AddDevice, add_credential: AddCredential
) -> None:
    add_credential("Mine")
    shared = add_credential("Shared", is_shared=True)
    add_device("r1", "192.0.2.1", default_credential_id=shared.id)
    add_device("r2", "192.0.2.2")
    assert connected(commands, "connect r1") == ("r1", "Shared")
    asked = commands.run("connect r2")
    assert isinstance(asked, Ask)
    assert [line.split() for line in asked.lines[1:]] == [
        ["NAME", "LOGS", "IN", "AS", "TYPE", "OWNER"],
        ["1", "Mine", "ops", "password", "yours"],
        ["2", "Shared", "ops", "password", "shared"],
    ]
    answered = asked.then(" 2 ")
    assert isinstance(answered, Connect)
    assert (answered.device.name, answered.credential.name) == ("r2", "Shared")
    assert asked.then("") == Say(["Not connected."])
    for wrong in ("0", "3", "-1", "x", "²"):
        with pytest.raises(InvalidInput, match="from 1 to 2"):
            asked.then(wrong)


def test_credentials_for_other_addresses_are_not_offered(
    commands: Commands, add_device: AddDevice, add_credential: AddCredential, database: Database
) -> None:
    add_credential("Elsewhere")
    with database.transaction() as tx:
        tx.execute("UPDATE credentials SET host = '192.0.2.9'")
    add_device("r1", "192.0.2.1")
    with pytest.raises(NotFound, match="for other addresses than that of r1"):
        commands.run("connect r1")
    add_credential("Mine")
    add_credential("Shared", is_shared=True)
    asked = commands.run("connect r1")
    assert isinstance(asked, Ask)
    assert [line.split()[1] for line in asked.lines[2:]] == ["Mine", "Shared"]


def test_two_credentials_of_one_name_are_asked_for(
    commands: Commands, add_device: AddDevice, add_credential: AddCredential
) -> None:
    add_device("r1", "192.0.2.1")
    add_credential("Lab")
    add_credential("Lab", is_shared=True)
    assert isinstance(commands.run("connect r1 as lab"), Ask)


@pytest.mark.parametrize(
    ("before", "line", "candidates"),
    [
        ("", "", ["help", "devices", "connect", "credentials", "sessions", "whoami", "clear", "exit"]),
        ("W", "whoami ", []),
        ("c", "c", ["connect", "credentials", "clear"]),
        ("nothing", "nothing", []),
        ("devices s", "devices s", []),
        ("connect sp", "connect Spine ", []),
        ("ssh spine ", "ssh spine ", ["Spine One", "spine Two"]),
        ("connect  SPINE T", "connect  spine Two ", []),
        ("connect 192.0.2.1", "connect 192.0.2.1", ["192.0.2.1", "192.0.2.12"]),
        ("connect 198", "connect 198.51.100.1 ", []),
        ("connect x", "connect x", []),
        ("connect spine one as ", "connect spine one as L", []),
        ("connect spine one as l", "connect spine one as l", ["Lab", "Live"]),
        ("connect spine one as li", "connect spine one as Live ", []),
    ],
)
def test_completion(
    completion: Completion,
    add_device: AddDevice,
    add_credential: AddCredential,
    before: str,
    line: str,
    candidates: list[str],
) -> None:
    add_device("Spine One", "192.0.2.1")
    add_device("spine Two", "192.0.2.12")
    add_device("leaf", "198.51.100.1")
    add_credential("Lab")
    add_credential("Live")
    completed, listed = completion.complete(before)
    assert completed == line
    assert [name for name in listed if name not in ("?", "ls", "search", "ssh", "quit", "logout")] == candidates


def test_completion_of_a_large_inventory_lists_the_first(completion: Completion, add_device: AddDevice) -> None:
    for number in range(60):
        add_device(f"sw-{number:02}", f"192.0.2.{number + 1}")
    completed, listed = completion.complete("connect s")
    assert completed == "connect s"
    assert [*listed] == [*(f"sw-{number:02}" for number in range(20)), "…"]


def test_a_database_that_is_away_is_told(lee: User) -> None:
    away = Database("postgresql://127.0.0.1:1/nothing")
    commands = Commands(away, Actor("lee", lee.id))
    with pytest.raises(StoreUnavailable):
        commands.run("devices")
    completed, listed = Completion(away, Actor("lee", lee.id), lambda: None).complete("connect r")
    assert (completed, len(listed)) == ("connect r", 1)
