"""Providers of language models that fail are left alone by the whole cluster: three instances and a real Valkey."""

import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from tests.acceptance import ai
from tests.acceptance.cluster import Cluster
from tests.controller import Api, until
from tests.llm.scripted_provider import ScriptedProvider, answer, silence, status
from tests.postgres import Postgres

HEARTBEAT_SECS = 1
SETTINGS: dict[str, Any] = {
    "HA_HEARTBEAT_INTERVAL_SECS": str(HEARTBEAT_SECS),
    "HA_STALE_INSTANCE_TTL_SECS": "5",
    "LLM_BREAKER_FAILURES": "3",
    "LLM_BREAKER_COOLDOWN_SECS": "3",
}

# The AI endpoints of the Terminal client and of our own page, with a request for each.
ENDPOINTS: dict[str, Any] = {
    "/api/ai/agent-chat": ai.conversation(),
    "/api/ai/agent-chat-stream": ai.conversation(),
    "/api/ai/chat": ai.conversation(),
    "/api/ai/analyze-highlights": {"output": "Interface down", "mode": "errors"},
    "/api/ai/generate-script": {"prompt": "list the interfaces"},
    "/api/ai/ssh-execute": {"session_definition_id": "device-1", "command": "show version", "timeout_secs": 10},
    "/api/v1/ai/ask": {"question": "What is up?"},
}


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 3, **SETTINGS) as cluster:
        yield cluster


@pytest.fixture
def everywhere(cluster: Cluster) -> Iterator[list[Api]]:
    """The administrator at each of the three instances, which have no provider yet."""
    first = cluster.controllers[0].login()
    everywhere = [first.at(each) for each in cluster.controllers]
    yield everywhere
    ai.remove_providers(first)
    ai.known_to(everywhere)


@pytest.fixture
def first() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as server:
        yield server


@pytest.fixture
def second() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as server:
        server.always(answer("from the second"))
        yield server


def are_resting(apis: list[Api], *provider_ids: str) -> bool:
    """Whether every instance leaves these providers alone: a probe may be under way."""
    return all("closed" not in ai.states(apis, each) for each in provider_ids)


def are_back(apis: list[Api], *provider_ids: str) -> bool:
    return all(set(ai.states(apis, each)) == {"closed"} for each in provider_ids)


def test_failures_on_several_instances_open_one_circuit_for_all(
    everywhere: list[Api], first: ScriptedProvider, second: ScriptedProvider
) -> None:
    a, b, c = everywhere
    first.always(status(500))
    first_id = ai.add_provider(a, first)
    ai.known_to(everywhere, "first")

    for each in everywhere:
        failed = ai.ask(each)
        assert (failed.status_code, failed.json()["code"]) == (502, "PROVIDER_ERROR")
        assert "first answered 500" in failed.json()["error"]
    until(lambda: are_resting(everywhere, first_id), "the open circuit on every instance")

    for each in everywhere:
        refused = ai.ask(each)
        assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
        assert int(refused.headers["Retry-After"]) >= 1
        assert "first is paused" in refused.json()["error"]
        assert ai.begin_stream(each).status_code == 503
        shown = ai.circuit(each, first_id)
        assert shown["failures"] >= 3
        assert shown["reason"].startswith("answered 500")
        assert shown["opened_at"] < shown["next_probe_at"]
    assert len(ai.questions(first)) == 3

    def openings() -> list[Any]:
        events = [each for each in b.get("/api/v1/ha/status")["events"] if each["kind"] == "breaker"]
        return [each for each in events if each["circuit"] == "open"]

    opened = until(openings, "the event of the open circuit")[0]
    assert opened["provider"] == "first"
    assert opened["reason"].startswith("answered 500")

    ai.add_provider(c, second, "second")
    ai.known_to(everywhere, "first", "second")
    for each in everywhere:
        answered = ai.ask(each).json()
        assert (answered["text"], answered["provider"]) == ("from the second", "second")
        [skipped] = answered["skipped"]
        assert skipped["provider"] == "first"
        assert skipped["reason"].startswith("is paused for")
        told = ai.events(ai.begin_stream(each))
        assert ai.text_of(told) == "from the second"
        assert [each["provider"] for each in told if each["type"] == "provider"] == ["second"]
        assert told[-1]["type"] == "done"
    assert len(ai.questions(first)) == 3

    first.always(answer("from the first"))
    until(lambda: are_back(everywhere, first_id), "the closed circuit on every instance")
    for each in everywhere:
        answered = ai.ask(each).json()
        assert (answered["text"], answered["skipped"]) == ("from the first", [])


def test_a_failure_is_hidden_by_the_next_provider(
    everywhere: list[Api], first: ScriptedProvider, second: ScriptedProvider
) -> None:
    a, *_ = everywhere
    first.always(status(529))
    ai.add_provider(a, first)
    ai.add_provider(a, second, "second")
    answered = ai.ask(a).json()
    assert answered["text"] == "from the second"
    [skipped] = answered["skipped"]
    assert skipped["provider"] == "first"
    assert skipped["reason"].startswith("answered 529")
    told = ai.events(ai.begin_stream(a))
    assert told[0]["provider"] == "second"
    assert ai.text_of(told) == "from the second"


