"""Summaries of sessions through the API, written by a real provider on this machine."""

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from werkzeug.test import TestResponse

from netstacks.recording import storage
from netstacks.recording.chunks import EventKind
from netstacks.store.pool import Database
from netstacks.web.api import summaries
from netstacks.web.context import Services
from tests.llm.scripted_provider import Exchange, ScriptedProvider, answer, cut_by_fin, status, trickle
from tests.rows import make_session, record
from tests.store.test_recordings import end
from tests.web.conftest import Api
from tests.web.test_ai import events
from tests.web.test_users import Audited

SHOWN = b"R1#\x1b[1mconf t\x1b[0m\r\nR1(config)#snmp-server community s3cr3tC0mmunity RO\r\nR1(config)#"
TEXT = "## Done\nA community was set.\n\n## Errors\nnone"


@pytest.fixture
def services(services: Services) -> Services:
    """A recorder that has stored everything."""
    services.recorder = cast(Any, SimpleNamespace(flush=lambda timeout_secs: True))
    return services


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as server:
        server.always(answer(TEXT))
        yield server


@pytest.fixture
def add_provider(admin: Api) -> Callable[..., None]:
    def add(server: ScriptedProvider, name: str = "Main", model: str = "m-1") -> None:
        body = {"name": name, "type": "custom", "base_url": server.chat_url, "models": [model], "key": "k"}
        made = admin.post("/api/v1/llm/providers", json=body)
        assert made.status_code == 201, made.text

    return add


@pytest.fixture
def theirs(operator: Api, database: Database) -> UUID:
    """A live session of the operator's, recorded."""
    session_id = make_session(database, user_id=operator.user_id, username="operator")
    record(database, session_id, (EventKind.OUTPUT, SHOWN), (EventKind.INPUT, b"typed-blindly\r"))
    return session_id


@pytest.fixture
def path(theirs: UUID, provider: ScriptedProvider, add_provider: Callable[..., None]) -> str:
    """The path of the summary of `theirs`, with a provider that writes it."""
    add_provider(provider)
    return f"/api/sessions/{theirs}/summary"


def told(answer: TestResponse) -> str:
    return "".join(each["text"] for each in events(answer) if each["type"] == "content_delta")


def asked(provider: ScriptedProvider) -> str:
    """The provider's last request, as one text."""
    return json.dumps(provider.requests[-1].body)


def test_a_summary_streams_in_and_is_kept(operator: Api, path: str, audited: Audited) -> None:
    assert operator.get(path).status_code == 404
    stream = operator.post(path)
    assert told(stream) == TEXT
    # Pieces that arrive together may be sent as one.
    first, *_, last = events(stream)
    assert (first["type"], last["type"]) == ("provider", "done")
    kept = operator.get(path).json
    assert kept == {
        "session_id": path.split("/")[3],
        "text": TEXT,
        "provider": "Main",
        "model": "m-1",
        "created_at": kept["created_at"],
        "created_by": "operator",
        "covered_bytes": len(SHOWN),
        "is_whole": False,
    }
    (row,) = audited("recording.summarised")
    assert (row["actor"], row["resource"]) == ("operator", f"session:{kept['session_id']}")
    assert row["details"] == {"provider": "Main", "model": "m-1", "covered_bytes": len(SHOWN)}


def test_the_question_is_accounted_for(operator: Api, path: str, services: Services) -> None:
    written: list[dict[str, Any]] = []
    services.llm._deferred_writes = cast(
        Any,
        SimpleNamespace(
            put=lambda write, *args, **details: written.append(details), put_locking=lambda *args, **details: None
        ),
    )
    operator.post(path).get_data()
    (row,) = [each for each in written if "purpose" in each]
    assert (row["purpose"], row["outcome"]) == ("summary", "answered")
    assert row["redactions"] == 1


def test_the_model_reads_the_screen_as_data_without_secrets(
    operator: Api, path: str, provider: ScriptedProvider
) -> None:
    operator.post(path).get_data()
    sent = asked(provider)
    assert "R1#conf t\\nR1(config)#snmp-server community REDACTED-" in sent
    assert "<device-output-" in sent
    assert "left out" not in sent
    assert "s3cr3tC0mmunity" not in sent
    assert "typed-blindly" not in sent


def test_the_secrets_of_the_sessions_user_are_kept_back(
    operator: Api, admin: Api, path: str, provider: ScriptedProvider
) -> None:
    secret = {"name": "core", "credential_type": "ssh_password", "username": "lee", "secret": "R1(config)"}
    assert operator.post("/api/credentials/personal", json=secret).status_code == 201
    admin.post(path).get_data()
    assert "conf t\\nREDACTED-VAULT-SECRET-1-" in asked(provider)
    assert "R1(config)" not in asked(provider)


def test_secrets_do_not_come_back_into_what_others_read(operator: Api, path: str, provider: ScriptedProvider) -> None:
    def repeat(exchange: Exchange) -> None:
        words = json.dumps(exchange.received.body).split()
        (placeholder,) = [word for word in words if word.startswith("REDACTED-SNMP")]
        answer(f"The community is {placeholder} now")(exchange)

    provider.always(repeat)
    shown = told(operator.post(path))
    assert shown.startswith("The community is REDACTED-SNMP")
    assert operator.get(path).json["text"] == shown


