"""The providers of language models over HTTP: administrators only, keys go in and never out, tests told in words."""

from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from flask import Flask

from netstacks.llm.conversation import ChatRequest, Piece
from netstacks.llm.directory import Defaults, Directory
from netstacks.llm.failures import (
    ProviderBroken,
    ProviderFailure,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnreachable,
    RateLimited,
    StreamCut,
)
from netstacks.llm.provider import Provider
from netstacks.llm.service import ModelCircuit, ProviderState
from netstacks.store import llm_usage
from netstacks.store.pool import Database
from netstacks.store.vault import Vault
from netstacks.web.app import create_app
from netstacks.web.context import Services
from tests.web.conftest import Api

LIST, SETTINGS = "/api/v1/llm/providers", "/api/v1/llm/settings"
BODY = {"name": "claude", "type": "anthropic", "models": ["m1", "m2"], "key": "sk-hunter2"}


class FakeClient:
    """Answers a canary as the test says, and remembers which model was asked with which key."""

    failure: ProviderFailure | None = None
    asked: list[tuple[str, str | None]]

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def stream(self, request: ChatRequest, model: str, *, total_secs: float) -> Generator[Piece]:
        raise NotImplementedError

    def canary(self, model: str) -> None:
        self.asked.append((model, self._provider.key))
        if self.failure:
            raise self.failure

    def close(self) -> None:
        pass


@pytest.fixture
def directory(services: Services, monkeypatch: pytest.MonkeyPatch) -> Directory:
    monkeypatch.setattr(FakeClient, "asked", [], raising=False)
    defaults = Defaults(first_token_secs=15, total_secs=30)
    return Directory(services.database, services.vault, defaults, FakeClient, interval_secs=60)


@pytest.fixture
def app(services: Services, directory: Directory) -> Flask:
    def state_of(provider_id: UUID) -> ProviderState:
        circuit: ModelCircuit = {
            "model": "m1",
            "state": "open",
            "failures": 3,
            "reason": str(provider_id),
            "opened_at": 1e9,
            "next_probe_at": None,
            "retry_after_secs": 1.5,
        }
        return {"circuits": [circuit], "requests": 3, "failures": 2, "p50_secs": 0.5, "p95_secs": None}

    cast(Any, services).llm = SimpleNamespace(
        directory=directory,
        state_of=state_of,
        circuits=services.llm.circuits,
        canary=lambda provider, model: directory.client(provider).canary(model),
    )
    return create_app(services)


def add(api: Api, **values: Any) -> dict[str, Any]:
    answer = api.post(LIST, json=BODY | values)
    assert answer.status_code == 201, answer.text
    return answer.json


def names(directory: Directory) -> list[str]:
    return [provider.name for provider in directory.providers()]


def test_a_provider_as_administrators_see_it(admin: Api) -> None:
    made = add(admin)
    assert made == {
        "id": made["id"],
        "name": "claude",
        "type": "anthropic",
        "base_url": "https://api.anthropic.com",
        "models": ["m1", "m2"],
        "has_key": True,
        "enabled": True,
        "position": 1,
        "connect_secs": None,
        "first_token_secs": None,
        "total_secs": None,
        "max_concurrent": 16,
        "daily_tokens": 0,
        "updated_at": made["updated_at"],
        "updated_by": "admin",
        "version": made["version"],
        "problem": None,
        "today": {"requests": 0, "failures": 0, "input_tokens": 0, "output_tokens": 0},
        "circuits": [
            {
                "model": "m1",
                "state": "open",
                "failures": 3,
                "reason": made["id"],
                "opened_at": "2001-09-09T01:46:40Z",
                "next_probe_at": None,
                "retry_after_secs": 1.5,
            }
        ],
        "requests": 3,
        "failures": 2,
        "p50_secs": 0.5,
        "p95_secs": None,
    }
    assert admin.get(LIST).json == {"items": [made]}
    assert admin.get(f"{LIST}/{made['id']}").json == made


