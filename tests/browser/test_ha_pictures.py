"""States of the HA status page that are rare in a real cluster: whole and accessible, in both themes and sizes.

The page is that of a real controller; what it shows is rendered from made-up statuses by the page's own templates.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from flask import Flask

from netstacks.cluster import clocks
from netstacks.web.admin import blueprint
from netstacks.web.admin.ha_facts import Filters, facts_of
from netstacks.web.admin.ha_sections import Rights
from tests.browser.browser import PHONE, Browser
from tests.browser.ha import WIDE, findings, shoot, watch
from tests.controller import ROOT
from tests.web import ha_example as example

ADMINISTRATOR, OPERATOR = Rights(ha=True, sessions=True, llm=True), Rights(ha=False, sessions=False, llm=False)

# A page that is not looked at has no stream, which would replace what the test shows.
_SHOW = """
const [html, done] = arguments;
Object.defineProperty(document, "hidden", { configurable: true, get: () => true });
document.dispatchEvent(new Event("visibilitychange"));
const place = document.getElementById("ha");
place.innerHTML = html;
import("/static/times.js").then(({ localiseTimes }) => { localiseTimes(place); done(); });
"""


@dataclass(frozen=True)
class Shown:
    """What the page shows, and a text by which to know it."""

    text: str
    status: Mapping[str, Any]
    rights: Rights = ADMINISTRATOR
    sessions: Mapping[str, Any] = field(default_factory=example.sessions)


def _degraded(reason: str, **members: Any) -> dict[str, Any]:
    status = example.status(**members)
    instances, lost = status["instances"], status["lost"]
    expected = len(instances) + len(lost)
    healthy = sum(each["condition"] in ("healthy", "degraded", "late") for each in instances)
    return {
        **status,
        "cluster": {**status["cluster"], "condition": "degraded", "reason": reason, "expected_instances": expected},
        "totals": {
            "registered_instances": len(instances),
            "healthy_instances": healthy,
            "lost_instances": len(lost),
            "total_sessions": sum(each["sessions"] for each in instances) + 3 * len(lost),
            "sessions_without_owner": 3 * len(lost),
        },
    }


def _instances(*changes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [example.instance(number, **change) for number, change in enumerate(changes)]


def _is(condition: str, problem: str, **members: Any) -> dict[str, Any]:
    return {"status": condition, "condition": condition, "problem": problem, **members}


_NOT_JUDGED = "no heartbeat for 40 s: heartbeats are not judged until Valkey has been back for 30 s"
_SETTINGS = "Settings differ: HA_STALE_INSTANCE_TTL_SECS is 30 at 2 instances and 60 at 1 instance"
_NO_FIGURES: dict[str, Any] = {"replicas": [], "connection": "disconnected", "mode": "plain"}
STATES = {
    "valkey-away": Shown(
        "Valkey does not answer: connection refused.",
        _degraded(
            "Valkey does not answer",
            valkey=example.valkey(connection="disconnected", error="Valkey: connection refused"),
            instances=_instances({}, *2 * [_is("late", _NOT_JUDGED, heartbeat_age_secs=40.0)]),
        ),
    ),
    "warnings": Shown(
        "Settings differ",
        _degraded(
            f"PostgreSQL does not answer (no route to host); {_SETTINGS}",
            inconsistencies=[
                {
                    "kind": "settings",
                    "problem": _SETTINGS,
                    "remedy": "Give all instances the same value and restart those that had another one.",
                    "instances": ["ctrl-00000000", "ctrl-00000001", "ctrl-00000002"],
                }
            ],
            clocks={
                "warning": "Clocks differ: that of ctrl-00000002 on node-2 is 40 s ahead, 10 s are tolerated",
                "advice": clocks.ADVICE,
                "tolerated_secs": 10.0,
            },
            unreadable=[{"key": "netstacks:instance:ctrl-x", "problem": "it has no host"}],
            instances=_instances({}, {}, {"clock_skew_secs": 40.2, "clock_skew": "40.2 s ahead"}),
            database=example.database(connection="disconnected", error="no route to host"),
            valkey=example.valkey(
                persistence_problem="the last write of the append-only file failed",
                replicas=[],
                sentinel={
                    "master_name": "netstacks",
                    "quorum": 2,
                    "quorum_problem": "Only 1 of 3 Sentinels answers: no failover is possible.",
                    "views": [{"address": "10.0.1.1:26379", "primary": None, "problem": "does not answer"}],
                },
            ),
        ),
    ),
    "circuits": Shown("no calls", example.status(providers=example.providers())),
    "refused": Shown(
        "differs from the cluster's",
        _degraded(
            "1 of 6 instances is healthy: ctrl-00000063 on node-lost was lost 4 min ago, ctrl-00000001 on node-1 is"
            " refused, ctrl-00000002 on node-2 is unhealthy, ctrl-00000004 on node-4 is stale",
            instances=_instances(
                _is("degraded", "the disk of the spool is full: recordings wait in memory"),
                _is("refused", "its VAULT_MASTER_KEY or JWT_SECRET differs from the cluster's: it accepts no sessions"),
                _is("unhealthy", "the schema of the database is newer than this version: upgrade it"),
                _is("draining", "it hands over its sessions and stops"),
                _is(
                    "stale",
                    "no heartbeat for 41 s: it is declared dead, other instances may claim its sessions",
                    heartbeat_age_secs=41.0,
                ),
            ),
            lost=[example.lost()],
        ),
    ),
    "empty": Shown(
        "No instance is known",
        _degraded(
            "Valkey does not answer",
            valkey=dict.fromkeys(example.valkey()) | _NO_FIGURES,
            database=dict.fromkeys(example.database()) | _NO_FIGURES,
            instances=[],
            events=[],
            seen_at=None,
        ),
        sessions={"items": [], "next": None},
    ),
    "operator": Shown(
        "core-router-1",
        _degraded(
            "3 of 4 instances are healthy: ctrl-00000063 on node-lost was lost 4 min ago",
            lost=[example.lost()],
            providers=example.providers(),
        ),
        rights=OPERATOR,
    ),
}


@pytest.fixture(scope="module")
def pages() -> Flask:
    """The page's templates with what they need."""
    app = Flask("netstacks", template_folder=str(ROOT / "templates"))
    app.extensions["netstacks"] = None
    app.register_blueprint(blueprint)
    return app