def test_both_ends_of_a_long_recording_are_read(
    operator: Api, path: str, theirs: UUID, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summaries, "_MAX_BYTES", 40)
    operator.post(path).get_data()
    sent = asked(provider)
    left_out = len(SHOWN) - len(b"R1#\x1b[1mconf t\x1b[0m\r\n") - len(b"R1(config)#")
    assert f">\\n\\n[{left_out} bytes left out]\\n\\n<device" in sent
    assert "R1#conf t" in sent
    assert "community" not in sent


def test_the_later_summary_replaces_the_earlier_one(operator: Api, admin: Api, path: str) -> None:
    operator.post(path).get_data()
    admin.post(path).get_data()
    assert operator.get(path).json["created_by"] == "admin"


def test_it_is_whole_when_the_session_has_ended_before(
    operator: Api, path: str, theirs: UUID, database: Database
) -> None:
    operator.post(path).get_data()
    end(database, theirs)
    assert operator.get(path).json["is_whole"] is True
    with database.transaction() as tx:
        tx.execute("UPDATE sessions SET recording_bytes = recording_bytes + 1")
    assert operator.get(path).json["is_whole"] is False


def test_an_answer_that_breaks_off_is_told_and_not_kept(
    operator: Api, path: str, provider: ScriptedProvider, audited: Audited
) -> None:
    provider.always(cut_by_fin(TEXT))
    *_, last = events(operator.post(path))
    assert last["type"] == "error"
    assert "incomplete" in last["message"]
    assert operator.get(path).status_code == 404
    assert audited("recording.summarised") == []


def test_an_answer_that_is_cut_at_its_greatest_length_is_not_kept(
    operator: Api, path: str, provider: ScriptedProvider
) -> None:
    provider.always(answer(TEXT, stop="length"))
    *_, last = events(operator.post(path))
    assert (last["type"], last["stop_reason"]) == ("done", "max_tokens")
    assert operator.get(path).status_code == 404


def test_the_author_names_both_providers_after_a_failover(
    operator: Api, path: str, provider: ScriptedProvider, add_provider: Callable[..., None]
) -> None:
    with ScriptedProvider() as spare:
        spare.always(answer(" and the rest"))
        provider.always(cut_by_fin("The beginning"))
        add_provider(spare, "Spare", "m-2")
        operator.post(path).get_data()
    kept = operator.get(path).json
    assert (kept["provider"], kept["model"]) == ("Main, Spare", "m-1, m-2")
    assert kept["text"].endswith(" and the rest")


def test_nothing_is_kept_when_the_reader_leaves(operator: Api, path: str, provider: ScriptedProvider) -> None:
    provider.always(trickle(TEXT, 0.05))
    stream = operator.post(path, buffered=False)
    next(iter(stream.response))
    stream.close()
    assert operator.get(path).status_code == 404


def test_a_recording_that_is_deleted_meanwhile_is_told(
    operator: Api, path: str, theirs: UUID, provider: ScriptedProvider, database: Database
) -> None:
    end(database, theirs)

    def delete(exchange: Exchange) -> None:
        with database.transaction() as tx:
            storage.discard(tx, [theirs])
        answer(TEXT)(exchange)

    provider.always(delete)
    *_, last = events(operator.post(path))
    assert last == {"type": "error", "message": "the recording was deleted meanwhile, so its summary is not stored"}


def test_a_summary_needs_access_to_the_recording(
    viewer: Api, anonymous: Api, path: str, provider: ScriptedProvider
) -> None:
    assert [viewer.get(path).status_code, viewer.post(path).status_code] == [404, 404]
    assert [anonymous.get(path).status_code, anonymous.post(path).status_code] == [401, 401]
    assert provider.requests == []


def test_without_output_there_is_nothing_to_summarise(
    operator: Api, path: str, database: Database, provider: ScriptedProvider
) -> None:
    silent = make_session(database, user_id=operator.user_id, username="operator")
    refused = operator.post(f"/api/sessions/{silent}/summary")
    assert refused.status_code == 404
    assert "nothing in the recording" in refused.json["error"]
    assert provider.requests == []


def test_without_a_provider_it_says_that_ai_is_not_configured(operator: Api, theirs: UUID) -> None:
    refused = operator.post(f"/api/sessions/{theirs}/summary")
    assert (refused.status_code, refused.json["code"]) == (503, "NOT_CONFIGURED")


def test_when_all_providers_rest_it_says_until_when(operator: Api, path: str, provider: ScriptedProvider) -> None:
    provider.always(status(429, Retry_After="40"))
    for _ in range(2):
        refused = operator.post(path)
        assert (refused.status_code, refused.json["code"]) == (503, "UNAVAILABLE")
        assert 30 < int(refused.headers["Retry-After"]) <= 40


def test_the_page_shows_what_is_kept_and_whether_one_can_ask(page: Api, path: str, theirs: UUID) -> None:
    page.post(path).get_data()
    html = page.get(f"/sessions/{theirs}/replay").text
    assert '"created_by": "page-admin"' in html
    assert 'data-do="summarise"' in html
    assert page.put("/api/v1/llm/settings", json={"enabled": False}).status_code == 200
    html = page.get(f"/sessions/{theirs}/replay").text
    assert "AI is not configured on this controller" in html
    assert 'data-do="summarise"' not in html
