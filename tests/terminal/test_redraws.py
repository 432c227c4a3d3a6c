"""Which clients get a redraw, when, and what the others get instead."""

import contextlib
import re
import threading
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netstacks import greenlets
from netstacks.errors import ConnectionClosed
from netstacks.terminal import redraws, screen
from netstacks.terminal.redraws import Redraws
from netstacks.terminal.screen_budget import Budget
from tests.terminal.test_screen import COLS, PIECES, ROWS, assert_same, shown
from tests.waits import until

FLOOD = b"\x1b#8" * 10_000
TOLD = b"this screen costs too much to redraw"


class Computing:
    """A stand-in for the computation in threads: each call runs until it is released, or its budget is cancelled."""

    def __init__(self) -> None:
        self.running: list[bytes] = []
        self.begun: list[bytes] = []
        self.go_on = threading.Event()
        self.result: bytes | None = b"a screen"

    def __call__(self, output: bytes, cols: int, rows: int, budget: Budget) -> bytes | None:
        self.begun.append(output)
        self.running.append(output)
        while not self.go_on.wait(0.005) and not budget.is_cancelled:
            pass
        self.running.remove(output)
        return None if budget.is_cancelled else self.result


@pytest.fixture
def computing(monkeypatch: pytest.MonkeyPatch) -> Computing:
    computing = Computing()
    monkeypatch.setattr(redraws, "_painted", computing)
    monkeypatch.setattr(redraws, "_POLL_SECS", 0.01)
    # No client gives up, and no result expires, while this machine pauses.
    monkeypatch.setattr(redraws, "_WAIT_SECS", 60.0)
    monkeypatch.setattr(redraws, "_KEPT_SECS", 600.0)
    monkeypatch.setattr(redraws, "_ACCOUNT_SECS", 600.0)
    return computing


def ask(
    all_redraws: Redraws, session_id: UUID, output: bytes, is_wanted: Callable[[], bool] = lambda: True
) -> greenlets.Greenlet:
    def asked() -> bytes:
        with contextlib.suppress(ConnectionClosed):
            return all_redraws.redraw(session_id, output, COLS, ROWS, is_wanted)
        return b"gone"

    return greenlets.spawn("redraw", asked)


def test_a_session_has_one_thread_and_leaves_the_other_one_to_the_others(computing: Computing) -> None:
    all_redraws, flooded, other = Redraws(), uuid4(), uuid4()
    asked = [ask(all_redraws, flooded, b"%d" % number) for number in range(12)]
    until(lambda: computing.running)
    asked.append(ask(all_redraws, other, b"another"))
    until(lambda: computing.running == [b"0", b"another"])
    asked.append(ask(all_redraws, uuid4(), b"a third"))
    greenlets.sleep(0.05)
    assert computing.running == [b"0", b"another"]
    computing.go_on.set()
    greenlets.joinall(asked)
    assert {each.value for each in asked} == {b"a screen"}
    assert len(computing.begun) == 14


def test_other_work_in_threads_waits_for_no_redraw(computing: Computing) -> None:
    # More than the threads that the hub has for everything else.
    all_redraws = Redraws(places=12)
    asked = [ask(all_redraws, uuid4(), b"%d" % number) for number in range(12)]
    until(lambda: len(computing.running) == 12)
    assert greenlets.in_thread(sum, [1, 2]) == 3
    computing.go_on.set()
    greenlets.joinall(asked)


def test_clients_that_come_together_share_one_screen(computing: Computing) -> None:
    all_redraws, session_id = Redraws(), uuid4()
    asked = [ask(all_redraws, session_id, b"the same") for _ in range(12)]
    until(lambda: computing.running)
    computing.go_on.set()
    greenlets.joinall(asked)
    assert {each.value for each in asked} == {b"a screen"}
    assert all_redraws.redraw(session_id, b"the same", COLS, ROWS) == b"a screen"
    assert computing.begun == [b"the same"]
    all_redraws.redraw(session_id, b"and more", COLS, ROWS)
    all_redraws.redraw(session_id, b"and more", COLS + 1, ROWS)
    all_redraws.redraw(uuid4(), b"and more", COLS, ROWS)
    assert len(computing.begun) == 4


