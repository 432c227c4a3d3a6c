"""A session is shared with colleagues: their permissions, their number, and the end of a share."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.acceptance.lab import Lab
from tests.acceptance.sharing import COUNT, COUNTED, ENDED, QUIET, REFUSED, Viewer, share, shares_path, watching
from tests.controller import Controller, Terminal, until


@pytest.fixture
def terminal(lab: Lab) -> Iterator[Terminal]:
    terminal = lab.open()
    terminal.type(QUIET)
    terminal.expect("ready")
    yield terminal
    terminal.leave()


def test_a_viewer_sees_the_screen_and_then_every_byte(controller: Controller, terminal: Terminal) -> None:
    viewer = Viewer(controller, share(terminal)).joined()
    assert viewer.frames[0] == 0x08
    assert viewer.info["session_id"] == terminal.info["session_id"]
    assert viewer.info["permission"] == "read-only"
    assert viewer.info["viewer_id"]
    viewer.expect("ready")
    terminal.type(COUNT)
    viewer.expect("20999\r\n")
    assert COUNTED in viewer.output


def test_a_read_only_viewer_types_nothing_and_resizes_nothing(controller: Controller, terminal: Terminal) -> None:
    viewer = Viewer(controller, share(terminal)).joined()
    viewer.type("echo in''truder\r")
    viewer.frame(b"\x02\x00\x14\x00\x05")
    viewer.frame(b"\x03")
    until(lambda: 0x04 in viewer.frames, "the pong that follows what was sent before it")
    terminal.type("stty size; echo do''ne\r")
    terminal.expect("done")
    assert b"24 80" in terminal.output
    assert b"intruder" not in terminal.output


def test_a_read_write_viewer_types(controller: Controller, terminal: Terminal) -> None:
    viewer = Viewer(controller, share(terminal, permission="read-write")).joined()
    assert viewer.info["permission"] == "read-write"
    viewer.type("echo from a col''league\r")
    terminal.expect("from a colleague")
    viewer.expect("from a colleague")


def test_a_device_that_asks_is_not_answered_by_viewers(controller: Controller, terminal: Terminal) -> None:
    viewer = Viewer(controller, share(terminal, permission="read-write")).joined()
    terminal.type("echo st''arted; cat -v\r")
    terminal.expect("started")
    viewer.type(b"\x1b[?1;2c\x1b[12;1R")
    # Control+F3 has the form of an answer.
    viewer.type(b"key \x1b[1;5R\r")
    terminal.expect(b"key ^[[1;5R\r\n")
    assert b"^[[?1;2c" not in terminal.output
    assert b"^[[12;1R" not in terminal.output
    terminal.type("\x04")


def test_revoking_ends_the_views_at_once_and_the_link(controller: Controller, terminal: Terminal) -> None:
    token, other = share(terminal), share(terminal)
    viewer, spared = Viewer(controller, token).joined(), Viewer(controller, other).joined()
    terminal.api.call("DELETE", f"{shares_path(terminal)}/{token}", expect=204)
    assert viewer.closed()[0] == REFUSED
    assert "revoked" in viewer.errors[0]
    refused = Viewer(controller, token)
    assert refused.closed()[0] == REFUSED
    assert "revoked" in refused.errors[0]
    assert [each["token"] for each in terminal.api.get(shares_path(terminal))] == [other]
    terminal.type("echo sti''ll\r")
    spared.expect("still")
    terminal.api.call("DELETE", shares_path(terminal), expect=204)
    assert spared.closed()[0] == REFUSED
    assert terminal.api.get(shares_path(terminal)) == []


def test_the_end_of_the_session_is_told_to_its_viewers(controller: Controller, lab: Lab) -> None:
    terminal = lab.open()
    token = share(terminal)
    viewer = Viewer(controller, token).joined()
    terminal.type("exit\r")
    code, reason = viewer.closed()
    assert code == ENDED
    assert reason
    assert 0x05 in viewer.frames
    late = Viewer(controller, token)
    assert late.closed()[0] == ENDED
    assert "ended" in late.errors[0]


def test_as_many_as_may_watch_and_no_more(controller: Controller, terminal: Terminal) -> None:
    token = share(terminal, max_viewers=2)
    first, _ = (Viewer(controller, token).joined() for _ in range(2))
    third = Viewer(controller, token)
    assert third.closed()[0] == REFUSED
    assert "viewer limit" in third.errors[0]
    first.leave()
    until(lambda: len(watching(terminal)) == 1, "the first to be gone")
    Viewer(controller, token).joined()


def test_a_viewer_that_comes_back_takes_its_own_place(controller: Controller, terminal: Terminal) -> None:
    token = share(terminal, max_viewers=1)
    first = Viewer(controller, token).joined()
    again = Viewer(controller, token, viewer=first.info["viewer_id"]).joined()
    assert again.info["viewer_id"] == first.info["viewer_id"]
    assert first.closed()
    assert len(watching(terminal)) == 1


def test_the_user_sees_the_viewers_and_can_end_one_view(
    controller: Controller, terminal: Terminal, database_url: str
) -> None:
    token = share(terminal)
    guest = Viewer(controller, token).joined()
    known = Viewer(controller, token, api=terminal.api).joined()
    seen = {each["viewer_id"]: each for each in watching(terminal)}
    assert seen[guest.info["viewer_id"]]["username"] is None
    assert seen[guest.info["viewer_id"]]["address"] == "127.0.0.1"
    assert seen[known.info["viewer_id"]]["username"] == "admin"
    path = f"/api/sessions/{terminal.info['session_id']}/viewers/{guest.info['viewer_id']}"
    terminal.api.call("DELETE", path, expect=204)
    assert guest.closed()[0] == REFUSED
    assert [each["viewer_id"] for each in watching(terminal)] == [known.info["viewer_id"]]
    terminal.api.call("DELETE", path, expect=404)
    rows = {("session.viewer_left", "guest"), ("session.viewer_joined", "admin")}
    until(lambda: rows <= set(audited(database_url, terminal)), "the audit rows")


def test_a_share_that_expires_ends_its_views(controller: Controller, terminal: Terminal, database_url: str) -> None:
    token = share(terminal)
    viewer = Viewer(controller, token).joined()
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE shares SET expires_at = date_trunc('second', now()) WHERE revoked_at IS NULL")
    assert viewer.closed()[0] == REFUSED
    assert "expired" in viewer.errors[0]


def test_a_link_that_is_none_is_refused_in_words(controller: Controller, terminal: Terminal) -> None:
    token = share(terminal)
    for wrong in ("", "nonsense", token[:-4], token[:-4] + "AAAA"):
        viewer = Viewer(controller, wrong)
        assert viewer.closed()[0] == REFUSED
        assert "this link" in viewer.errors[0]


def audited(database_url: str, terminal: Terminal) -> list[tuple[str, str]]:
    resource = f"session:{terminal.info['session_id']}"
    with psycopg.connect(database_url) as connection:
        return connection.execute("SELECT event, actor FROM audit WHERE resource = %s", [resource]).fetchall()


@pytest.fixture
def database_url(controller: Controller) -> str:
    return controller.environ["DATABASE_URL"]
