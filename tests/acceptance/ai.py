"""Users that call language models through real controllers, and the providers that answer or fail."""

import json
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import requests

from tests.controller import Api, Controller, until
from tests.llm.scripted_provider import Behaviour, Exchange, Received, ScriptedProvider

MODEL = "scripted-1"
USER_PASSWORD = "a password of a user"


def is_probe(request: Received) -> bool:
    """Whether the request is a probe, for one token; a user's question never is."""
    return bool(request.body["max_tokens"] == 1)


def questions(server: ScriptedProvider) -> list[Received]:
    """The requests of users, without probes."""
    return [each for each in server.requests if not is_probe(each)]


def probes(server: ScriptedProvider) -> list[Received]:
    return [each for each in server.requests if is_probe(each)]


def by_kind(*, question: Behaviour, probe: Behaviour) -> Behaviour:
    """Answers a user in one way and a probe in another."""

    def behave(exchange: Exchange) -> None:
        (probe if is_probe(exchange.received) else question)(exchange)

    return behave


def add_provider(api: Api, server: ScriptedProvider, name: str = "first", **members: Any) -> str:
    """The id of a new provider behind all others."""
    body = {"name": name, "type": "custom", "base_url": server.chat_url, "models": [MODEL], "key": "sk-of-the-tests"}
    return str(api.post("/api/v1/llm/providers", body | members)["id"])


def remove_providers(api: Api) -> None:
    for each in api.get("/api/v1/llm/providers")["items"]:
        api.call("DELETE", f"/api/v1/llm/providers/{each['id']}")


def names(api: Api) -> list[str]:
    """The providers that this user may ask, as the instance knows them."""
    return [each["name"] for each in api.get("/api/ai/status")["providers"]]


def known_to(apis: list[Api], *expected: str) -> None:
    """Waits until every instance knows these providers and no others."""
    until(lambda: all(names(each) == list(expected) for each in apis), f"the providers {expected} on every instance")


def provider(api: Api, provider_id: str) -> Any:
    """The provider as administrators see it on this instance."""
    return api.get(f"/api/v1/llm/providers/{provider_id}")


def circuit(api: Api, provider_id: str) -> Any:
    """The circuit of its one model as this instance sees it."""
    [found] = provider(api, provider_id)["circuits"]
    return found


def states(apis: list[Api], provider_id: str) -> list[str]:
    return [circuit(each, provider_id)["state"] for each in apis]


def post(api: Api, path: str, body: Any, **kwargs: Any) -> requests.Response:
    """The answer, whatever its status, within the 30 s that the Terminal client waits for."""
    headers = {"Authorization": f"Bearer {api.token}"}
    return requests.post(api.controller.url + path, json=body, headers=headers, **{"timeout": 30, **kwargs})


def begin(api: Api, path: str, body: Any) -> HTTPConnection:
    """A question whose answer is not waited for: to close the connection is to leave."""
    connection = HTTPConnection("127.0.0.1", api.controller.port, timeout=30)
    headers = {"Authorization": f"Bearer {api.token}", "Content-Type": "application/json"}
    connection.request("POST", path, json.dumps(body), headers)
    return connection


def conversation(text: str = "What is up?", **body: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **body}


def ask(api: Api, text: str = "What is up?", **body: Any) -> requests.Response:
    return post(api, "/api/ai/agent-chat", conversation(text, **body))


def begin_stream(api: Api, text: str = "What is up?", *, timeout: float = 30, **body: Any) -> requests.Response:
    """The head of a streamed answer; its body is still to be read."""
    return post(api, "/api/ai/agent-chat-stream", conversation(text, **body), stream=True, timeout=timeout)


def events(answer: requests.Response) -> list[dict[str, Any]]:
    """The events as the Terminal client's parser finds them, which takes lines that begin with `data: ` alone."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    lines = [line.strip() for line in answer.text.split("\n")]
    assert all(line.startswith(("data: ", ":")) for line in lines if line)
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def text_of(told: list[dict[str, Any]]) -> str:
    return "".join(each["text"] for each in told if each["type"] == "content_delta")


def add_user(api: Api, username: str, role: str = "operator") -> Api:
    """Logged in at the same instance."""
    api.post("/api/users", {"username": username, "password": USER_PASSWORD, "role": role})
    return api.controller.login(username, USER_PASSWORD)


def calls(api: Api, username: str) -> list[Any]:
    """The audit log's rows of the calls to providers for this user's questions, newest first; a thousand at most."""
    return list(api.get(f"/api/audit?event=ai.called&actor={username}&limit=1000")["items"])


def open_files(controller: Controller) -> int:
    """Descriptors of its only worker."""
    [pid] = controller.worker_pids()
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
