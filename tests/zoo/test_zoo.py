"""Every scripted device with the page and the Terminal client, all at the same time on one controller."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import pytest

from tests.controller import Api, until
from tests.zoo.animals import CASES, PROMPT, SECRET, USER, Case
from tests.zoo.conftest import Healthy, add
from tests.zoo.people import KINDS, Kind, Person, meet, private_key
from tests.zoo.server import ScriptedServer

Results = dict[tuple[str, Kind], Future[None]]
_AT_ONCE = 24
# A test waits for its own visit, which waits for its turn among all the others.
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def results(api: Api, healthy: Healthy, request: pytest.FixtureRequest) -> Iterator[Results]:
    """All that is asked for runs side by side: stalls of many seconds cost those seconds once."""
    wanted = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    pairs = [(each["name"], each["kind"]) for each in wanted if {"name", "kind"} <= each.keys()]
    # The slow ones first: they are waited for longest.
    pairs.sort(key=lambda pair: "slow" not in pair[0] and "late" not in pair[0])
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield {pair: pool.submit(_visit, api, *pair) for pair in pairs}


def _visit(api: Api, name: str, kind: Kind) -> None:
    case = CASES[name]
    with ScriptedServer(case.animal) as server:
        device = add(api, server, name=f"{name} {kind}", **case.device)
        secret = private_key(case.key) if case.key else SECRET
        credential_type = "ssh_key" if case.key else "ssh_password"
        credential = api.add_credential(USER, secret, credential_type, name=f"{name} {kind}")
        person = meet(api, kind, device, credential)
        try:
            _talk(case, person, server)
            assert not server.failures, server.failures
        finally:
            person.leave()


def _talk(case: Case, person: Person, server: ScriptedServer) -> None:
    for question, answer in case.talk:
        person.answers(question, answer)
    if case.refusal:
        person.is_refused(*case.refusal)
        case.noted(server)
        return
    person.sees(PROMPT)
    case.noted(server)
    for text in case.says:
        person.sees(text)
    person.connected()
    if case.plays:
        case.plays(person, server)
    else:
        _work(case, person, server)


def _work(case: Case, person: Person, server: ScriptedServer) -> None:
    """The actions of a user: type, enlarge the window, leave."""
    person.type("show version\r")
    person.sees_times(PROMPT, 2)
    assert server.last.typed == b"show version\r"
    if case.resizes:
        assert server.last.terminal == ("xterm-256color", 80, 24)
        for cols, rows in ((132, 43), (133, 44), (100, 50)):
            person.resize(cols, rows)
            # No key is pressed: the size goes to the device by itself.
            until(partial(_has_window, server, (cols, rows)), f"{cols} columns at the device")
    person.type("exit\r")
    person.ends()
    if person.kind == "client" and not case.talk and not case.says:
        visits = len(server.visits)
        person.type("\r")
        person.sees_times(PROMPT, 3)
        assert len(server.visits) == visits + 1
        person.type("exit\r")
        person.sees_times("Session ended", 2)


def _has_window(server: ScriptedServer, size: tuple[int, int]) -> bool:
    return server.last.windows[-1:] == [size]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_animal(results: Results, name: str, kind: Kind) -> None:
    results[name, kind].result()


def test_a_healthy_terminal_beside_them_loses_nothing(results: Results, healthy: Healthy) -> None:
    for each in results.values():
        each.exception()
    healthy.check()