def test_administrators_only(admin: Api, operator: Api, viewer: Api, anonymous: Api) -> None:
    path = f"{LIST}/{add(admin)['id']}"
    for api, status in ((operator, 403), (viewer, 403), (anonymous, 401)):
        answers = [
            api.get(LIST),
            api.post(LIST, json=BODY),
            api.get(path),
            api.put(path, json={"name": "x"}),
            api.delete(path),
            api.put(f"{LIST}/order", json={"ids": []}),
            api.post(f"{path}/test", json={}),
            api.get(SETTINGS),
            api.put(SETTINGS, json={"enabled": False}),
        ]
        assert [answer.status_code for answer in answers] == [status] * len(answers)
    assert [item["name"] for item in admin.get(LIST).json["items"]] == ["claude"]


def test_a_change_is_known_here_at_once(admin: Api, directory: Directory) -> None:
    first, second = add(admin, name="a"), add(admin, name="b")
    assert names(directory) == ["a", "b"]
    ids = [second["id"], first["id"]]
    assert [item["id"] for item in admin.put(f"{LIST}/order", json={"ids": ids}).json["items"]] == ids
    assert names(directory) == ["b", "a"]
    admin.put(f"{LIST}/{first['id']}", json={"enabled": False})
    assert names(directory) == ["b"]
    assert admin.delete(f"{LIST}/{second['id']}").status_code == 204
    assert names(directory) == []
    admin.put(SETTINGS, json={"enabled": False})
    assert not directory.is_on


def test_a_change_keeps_what_is_not_sent(admin: Api, directory: Directory) -> None:
    made = add(admin, total_secs=12.5)
    path = f"{LIST}/{made['id']}"
    changed = admin.put(path, json={"models": ["m3"], "key": "", "type": "anthropic"}).json
    assert changed | {"updated_at": 0} == made | {"models": ["m3"], "version": made["version"] + 1, "updated_at": 0}
    assert directory.providers()[0].key == BODY["key"]
    assert admin.put(path, json={"total_secs": None}).json["total_secs"] is None
    admin.put(path, json={"key": "sk-new"})
    assert directory.providers()[0].key == "sk-new"
    assert admin.put(path, json={"key": None}).json["has_key"] is False
    assert directory.providers()[0].key is None


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"name": ""}, "name: "),
        ({"name": "a\nb"}, "name: must not contain control characters"),
        ({"type": "gemini"}, "type: must be 'anthropic', 'openai'"),
        ({"type": "litellm"}, "base_url: is missing, the type litellm has no default"),
        ({"base_url": "file:///etc/passwd"}, "base_url: must be a URL such as https://llm.example.net/v1"),
        ({"base_url": "https://u:hunter2@h"}, "base_url: must not contain a user or a password"),
        ({"base_url": "https://h/?key=hunter2"}, "base_url: has an unknown parameter 'key'"),
        ({"models": []}, "models: "),
        ({"models": [""]}, "models.0: "),
        ({"total_secs": 601}, "total_secs: must be less than or equal to 120"),
        ({"daily_tokens": -1}, "daily_tokens: "),
        ({"key": "hunter2\r\nX-Evil: 1"}, "key: must be printable ASCII without spaces"),
    ],
)
def test_a_wrong_value_is_named_and_nothing_is_stored(admin: Api, wrong: dict[str, Any], problem: str) -> None:
    answer = admin.post(LIST, json=BODY | wrong)
    assert answer.status_code == 422
    assert answer.json["error"].startswith(problem)
    assert "hunter2" not in answer.text
    assert admin.get(LIST).json == {"items": []}


def test_a_stored_key_goes_to_no_other_server(admin: Api, directory: Directory) -> None:
    made = add(admin, type="custom", base_url="https://llm.example.net/v1")
    path = f"{LIST}/{made['id']}"
    for url in ("https://evil.example.net/v1", "http://llm.example.net/v1", "https://llm.example.net:8443/v1"):
        answer = admin.put(path, json={"base_url": url})
        assert (answer.status_code, answer.json["error"][:23]) == (422, "key: send it again with")
    assert directory.providers()[0].base_url == "https://llm.example.net/v1"
    assert admin.put(path, json={"base_url": "https://LLM.example.net:443/v2/"}).status_code == 200
    assert admin.put(path, json={"base_url": "https://other.example.net", "key": "sk-other"}).status_code == 200
    assert admin.put(path, json={"base_url": "https://third.example.net", "key": None}).status_code == 200
    assert admin.put(path, json={"base_url": "https://fourth.example.net"}).status_code == 200


