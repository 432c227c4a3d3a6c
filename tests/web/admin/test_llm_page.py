"""The page LLM of the administration."""

import json
import re
from html import unescape
from typing import Any, cast

from netstacks.llm.service import Llm
from netstacks.web.api import ha_figures_json
from netstacks.web.context import Services
from tests.web.conftest import Api


def added(page: Api, name: str, **members: Any) -> str:
    body = {"name": name, "type": "ollama", "models": ["small", "large"], **members}
    answer = page.post("/api/v1/llm/providers", json=body)
    assert answer.status_code == 201, answer.text
    provider_id: str = answer.json["id"]
    return provider_id


def test_it_shows_the_providers_in_their_order_and_never_a_key(page: Api) -> None:
    one = added(page, "One <1>", key="sk-of-one")
    two = added(page, "Two", enabled=False)
    html = page.get("/admin/llm").text
    assert html.index("1. One &lt;1&gt;") < html.index("2. Two")
    assert "sk-of-one" not in html
    orders = [json.loads(unescape(each)) for each in re.findall(r'data-body="([^"]*)"', html)]
    assert orders == [{"ids": [two, one]}] * 2
    for action in ("test", "trip"):
        assert f"/api/v1/llm/providers/{one}/{action}" in html
    [edit] = re.findall(rf'providers/{two}" data-method="PUT".*?data-values="([^"]*)"', html, re.DOTALL)
    assert json.loads(unescape(edit)) == {
        "name": "Two",
        "base_url": "http://localhost:11434/v1",
        "models": ["small", "large"],
        "enabled": False,
        "connect_secs": None,
        "first_token_secs": None,
        "total_secs": None,
        "max_concurrent": 16,
        "daily_tokens": 0,
        "version": 2,
    }


def test_a_provider_that_is_not_used_has_no_calls_to_stop(page: Api, services: Services) -> None:
    added(page, "Local", enabled=False)
    html = page.get("/admin/llm").text
    assert "not used" in html
    assert "calls go to it" not in html
    assert "Stop calls to Local" not in html
    assert ha_figures_json.providers(cast(Llm, services.llm)) == []


def test_it_shows_the_switch_and_the_redaction(page: Api) -> None:
    changed = [page.put("/api/v1/llm/settings", json={"enabled": False, "disabled_roles": ["viewer"]})]
    pattern = {"name": "Site <code>", "regex": r"SITE-\d+", "replacement": "x"}
    config = {"redact_hostnames": True, "custom_patterns": [pattern]}
    changed.append(page.put("/api/admin/sanitization/config", json=config))
    assert [each.status_code for each in changed] == [200, 200], changed[-1].text
    html = page.get("/admin/llm").text
    assert re.search(r'name="enabled" >', html)
    assert ">viewer</textarea>" in html
    assert re.search(r'name="redact_hostnames" checked>', html)
    assert re.search(r'name="redact_usernames" >', html)
    assert 'value="Site &lt;code&gt;"' in html


def test_others_may_not_see_it(operator: Api) -> None:
    assert operator.get("/admin/llm").status_code == 403