def test_a_rate_limit_holds_on_every_instance_until_the_named_time(
    everywhere: list[Api], first: ScriptedProvider
) -> None:
    a, b, c = everywhere
    first.next(status(429, "slow down", Retry_After="120"))
    first_id = ai.add_provider(a, first)
    ai.known_to(everywhere, "first")
    refused = ai.ask(a)
    assert refused.status_code == 503
    # Time passes before it is answered.
    assert 110 < int(refused.headers["Retry-After"]) <= 120
    until(lambda: ai.states(everywhere, first_id) == ["open"] * 3, "the open circuit on every instance")
    for each in (b, c):
        shown = ai.circuit(each, first_id)
        opened_at, probe_at = (datetime.fromisoformat(shown[each]) for each in ("opened_at", "next_probe_at"))
        assert (probe_at - opened_at).total_seconds() == pytest.approx(120, abs=1)
        refused = ai.ask(each)
        assert refused.status_code == 503
        assert 60 < int(refused.headers["Retry-After"]) <= 120
    assert len(first.requests) == 1


@pytest.mark.timeout(300)
def test_six_workers_send_one_probe(postgres: Postgres) -> None:
    # Long enough for questions between the opening and the probe.
    settings = SETTINGS | {"LLM_BREAKER_COOLDOWN_SECS": "8"}
    with Cluster(postgres, 2, WEB_CONCURRENCY="3", **settings) as cluster, ScriptedProvider() as server:
        admin = cluster.controllers[0].login()
        # Any worker of a controller takes a request.
        apis = [admin.at(each) for each in cluster.controllers] * 15
        provider_id = ai.add_provider(admin, server)
        ai.known_to(apis, "first")

        def changes(event: str) -> int:
            return sum(each.log().count(event) for each in cluster.controllers)

        def has_opened(times: int) -> bool:
            return changes("llm.circuit_opened") == times

        for already in range(3):
            server.next(*[status(500)] * 3)
            asked = len(ai.questions(server))
            for _ in range(3):
                until(lambda: ai.ask(admin).status_code == 502, "a failure")
            until(partial(has_opened, already + 1), "the open circuit")
            assert len(ai.questions(server)) == asked + 3
            answers: Counter[int] = Counter()
            while not len(ai.probes(server)) > already:
                # Workers that have not heard yet go on for a heartbeat.
                answers[ai.ask(admin).status_code] += 1
            assert answers[503]
            assert answers.keys() <= {200, 503}
            until(lambda: are_back(apis, provider_id), "the closed circuit on every worker")
            # Longer than a heartbeat, after which each worker knows the circuit: a second probe would have been sent.
            time.sleep(2 * HEARTBEAT_SECS)
            assert len(ai.probes(server)) == already + 1
            until(lambda: {ai.ask(each).status_code for each in apis} == {200}, "answers of every worker")
        events = ("llm.circuit_opened", "llm.circuit_half_open", "llm.circuit_closed")
        until(lambda: min(map(changes, events)) >= 3, "the lines of each change")
        assert list(map(changes, events)) == [3, 3, 3]


def test_questions_do_not_wait_for_valkey_and_open_circuits_stay_open_without_it(
    cluster: Cluster, everywhere: list[Api], first: ScriptedProvider, second: ScriptedProvider
) -> None:
    a, *_ = everywhere
    with ScriptedProvider() as third:
        ids = [ai.add_provider(a, server, name) for server, name in ((first, "first"), (third, "third"))]
        first_id, third_id = ids
        ai.add_provider(a, second, "second")
        ai.known_to(everywhere, "first", "third", "second")
        first.always(status(500))
        third.always(answer("from the third"))
        for _ in range(3):
            assert ai.ask(a).status_code == 200
        until(lambda: are_resting(everywhere, first_id), "the open circuit on every instance")
        asked = len(ai.questions(first))

        def took_secs() -> float:
            began_at = time.monotonic()
            for each in everywhere * 7:
                answered = ai.ask(each).json()
                assert answered["provider"] == "third"
                assert [each["provider"] for each in answered["skipped"]] == ["first"]
            return time.monotonic() - began_at

        usual_secs = took_secs()
        frozen_secs: list[float] = []
        cluster.valkey.freeze()
        probed = len(ai.probes(first))
        try:
            # Until they have probed without it, each by itself and in vain.
            while len(ai.probes(first)) < probed + 3:
                frozen_secs.append(took_secs())
            # If each of the 21 questions waited for Valkey, they would take twice this time.
            assert max(frozen_secs) < usual_secs + 7 * 3 * HEARTBEAT_SECS / 2
            assert are_resting(everywhere, first_id)
        finally:
            cluster.valkey.thaw()
        until(lambda: are_resting(everywhere, first_id), "the open circuit on every instance")

        cluster.valkey.kill()
        cluster.valkey.wipe()
        third.always(status(500))
        for _ in range(3):
            assert ai.ask(a).json()["provider"] == "second"
        assert [each == "closed" for each in ai.states(everywhere, third_id)] == [False, True, True]
        assert are_resting(everywhere, first_id)
        cluster.valkey.start()
        until(lambda: are_resting(everywhere, first_id, third_id), "agreement of the instances")
        assert len(ai.questions(first)) == asked
        assert len(ai.questions(third)) == 7 * 3 * (1 + len(frozen_secs)) + 3 + 3

        first.always(answer("from the first"))
        third.always(answer("from the third"))
        until(lambda: are_back(everywhere, first_id, third_id), "agreement of the instances")


