"""Language models behind one controller: the Terminal client's requests, redaction, and limits."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.acceptance import ai
from tests.controller import Api, Controller, until
from tests.llm.scripted_provider import (
    Behaviour,
    Exchange,
    ScriptedProvider,
    ToolCall,
    answer,
    chat_events,
    cut_by_fin,
    cut_by_rst,
    ends_early,
    error_event,
    html,
    no_token,
    silence,
    stall,
    status,
    stream,
)
from tests.postgres import Postgres

PASSWORD = "n0c-Summer-2026"
COMMUNITY = "publ1c-S3cret"
# Only the vault knows that the first one is a secret.
DEVICE_OUTPUT = f"edge-1#echo {PASSWORD}\n{PASSWORD}\nedge-1#show run\nsnmp-server community {COMMUNITY} RO\nedge-1#"
PLACEHOLDER = re.compile(r"REDACTED-[A-Z0-9-]+-\d+-[0-9A-F]{8}")

# The provider that the one-shot features of the Terminal client name, whatever is configured here.
HINT: dict[str, Any] = {"provider": "anthropic", "model": "claude-sonnet-4-20250514"}
# The Terminal client waits this long for an answer.
CLIENT_SECS = 30
SCHEMA = {"type": "object", "properties": {"session_id": {"type": "string"}}, "required": ["session_id"]}
# The client announces them, and cannot run them.
UNUSABLE = ["collect_device_backup", "get_device_config", "investigate_config_change", "run_command"]


@pytest.fixture(scope="module")
def controller(postgres: Postgres) -> Iterator[Controller]:
    controller = Controller(
        postgres.create_database(),
        LLM_BREAKER_FAILURES="3",
        LLM_BREAKER_COOLDOWN_SECS="3",
        LLM_USER_CONCURRENCY="1000",
    )
    yield controller.start()
    controller.stop()


@pytest.fixture
def server(admin: Api) -> Iterator[ScriptedProvider]:
    """A provider that answers; the test adds it to the controller."""
    with ScriptedProvider() as server:
        yield server
        ai.remove_providers(admin)


@pytest.fixture
def second() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as server:
        server.always(answer(" and the other half."))
        yield server


def tool(name: str) -> dict[str, Any]:
    return {"name": name, "description": f"Runs {name}.", "input_schema": SCHEMA}


def result_of_a_tool(content: str, **body: Any) -> dict[str, Any]:
    """The client's request after it has run a tool that the model asked for."""
    use = {"type": "tool_use", "id": "call-1", "name": "get_terminal_context", "input": {"session_id": "s1"}}
    result = {"type": "tool_result", "tool_use_id": "call-1", "content": content, "is_error": False}
    messages = [
        {"role": "user", "content": "What is configured?"},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result]},
    ]
    return {"messages": messages, "tools": [tool("get_terminal_context")], **body}


def test_agent_chat_answers_as_the_client_expects(admin: Api, server: ScriptedProvider) -> None:
    ai.add_provider(admin, server)
    server.next(answer("All is well."))
    tools = [*map(tool, UNUSABLE), tool("list_sessions")]
    body = ai.conversation(tools=tools, system_prompt="Be brief.", max_tokens=1_000_000, **HINT)
    assert ai.post(admin, "/api/ai/agent-chat", body).json() == {
        "text": "All is well.",
        "tool_use": [],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18},
        "provider": "first",
        "model": ai.MODEL,
        "skipped": [],
    }
    [sent] = server.requests
    assert sent.headers["authorization"] == "Bearer sk-of-the-tests"
    assert sent.body["model"] == ai.MODEL
    assert sent.body["max_tokens"] <= 8192
    assert [each["function"]["name"] for each in sent.body["tools"]] == ["list_sessions"]
    assert sent.body["messages"][0]["content"].startswith("Be brief.")

    server.next(answer("", [ToolCall("call-1", "list_sessions", {"filter": "core"})]))
    answered = ai.ask(admin, tools=tools).json()
    assert answered["text"] is None
    assert answered["tool_use"] == [{"id": "call-1", "name": "list_sessions", "input": {"filter": "core"}}]
    assert answered["stop_reason"] == "tool_use"


