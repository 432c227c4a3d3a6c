"""Recordings through the API: their owners, and the permission to read what was typed."""

import json
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from netstacks.recording.chunks import EventKind
from netstacks.store.pool import Database
from netstacks.web.context import Services
from tests.rows import make_session, record
from tests.web.conftest import Api
from tests.web.test_users import Audited

EVENTS = ((EventKind.OUTPUT, b"R1#"), (EventKind.INPUT, b"show run\r"), (EventKind.NOTE, b"ended: logged out"))


@pytest.fixture
def services(services: Services) -> Services:
    """A recorder that has stored everything."""
    services.recorder = cast(Any, SimpleNamespace(flush=lambda timeout_secs: True))
    return services


@pytest.fixture
def theirs(operator: Api, database: Database) -> UUID:
    """The recording of a session of the operator's."""
    session_id = make_session(database, user_id=operator.user_id, username="operator")
    record(database, session_id, *EVENTS)
    return session_id


def kinds(body: str) -> list[str]:
    return [json.loads(line)[1] for line in body.splitlines()[1:]]


def test_a_recording_is_played_without_what_was_typed(operator: Api, theirs: UUID, audited: Audited) -> None:
    answer = operator.get(f"/api/recordings/{theirs}/data")
    assert answer.status_code == 200
    assert "i" not in kinds(answer.text)
    assert "show run" not in answer.text
    assert [row["resource"] for row in audited("recording.read")] == [f"session:{theirs}"]


def test_typed_input_needs_its_own_permission_even_in_ones_own_recording(
    operator: Api, theirs: UUID, audited: Audited
) -> None:
    answer = operator.get(f"/api/recordings/{theirs}/data?input=1")
    assert answer.status_code == 403
    assert "recordings.input" in answer.json["error"]
    assert audited("recording.input_read") == []


def test_reading_what_was_typed_is_audited(admin: Api, theirs: UUID, audited: Audited) -> None:
    answer = admin.get(f"/api/recordings/{theirs}/data?input=1")
    assert [json.loads(line)[2] for line in answer.text.splitlines()[1:] if json.loads(line)[1] == "i"] == [
        "show run\r"
    ]
    (row,) = audited("recording.input_read")
    assert (row["actor"], row["resource"]) == ("admin", f"session:{theirs}")
    assert audited("recording.read") == []


def test_others_recordings_are_not_found_without_the_permission_to_manage_sessions(
    viewer: Api, admin: Api, theirs: UUID
) -> None:
    assert viewer.get("/api/recordings").json == []
    for path in ("", "/data"):
        assert viewer.get(f"/api/recordings/{theirs}{path}").status_code == 404
    assert [item["id"] for item in admin.get("/api/recordings").json] == [str(theirs)]


def test_a_recording_is_made_by_the_controller_alone(operator: Api, theirs: UUID) -> None:
    assert operator.post("/api/recordings", json={"session_id": str(theirs)}).json["id"] == str(theirs)
    assert operator.post("/api/recordings", json={}).status_code == 422
    assert operator.post(f"/api/recordings/{theirs}/append", json={"data": "x"}).status_code == 409


def test_only_an_ended_recording_is_deleted_and_only_with_the_permission_to_manage_sessions(
    operator: Api, admin: Api, theirs: UUID, database: Database, audited: Audited
) -> None:
    assert operator.delete(f"/api/recordings/{theirs}").status_code == 403
    assert admin.delete(f"/api/recordings/{theirs}").status_code == 409
    with database.transaction() as tx:
        tx.execute("UPDATE sessions SET state = 'ended', ended_at = now()")
    assert admin.delete(f"/api/recordings/{theirs}").status_code == 204
    assert admin.get(f"/api/recordings/{theirs}").json["state"] == "pruned"
    assert [row["details"]["bytes"] for row in audited("recording.deleted")] == [len(b"R1#")]


def test_nothing_of_a_deleted_recording_is_played(admin: Api, theirs: UUID, database: Database) -> None:
    with database.transaction() as tx:
        tx.execute("UPDATE sessions SET state = 'ended', ended_at = now()")
    assert admin.delete(f"/api/recordings/{theirs}").status_code == 204
    assert "R1#" not in admin.get(f"/api/recordings/{theirs}/data?input=1").text


def test_the_list_says_how_long_and_how_large_a_recording_is(admin: Api, theirs: UUID) -> None:
    (item,) = admin.get("/api/recordings").json
    assert (item["bytes"], item["duration_ms"], item["state"]) == (len(b"R1#"), 2000, "active")
    (session,) = admin.get("/api/sessions").json["items"]
    assert session["recording_bytes"] == len(b"R1#")


def test_the_times_of_a_file_count_from_the_beginning_of_the_recording(admin: Api, theirs: UUID) -> None:
    """In these rows the session starts years after its recording: the times of the recording count."""
    header, *events = map(json.loads, admin.get(f"/api/recordings/{theirs}/data?input=1").text.splitlines())
    assert header["timestamp"] == 1000
    assert [at for at, _, _ in events] == [0.0, 1.0, 2.0]