def test_a_screen_that_costs_too_much_is_shown_as_sent_and_not_tried_again(computing: Computing) -> None:
    all_redraws, session_id = Redraws(), uuid4()
    computing.result = None
    computing.go_on.set()
    for output in (b"one", b"two"):
        redrawn = all_redraws.redraw(session_id, output, COLS, ROWS)
        assert redrawn.startswith(screen.as_sent(output))
        assert TOLD in redrawn
    assert computing.begun == [b"one"]
    computing.result = b"a screen"
    assert all_redraws.redraw(uuid4(), b"another session", COLS, ROWS) == b"a screen"


def test_the_redraws_of_a_session_share_one_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redraws, "CELLS", 20_000)
    monkeypatch.setattr(redraws, "_ACCOUNT_SECS", 600.0)
    all_redraws, session_id = Redraws(), uuid4()
    told = [TOLD in all_redraws.redraw(session_id, b"lab> %d" % number, 80, 24) for number in range(200)]
    assert told == sorted(told)
    assert set(told) == {False, True}
    assert TOLD not in all_redraws.redraw(uuid4(), b"lab> 1", 80, 24)


def test_a_client_that_waits_too_long_is_shown_the_bytes_instead(
    computing: Computing, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_redraws, session_id = Redraws(places=1), uuid4()
    first = ask(all_redraws, session_id, b"first")
    until(lambda: computing.running)
    monkeypatch.setattr(redraws, "_WAIT_SECS", 0.0)
    for other in (session_id, uuid4()):
        assert TOLD in all_redraws.redraw(other, b"late", COLS, ROWS)
    computing.go_on.set()
    first.join()
    assert first.value == b"a screen"
    assert all_redraws.redraw(uuid4(), b"later", COLS, ROWS) == b"a screen"


def test_a_redraw_ends_with_its_client(computing: Computing) -> None:
    all_redraws, session_id, gone = Redraws(places=1), uuid4(), greenlets.Event()
    computed, in_turn, in_line = (
        ask(all_redraws, each, b"%d" % number, lambda: not gone.is_set())
        for number, each in enumerate((session_id, session_id, uuid4()))
    )
    until(lambda: computing.running)
    gone.set()
    greenlets.joinall([computed, in_turn, in_line])
    assert [each.value for each in (computed, in_turn, in_line)] == [b"gone"] * 3
    assert computing.begun == [b"0"]
    computing.go_on.set()
    # Neither the place nor the turn is lost, and the session does not count as costly.
    assert all_redraws.redraw(session_id, b"next", COLS, ROWS) == b"a screen"


def test_a_flood_is_not_worked_out() -> None:
    assert TOLD in Redraws().redraw(uuid4(), FLOOD, 80, 24)


def test_ordinary_output_is() -> None:
    output = b"lab> show version\r\nlab> "
    assert Redraws().redraw(uuid4(), output, 80, 24) == screen.redraw(output, 80, 24)


@given(st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join))
def test_output_as_sent_shows_the_same_screen_and_sets_the_same_modes(output: bytes) -> None:
    assert_same(shown(screen.as_sent(output)), shown(output))


ASKING = [
    "\x1b[c",
    "\x1b[>0c",
    "\x1b[6n",
    "\x1b[?6n",
    "\x9b5n",
    "\x1b[?2026$p",
    "\x1b[14t",
    "\x1b[x",
    "\x1b[>q",
    "\x1b[?u",
    "\x1bP$qm\x1b\\",
    "\x90+q436f\x9c",
    "\x1b]11;?\x07",
    "\x9d52;c;?\x9c",
    "\x1b_Ga=q\x1b\\",
    "\x1bZ",
    "\x05",
    "\x1b[\x1b[6n6n",
]


@pytest.mark.parametrize("asking", ASKING, ids=[f"{number}" for number in range(len(ASKING))])
def test_a_terminal_does_not_answer_again_what_was_sent(asking: str) -> None:
    sent = screen.as_sent(f"lab> \x1b[?2004h{asking}text\x1b[?25l".encode()).decode()
    assert asking not in sent
    assert "lab> \x1b[?2004h" in sent
    assert sent.endswith("text\x1b[?25l")
    assert "\x1b[6n" not in sent


QUESTION = re.compile(r"(?:\x1b\[|\x9b)(?:[<=>?][0-9;]*[cnqu]|[0-9;]*(?:[cntx]|\$p))|\x1b[PZ]|[\x05\x90\x9d]")


@given(
    st.lists(st.sampled_from([*ASKING, "\x1b", "[", "6n", ">c", "\x9b", "?", ";", "$p", "text", "\x18"])).map("".join)
)
def test_no_gap_makes_a_question(output: str) -> None:
    assert not QUESTION.search(screen.as_sent(output.encode()).decode())