def test_the_other_features_of_the_client_answer(admin: Api, server: ScriptedProvider) -> None:
    ai.add_provider(admin, server)
    server.next(answer("Port 7 is down."))
    asked = ai.conversation("Why?", context={"terminal": {"recentOutput": "port 7 down"}}, **HINT)
    assert ai.post(admin, "/api/ai/chat", asked).json() == {"response": "Port 7 is down."}
    assert "port 7 down" in json.dumps(server.requests[-1].body)
    server.next(answer('[{"text": "down", "type": "error", "confidence": 0.9, "reason": "a port is down"}]'))
    output = {"output": "port 6 up\nport 7 down", "mode": "errors"}
    [highlight] = ai.post(admin, "/api/ai/analyze-highlights", output).json()["highlights"]
    assert (highlight["line"], highlight["start"], highlight["end"], highlight["text"]) == (1, 7, 11, "down")
    script = {"script": "print('ports')", "explanation": "It lists the ports."}
    server.next(answer(f"Here it is:\n```json\n{json.dumps(script)}\n```"))
    assert ai.post(admin, "/api/ai/generate-script", {"prompt": "list the ports", **HINT}).json() == script


def test_a_stream_is_what_the_clients_parser_takes(admin: Api, server: ScriptedProvider) -> None:
    ai.add_provider(admin, server)
    server.next(answer("I look at the sessions.", [ToolCall("call-1", "list_sessions", {"filter": "core"})]))
    streamed = ai.begin_stream(admin, tools=[tool("list_sessions")], **HINT)
    told = ai.events(streamed)
    assert streamed.headers["X-Accel-Buffering"] == "no"
    assert ai.text_of(told) == "I look at the sessions."
    kinds = [each["type"] for each in told if each["type"] not in ("provider", "content_delta", "tool_input_delta")]
    assert kinds == ["tool_use_start", "tool_use_end", "done"]
    start = next(each for each in told if each["type"] == "tool_use_start")
    assert (start["id"], start["name"]) == ("call-1", "list_sessions")
    assert json.loads("".join(each["delta"] for each in told if each["type"] == "tool_input_delta")) == {
        "filter": "core"
    }
    usage = {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18}
    assert told[-1] == {"type": "done", "stop_reason": "tool_use", "usage": usage}


CUT: dict[str, Behaviour] = {
    "FIN": cut_by_fin("Half of an answer"),
    "RST": cut_by_rst("Half of an answer"),
    "a regular end": ends_early("Half of an answer"),
    "an error event": error_event("overloaded_error", "Half of an answer"),
    "silence": stall("Half of an answer"),
}
every_cut = pytest.mark.parametrize("cut", CUT.values(), ids=CUT.keys())


@every_cut
def test_a_stream_that_is_cut_ends_with_an_error(admin: Api, server: ScriptedProvider, cut: Behaviour) -> None:
    ai.add_provider(admin, server, total_secs=2)
    server.next(cut)
    told = ai.events(ai.begin_stream(admin))
    assert "Half of an answer".startswith(ai.text_of(told))
    assert ai.text_of(told)
    assert [each["type"] for each in told if each["type"] in ("done", "error")] == ["error"]
    assert told[-1]["message"].startswith("The answer is incomplete")


@every_cut
def test_the_next_provider_continues_a_stream_that_is_cut(
    admin: Api, server: ScriptedProvider, second: ScriptedProvider, cut: Behaviour
) -> None:
    ai.add_provider(admin, server, total_secs=2)
    ai.add_provider(admin, second, "second")
    server.next(cut)
    told = ai.events(ai.begin_stream(admin))
    assert [each["provider"] for each in told if each["type"] == "provider"] == ["first", "second"]
    text = ai.text_of(told)
    assert text.endswith("second continues.]*\n\n and the other half.")
    assert text.count("Half") == 1
    assert told[-1]["type"] == "done"