@pytest.mark.timeout(300)
def test_a_probe_whose_instance_was_killed_is_made_up_for_by_another(
    cluster: Cluster, everywhere: list[Api], first: ScriptedProvider
) -> None:
    a, *_ = everywhere
    first.always(ai.by_kind(question=status(500), probe=silence()))
    # The lease for a probe is 5 s longer than the time that the provider has.
    first_id = ai.add_provider(a, first, "hung", total_secs=20, first_token_secs=20)
    for _ in range(3):
        assert ai.ask(a).status_code == 502
    until(lambda: ai.probes(first), "the probe")

    def prober() -> str | None:
        events = a.get("/api/v1/ha/status")["events"]
        of_probe = (each for each in events if each.get("circuit") == "half-open" and each["provider"] == "hung")
        return next((each["instance_id"] for each in of_probe), None)

    pid = cluster.pid(until(prober, "the event of the probe"))
    killed = next(each for each in cluster.controllers if pid in each.worker_pids())
    killed.kill()
    try:
        assert len(ai.probes(first)) == 1
        first.always(answer("from the first"))
        living = [each for each in everywhere if each.controller is not killed]
        assert are_resting(living, first_id)
        until(lambda: are_back(living, first_id), "the closed circuit on the living instances", 120)
        assert len(ai.probes(first)) == 2
        assert [ai.ask(each).status_code for each in living] == [200, 200]
    finally:
        killed.launch().started()
        cluster.gathered(3)


def test_an_administrator_trips_and_resets_a_circuit_on_every_instance(
    everywhere: list[Api], first: ScriptedProvider
) -> None:
    a, b, c = everywhere
    first_id = ai.add_provider(a, first)
    ai.known_to(everywhere, "first")
    b.post(f"/api/v1/llm/providers/{first_id}/trip", {"secs": 600, "reason": "maintenance"})
    until(lambda: ai.states(everywhere, first_id) == ["open"] * 3, "the open circuit on every instance")
    for each in everywhere:
        refused = ai.ask(each)
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 300
        assert ai.circuit(each, first_id)["reason"] == "opened by admin: maintenance"
    assert first.requests == []
    c.post(f"/api/v1/llm/providers/{first_id}/reset")
    until(lambda: are_back(everywhere, first_id), "the closed circuit on every instance")
    assert [ai.ask(each).status_code for each in everywhere] == [200] * 3
    assert ai.probes(first) == []
    [tripped] = a.get("/api/audit?event=llm_provider.tripped")["items"]
    assert tripped["actor"] == "admin"


def test_a_change_of_a_provider_reaches_every_instance(
    everywhere: list[Api], first: ScriptedProvider, second: ScriptedProvider
) -> None:
    a, _, c = everywhere
    provider_id = ai.add_provider(a, first)
    ai.known_to(everywhere, "first")
    assert {ai.ask(each).json()["text"] for each in everywhere} == {"pong"}
    change = {"base_url": second.chat_url, "key": "sk-another", "models": ["scripted-2"]}
    c.call("PUT", f"/api/v1/llm/providers/{provider_id}", json=change)
    until(lambda: {ai.ask(each).json()["text"] for each in everywhere} == {"from the second"}, "the change")
    assert {each.headers["authorization"] for each in second.requests} == {"Bearer sk-another"}
    assert {each.body["model"] for each in second.requests} == {"scripted-2"}


def has_central_ai(api: Api) -> bool:
    features = {each["name"]: each["enabled"] for each in api.get("/api/capabilities")["features"]}
    return bool(features["central_ai"])


def test_ai_is_switched_off_and_on_for_every_instance(everywhere: list[Api], first: ScriptedProvider) -> None:
    a, b, _ = everywhere
    ai.add_provider(a, first)
    ai.known_to(everywhere, "first")
    assert all(map(has_central_ai, everywhere))
    b.call("PUT", "/api/v1/llm/settings", json={"enabled": False})
    try:
        ai.known_to(everywhere)
        for each in everywhere:
            assert each.get("/api/ai/status") == {"configured": False, "providers": []}
            assert not has_central_ai(each)
            for path, body in ENDPOINTS.items():
                refused = ai.post(each, path, body)
                assert (refused.status_code, refused.json()["code"]) == (503, "NOT_CONFIGURED")
                assert refused.json()["error"].startswith("AI is switched off")
        assert first.requests == []
    finally:
        a.call("PUT", "/api/v1/llm/settings", json={"enabled": True})
    ai.known_to(everywhere, "first")
    first.always(answer("pong"))
    assert all(map(has_central_ai, everywhere))
    assert [ai.ask(each).status_code for each in everywhere] == [200] * 3