def rendered(pages: Flask, shown: Shown) -> str:
    """The sections in the order of the page."""
    status, filters = shown.status, Filters()
    hours = example.history(*(each["id"] for each in [*status["instances"], *status["lost"]]))
    sessions = {**shown.sessions, "items": [{**each, "age": "3 h"} for each in shown.sessions["items"]]}
    sections = facts_of(status, hours, sessions, status["events"], filters, datetime.fromisoformat(example.NOW))
    return "\n".join(
        pages.jinja_env.get_template(f"admin/ha/{name.removeprefix('ha-')}.html").render(
            facts, rights=shown.rights, filters=filters
        )
        for name, facts in sections.items()
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("device", "size"), [("wide", WIDE), ("phone", PHONE)])
@pytest.mark.parametrize("state", STATES)
def test_a_rare_state_is_whole_and_accessible(
    browser: Browser, pages: Flask, state: str, scheme: str, device: str, size: tuple[int, int]
) -> None:
    browser.prefer(scheme)
    browser.resize(size)
    watch(browser)
    browser.driver.execute_async_script(_SHOW, rendered(pages, STATES[state]))
    assert STATES[state].text in browser.text
    shoot(browser, f"ha-{state}-{device}-{scheme}", size)
    assert findings(browser) == [], json.dumps(findings(browser), indent=1)
    assert browser.run("return document.documentElement.scrollWidth") <= size[0]
    assert browser.errors() == []


def test_nothing_is_wider_than_the_page(browser: Browser, pages: Flask) -> None:
    watch(browser)
    browser.driver.execute_async_script(_SHOW, rendered(pages, STATES["refused"]))
    parts = "return [...document.querySelectorAll('#ha, #ha > *')].map((each) => each.scrollWidth - each.clientWidth)"
    for width in (390, 600, 800, 970, 1100, 1200, 1280, 1366, 1440, 1920):
        browser.resize((width, 800))
        whole, *sections = browser.run(parts)
        assert whole <= 0, width
        # Between the cards of a phone and the columns of a wide screen, a table is moved within its section.
        assert 961 <= width < 1366 or max(sections) <= 0, width