def test_a_type_does_not_change_and_an_empty_base_url_is_that_of_the_type(admin: Api) -> None:
    path = f"{LIST}/{add(admin, key=None, base_url='https://proxy.example.net')['id']}"
    answer = admin.put(path, json={"type": "openai"})
    assert (answer.status_code, answer.json["error"]) == (422, "type: cannot be changed, add another provider instead")
    assert admin.put(path, json={"base_url": ""}).json["base_url"] == "https://api.anthropic.com"


def test_a_taken_name_and_an_old_list_are_conflicts(admin: Api) -> None:
    made = add(admin)
    assert admin.post(LIST, json=BODY | {"name": "CLAUDE"}).status_code == 409
    assert admin.put(f"{LIST}/order", json={"ids": [made["id"], str(uuid4())]}).status_code == 409
    assert admin.put(f"{LIST}/order", json={"ids": ["x"]}).status_code == 422


def test_an_unknown_one_is_not_found(admin: Api) -> None:
    path = f"{LIST}/{uuid4()}"
    for answer in (
        admin.get(path),
        admin.put(path, json={"name": "x"}),
        admin.delete(path),
        admin.post(f"{path}/test", json={}),
    ):
        assert answer.status_code == 404


def test_the_list_says_what_this_day_has_brought(admin: Api, database: Database) -> None:
    made = add(admin)
    with database.transaction() as tx:
        for failed in (False, True):
            provider_id = UUID(made["id"])
            llm_usage.add(
                tx, provider_id=provider_id, user_id=admin.user_id, failed=failed, input_tokens=10, output_tokens=2
            )
    today = {"requests": 2, "failures": 1, "input_tokens": 20, "output_tokens": 4}
    assert admin.get(LIST).json["items"][0]["today"] == today
    assert admin.put(f"{LIST}/{made['id']}", json={"name": "x"}).json["today"] == today


def test_a_test_asks_once_and_says_how_it_went(admin: Api, audited: Callable[[str], list[dict[str, Any]]]) -> None:
    path = f"{LIST}/{add(admin, enabled=False)['id']}/test"
    outcome = admin.post(path, json={}).json
    assert (outcome["ok"], outcome["model"]) == (True, "m1")
    assert outcome["message"] == f"claude answers: m1, {outcome['msecs']} ms."
    assert admin.post(path, json={"model": "m2"}).json["model"] == "m2"
    assert FakeClient.asked == [("m1", BODY["key"]), ("m2", BODY["key"])]
    assert admin.post(path, json={"model": "m9"}).status_code == 422
    rows = audited("llm_provider.tested")
    assert [row["details"] for row in rows] == [
        {"name": "claude", "model": "m1", "ok": True},
        {"name": "claude", "model": "m2", "ok": True},
    ]


@pytest.mark.parametrize(
    ("failure", "advice"),
    [
        (ProviderTimeout("did not begin to answer within 15 s"), "Try again"),
        (ProviderUnreachable("could not be reached"), "Check the base URL, and whether"),
        (ProviderBroken("answered with HTML"), "Check that the base URL belongs"),
        (StreamCut("broke off"), "Try again. A proxy"),
        (RateLimited("asks to be left alone", 7), "The provider works"),
        (ProviderRefused("refused the key", 401), "Check the key"),
        (ProviderRefused("knows no such model", 404), "Check the base URL and the name of the model"),
        (ProviderRefused("refused the request", 400), "The provider works but refuses"),
    ],
)
def test_a_test_that_failed_says_what_to_do(
    admin: Api, monkeypatch: pytest.MonkeyPatch, failure: ProviderFailure, advice: str
) -> None:
    monkeypatch.setattr(FakeClient, "failure", failure)
    answer = admin.post(f"{LIST}/{add(admin)['id']}/test", json={})
    assert answer.status_code == 200
    assert (answer.json["ok"], answer.json["message"]) == (False, f"claude {failure}.")
    assert answer.json["advice"].startswith(advice)