@pytest.mark.parametrize("path", ["/api/ai/agent-chat", "/api/ai/agent-chat-stream"])
@pytest.mark.parametrize(
    ("failure", "refusal"),
    [
        (status(500), (502, "PROVIDER_ERROR")),
        (html(), (502, "PROVIDER_ERROR")),
        (no_token(), (504, "TIMEOUT")),
    ],
    ids=["500", "HTML", "no token"],
)
def test_a_failure_before_an_answer_is_refused_with_a_small_body(
    admin: Api, server: ScriptedProvider, path: str, failure: Behaviour, refusal: tuple[int, str]
) -> None:
    ai.add_provider(admin, server, first_token_secs=4)
    server.next(failure)
    refused = ai.post(admin, path, ai.conversation())
    assert (refused.status_code, refused.json()["code"]) == refusal
    assert refused.json().keys() == {"error", "code"}
    assert len(refused.content) < 500


def test_every_answer_comes_before_the_client_gives_up(admin: Api, server: ScriptedProvider) -> None:
    """The provider has longer than the client; the time that the controller gave it is in the refusal."""
    ai.add_provider(admin, server, first_token_secs=120, total_secs=120)
    server.always(silence())
    asked = [
        ("/api/ai/agent-chat", ai.conversation()),
        ("/api/ai/chat", ai.conversation()),
        ("/api/ai/generate-script", {"prompt": "list the ports"}),
    ]
    with ThreadPoolExecutor(len(asked)) as clients:
        refused = list(clients.map(lambda each: ai.post(admin, *each, timeout=60), asked))
    assert [(each.status_code, each.json()["code"]) for each in refused] == [(504, "TIMEOUT")] * 3
    for each in refused:
        found = re.search(r"within ([\d.]+) s", each.json()["error"])
        assert found, each.text
        assert float(found[1]) < CLIENT_SECS
    until(lambda: not server.open_connections, "the end of the calls")


@pytest.mark.parametrize("path", ["/api/ai/agent-chat", "/api/ai/agent-chat-stream"])
@pytest.mark.parametrize("provider_is", [silence(), no_token(), stall("Half")], ids=["silent", "slow", "stalled"])
def test_a_browser_that_leaves_ends_the_call_to_the_provider(
    admin: Api, server: ScriptedProvider, path: str, provider_is: Behaviour
) -> None:
    name = f"provider-{uuid4()}"
    provider_id = ai.add_provider(admin, server, name, first_token_secs=120, total_secs=120)
    server.always(provider_is)
    leave(admin, path, server)
    # Less than the 28 s or 120 s after which the call would end by itself.
    until(lambda: not server.open_connections, "the end of the call", 20)
    assert len(server.requests) == 1
    [call] = until(
        lambda: [each for each in ai.calls(admin, "admin") if each["details"]["provider"] == name], "the row"
    )
    assert call["details"]["outcome"] == "abandoned"
    circuit = ai.circuit(admin, provider_id)
    assert (circuit["state"], circuit["failures"]) == ("closed", 0)


def leave(api: Api, path: str, server: ScriptedProvider) -> None:
    """Asks, and closes the connection when the provider has the question."""
    with closing(ai.begin(api, path, ai.conversation())):
        until(lambda: server.requests, "the question at the provider")


@pytest.mark.timeout(300)
def test_a_thousand_abandoned_streams_leave_nothing_behind(
    controller: Controller, admin: Api, server: ScriptedProvider
) -> None:
    unanswered: set[str] = set()

    def behave(exchange: Exchange) -> None:
        found = re.search(r"silent-\d+", json.dumps(exchange.received.body))
        if found:
            unanswered.add(found[0])
        (silence() if found else stall("Half of an answer"))(exchange)

    provider_id = ai.add_provider(admin, server, first_token_secs=120, total_secs=120, max_concurrent=0)
    assert ai.ask(admin).status_code == 200
    server.always(behave)
    abe = ai.add_user(admin, "abe")
    files = ai.open_files(controller)

    def abandon(number: int) -> str:
        """The part of an answer at the time that its client left: every third one never begins."""
        if number % 3 == 0:
            text = f"silent-{number}"
            with closing(ai.begin(abe, "/api/ai/agent-chat-stream", ai.conversation(text))):
                until(lambda: text in unanswered, "the question at the provider", 60)
            return "nothing"
        with ai.begin_stream(abe, "half", timeout=60) as streamed:
            # A comment may come first, by which a busy controller keeps the connection alive.
            came = b""
            for piece in streamed.iter_content(4096):
                came += piece
                if b"data: " in came:
                    return "begun"
            return f"{streamed.status_code} {came!r}"

    with ThreadPoolExecutor(50) as browsers:
        assert Counter(browsers.map(abandon, range(1000))) == {"begun": 666, "nothing": 334}

    # A row is written when the greenlet that serves the stream has come to its end.
    until(lambda: len(ai.calls(admin, "abe")) == 1000, "the end of every stream", 120)
    assert {each["details"]["outcome"] for each in ai.calls(admin, "abe")} == {"abandoned"}
    # One connection may be kept for the next call.
    until(lambda: server.open_connections <= 1, "the end of every call")
    # Connections to the database were opened meanwhile.
    until(lambda: ai.open_files(controller) < files + 50, "the end of every connection")
    circuit = ai.circuit(admin, provider_id)
    assert (circuit["state"], circuit["failures"]) == ("closed", 0)
    server.always(answer("pong"))
    assert ai.ask(abe).json()["text"] == "pong"


def echo(exchange: Exchange) -> None:
    """Answers with the placeholders that it was asked with, in words and in a tool's input."""
    asked = json.dumps([each for each in exchange.received.body["messages"] if each["role"] != "system"])
    words = " and ".join(dict.fromkeys(PLACEHOLDER.findall(asked)))
    answer(f"I see {words}.", [ToolCall("call-2", "recommend_config", {"lines": [f"x {words}"]})])(exchange)


def test_secrets_stay_in_the_building_and_come_back_in_the_answer(admin: Api, server: ScriptedProvider) -> None:
    ai.add_provider(admin, server)
    admin.add_credential("noc", PASSWORD)
    server.always(echo)
    both = f"{PASSWORD} and {COMMUNITY}"

    answered = ai.post(admin, "/api/ai/agent-chat", result_of_a_tool(DEVICE_OUTPUT)).json()
    assert answered["text"] == f"I see {both}."
    # The client runs tools without a key press: their inputs keep the placeholders.
    [use] = answered["tool_use"]
    assert len(PLACEHOLDER.findall(json.dumps(use["input"]))) == 2
    streamed = ai.post(admin, "/api/ai/agent-chat-stream", result_of_a_tool(DEVICE_OUTPUT), stream=True)
    told = ai.events(streamed)
    assert ai.text_of(told) == f"I see {both}."
    parts = "".join(each["delta"] for each in told if each["type"] == "tool_input_delta")
    assert len(PLACEHOLDER.findall(json.dumps(json.loads(parts)))) == 2

    sent = json.dumps([each.body for each in server.requests])
    assert PASSWORD not in sent
    assert COMMUNITY not in sent
    assert "snmp-server community REDACTED-" in sent
    # Device output is data: it stands between marks of which the system's words tell.
    last = server.requests[-1].body["messages"]
    assert last[-1]["role"] == "tool"
    mark = re.match(r"<(device-output-[0-9a-f]+)>", last[-1]["content"])
    assert mark
    assert f"</{mark[1]}>" in last[0]["content"]

    bob = ai.add_user(admin, "bob")
    for placeholder in set(PLACEHOLDER.findall(json.dumps(last[1:]))):
        repeated = ai.ask(bob, f"What is {placeholder}?").json()["text"]
        assert placeholder in repeated
        assert PASSWORD not in repeated
        assert COMMUNITY not in repeated


def test_a_call_is_a_row_of_the_audit_log_without_its_content(admin: Api, server: ScriptedProvider) -> None:
    ai.add_provider(admin, server)
    server.always(answer("The answer of the model."))
    eve = ai.add_user(admin, "eve")
    assert ai.post(eve, "/api/ai/agent-chat", result_of_a_tool(DEVICE_OUTPUT)).status_code == 200
    [row] = until(lambda: ai.calls(admin, "eve"), "the audit row")
    details = row["details"]
    assert (details["provider"], details["model"]) == ("first", ai.MODEL)
    assert (details["purpose"], details["outcome"]) == ("agent-chat", "answered")
    assert (details["input_tokens"], details["output_tokens"]) == (11, 7)
    assert details["redactions"] >= 2
    written = json.dumps(row)
    for content in (PASSWORD, COMMUNITY, "snmp-server", "What is configured", "answer of the model"):
        assert content not in written