def test_a_key_that_cannot_be_read_is_told_in_the_list_and_by_a_test(
    admin: Api, database: Database, directory: Directory
) -> None:
    made, other = add(admin), add(admin, name="other")
    with database.transaction() as tx:
        tx.execute("UPDATE vault_secrets SET sealed = '' WHERE credential_id = %s", [made["id"]])
        tx.execute("UPDATE settings SET value = '99' WHERE key = 'llm.providers'")
    directory.refresh()
    first, second = admin.get(LIST).json["items"]
    assert first["problem"].startswith("the key is unreadable")
    assert (first["has_key"], second) == (True, other)
    outcome = admin.post(f"{LIST}/{made['id']}/test", json={}).json
    assert (outcome["ok"], outcome["message"]) == (False, f"The provider cannot be used: {first['problem']}.")
    assert FakeClient.asked == []
    admin.put(f"{LIST}/{made['id']}", json={"key": "sk-again"})
    assert admin.post(f"{LIST}/{made['id']}/test", json={}).json["ok"] is True


def test_a_locked_vault_says_so_and_stores_nothing(services: Services, admin: Api) -> None:
    made = add(admin)
    services.vault = Vault(services.database, "0f" * 32)
    for answer in (
        admin.post(LIST, json=BODY | {"name": "x"}),
        admin.put(f"{LIST}/{made['id']}", json={"name": "x", "key": "sk-2"}),
    ):
        assert answer.status_code == 503
        assert "VAULT_MASTER_KEY" in answer.json["error"]
    assert [item["name"] for item in admin.get(LIST).json["items"]] == ["claude"]


def test_every_change_is_audited_and_no_key_is(admin: Api, audited: Callable[[str], list[dict[str, Any]]]) -> None:
    made = add(admin)
    path = f"{LIST}/{made['id']}"
    answers = [
        admin.put(path, json={"name": "renamed", "key": "sk-hunter2-two"}),
        admin.put(f"{LIST}/order", json={"ids": [made["id"]]}),
        admin.put(path, json={"key": None}),
        admin.delete(path),
    ]
    rows = audited("llm_provider.*")
    assert [(row["event"], row["details"]) for row in rows] == [
        (
            "llm_provider.created",
            {"name": "claude", "type": "anthropic", "base_url": made["base_url"], "has_key": True},
        ),
        (
            "llm_provider.updated",
            {"name": "renamed", "changes": {"name": ["claude", "renamed"]}, "key_replaced": True},
        ),
        ("llm_provider.reordered", {"order": ["renamed"]}),
        (
            "llm_provider.updated",
            {"name": "renamed", "changes": {"has_key": [True, False]}, "key_replaced": False},
        ),
        ("llm_provider.deleted", {"name": "renamed"}),
    ]
    assert {row["actor"] for row in rows} == {"admin"}
    assert not [text for text in (*map(str, rows), *(each.text for each in answers)) if "hunter2" in text]


def test_ai_is_switched_off_for_all_or_for_some(
    admin: Api, directory: Directory, audited: Callable[[str], list[dict[str, Any]]]
) -> None:
    assert admin.get(SETTINGS).json == {"enabled": True, "disabled_roles": [], "version": 0}
    body = {"enabled": True, "disabled_roles": ["viewer", "operator", "viewer"]}
    stored = {"enabled": True, "disabled_roles": ["operator", "viewer"], "version": 1}
    assert admin.put(SETTINGS, json=body).json == stored
    assert [directory.may_use(role) for role in ("admin", "operator", "viewer")] == [True, False, False]
    (row,) = audited("llm_settings.updated")
    assert row["details"] == {"changes": {"disabled_roles": [[], ["operator", "viewer"]]}}
    for wrong in ({}, {"enabled": "maybe"}, {"enabled": True, "disabled_roles": ["root"]}):
        assert admin.put(SETTINGS, json=wrong).status_code == 422