def test_a_refused_key_says_nothing_about_the_provider(admin: Api, server: ScriptedProvider) -> None:
    provider_id = ai.add_provider(admin, server, key="sk-wrong-key-0815")
    server.always(status(401, "invalid x-api-key sk-wrong-key-0815"))
    for _ in range(5):
        refused = ai.ask(admin)
        assert (refused.status_code, refused.json()["code"]) == (502, "PROVIDER_ERROR")
        assert "answered 401" in refused.json()["error"]
        assert "sk-wrong-key" not in refused.text
    circuit = ai.circuit(admin, provider_id)
    assert (circuit["state"], circuit["failures"]) == ("closed", 0)
    assert len(server.requests) == 5
    assert "sk-wrong-key" not in admin.controller.log()


@dataclass
class Limited:
    """A first start with two providers from a file, and with small limits; the first provider has a budget too."""

    controller: Controller
    first: ScriptedProvider
    second: ScriptedProvider


@pytest.fixture
def limited(postgres: Postgres, tmp_path: Path) -> Iterator[Limited]:
    with ScriptedProvider() as first, ScriptedProvider() as second:
        file = tmp_path / "providers.json"
        entry = {"type": "custom", "models": [ai.MODEL], "key": "sk-of-the-tests"}
        entries = [
            {**entry, "name": "first", "base_url": first.chat_url, "daily_tokens": 1000},
            {**entry, "name": "second", "base_url": second.chat_url},
        ]
        file.write_text(json.dumps(entries))
        settings = {
            "LLM_PROVIDERS_FILE": str(file),
            "LLM_USER_CONCURRENCY": "2",
            "LLM_USER_DAILY_TOKENS": "1000000",
        }
        controller = Controller(postgres.create_database(), **settings)
        try:
            yield Limited(controller.start(), first, second)
        finally:
            controller.stop()


def test_concurrent_questions_of_a_user_are_limited(limited: Limited) -> None:
    admin = limited.controller.login()
    carl = ai.add_user(admin, "carl")
    ai.known_to([carl], "first", "second")
    limited.first.always(stall("Half of an answer"))
    hanging = [ai.begin_stream(carl), ai.begin_stream(carl)]
    assert [each.status_code for each in hanging] == [200, 200]
    for refused in (ai.ask(carl), ai.begin_stream(carl)):
        assert (refused.status_code, refused.json()["code"]) == (429, "RATE_LIMITED")
        assert int(refused.headers["Retry-After"]) >= 1
        assert "2 AI requests in progress" in refused.json()["error"]
    limited.first.always(answer())
    assert ai.ask(admin).status_code == 200
    for each in hanging:
        each.close()
    until(lambda: ai.ask(carl).status_code == 200, "a free slot")


def test_tokens_of_a_provider_and_of_a_user_are_limited(limited: Limited) -> None:
    dora = ai.add_user(limited.controller.login(), "dora")
    limited.first.always(stream(*chat_events("from the first", tokens=(600, 600))))
    limited.second.always(stream(*chat_events("from the second", tokens=(600_000, 600_000))))

    def answered_by_second() -> Any:
        answered = ai.ask(dora).json()
        return answered if answered["provider"] == "second" else None

    [skipped] = until(answered_by_second, "the end of the first provider's budget")["skipped"]
    assert skipped == {"provider": "first", "reason": "has used its 1,000 tokens of today"}

    # A response of an error is false.
    [refused] = until(
        lambda: [each for each in [ai.ask(dora)] if each.status_code != 200], "the end of the user's budget"
    )
    assert (refused.status_code, refused.json()["code"]) == (429, "RATE_LIMITED")
    assert "your 1,000,000 AI tokens of today" in refused.json()["error"]
    assert 1 <= int(refused.headers["Retry-After"]) <= 24 * 3600
