"""The page HA status: what it shows of a status, and to whom."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from netstacks.errors import StoreUnavailable
from netstacks.web.api import ha
from netstacks.web.context import Services
from tests.web import ha_example as example
from tests.web.conftest import Api
from tests.web.ha_cluster import Cluster, made_up, with_no_agent


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return made_up(monkeypatch)


@pytest.fixture
def services(services: Services, cluster: Cluster) -> Services:
    return with_no_agent(services)


def row(html: str, instance_id: str) -> str:
    """The table row of an instance."""
    found = re.search(rf'<tr id="row-{instance_id}".*?</tr>', html, re.DOTALL)
    assert found, html
    return found[0]


def test_a_healthy_cluster_in_one_sentence(page: Api, cluster: Cluster) -> None:
    html = page.get("/admin/ha").text
    assert "3 of 3 instances send heartbeats and accept sessions." in html
    assert html.count('<tr id="row-') == 3
    assert "Sessions in the last hour: " in row(html, "ctrl-00000000")
    assert "Lost instances" not in html
    assert "Draining instances" not in html
    assert "Sessions without owner" not in html


def test_a_lost_instance_stays_with_its_sentence_and_can_be_dismissed(page: Api, cluster: Cluster) -> None:
    cluster.status["lost"] = [example.lost()]
    cluster.status["totals"] |= {"lost_instances": 1, "sessions_without_owner": 3}
    cluster.status["cluster"] = {
        "condition": "degraded",
        "reason": "2 of 3: ctrl-00000063 is lost.",
        "expected_instances": 4,
        "expected_by": "setting",
    }
    html = page.get("/admin/ha").text
    assert "2 of 3: ctrl-00000063 is lost." in html
    assert "Sessions without owner" in html
    lost = row(html, "ctrl-00000063")
    assert "9 taken over, 3 waiting for their users" in lost
    assert 'data-url="/api/v1/ha/lost/ctrl-00000063" data-method="DELETE"' in lost
    assert "Drain" not in lost


def test_an_operator_sees_everything_and_no_action(page: Api, operator: Api, viewer: Api, cluster: Cluster) -> None:
    cluster.status["lost"] = [example.lost()]
    cluster.status["instances"][1] |= {"status": "draining"}
    of_operator, of_admin = operator.get("/admin/ha").text, page.get("/admin/ha").text
    for action in ("/drain", "/lost/", "/move", "/watch", "/trip", "/reset", "DELETE"):
        assert action in of_admin, action
        assert action not in of_operator, action
    assert "core-router-1" in of_operator
    assert "9 taken over, 3 waiting" in of_operator
    assert viewer.get("/admin/ha").status_code == 403


def test_a_drain_can_be_cancelled_and_a_stale_instance_not_drained(page: Api, cluster: Cluster) -> None:
    cluster.status["instances"] = [
        example.instance(0, status="draining", problem="it hands over its sessions and stops"),
        example.instance(1, status="stale", problem="no heartbeat for 40 s"),
        example.instance(2),
    ]
    html = page.get("/admin/ha").text
    assert '<dt>Draining instances</dt><dd class="busy">1</dd>' in html
    assert 'data-method="DELETE"' in row(html, "ctrl-00000000")
    assert "/drain" not in row(html, "ctrl-00000001")
    assert 'data-forecast="/api/v1/ha/instances/ctrl-00000002/forecast"' in row(html, "ctrl-00000002")


def test_without_valkey_the_figures_stay_with_their_time(page: Api, cluster: Cluster) -> None:
    old = (datetime.now(UTC) - timedelta(minutes=7, seconds=20)).isoformat()
    cluster.status["seen_at"] = old
    cluster.status["valkey"] = example.valkey(
        connection="disconnected", error="Valkey: connection refused", seen_at=old
    )
    html = page.get("/admin/ha").text
    assert "Valkey does not answer: connection refused." in html
    at = f"{old[:19].replace('T', ' ')} UTC , 7 min ago."
    assert f"The state below is from {at}" in words(html)
    assert f"The figures are from {at}" in words(html)
    assert "noeviction" in html
    # Its own instance can always be drained, others only through Valkey.
    assert "/drain" in row(html, "ctrl-00000000")
    assert "/drain" not in row(html, "ctrl-00000001")


def words(html: str) -> str:
    """The text of some HTML, with one space between its words."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def panel(html: str, name: str) -> str:
    """The text of the panel with this heading."""
    found = re.search(rf'<section class="card[^>]*aria-labelledby="{name}-heading">.*?</section>', html, re.DOTALL)
    assert found, html
    return words(found[0])


FACTS = {
    "distribution": ("ctrl-00000000 7 29 %", "ctrl-00000001 8 33 %", "ctrl-00000002 9 38 %"),
    "valkey": (
        "Connection connected",
        "Mode Sentinel",
        "Primary 10.0.1.1:6379",
        "Version 8.1.1",
        "Up since 2026-11-20 08:00:00 UTC",
        "Primary since 2026-11-25 08:00:00 UTC",
        "Latency 0.4 ms",
        "Memory 11.4 MiB of 256.0 MiB noeviction",
        "Clients 14",
        "Persistence append-only file last write ok",
        "Last snapshot 2026-11-30 09:30:00 UTC",
        "Last failover 2026-11-25 08:00:00 UTC from 10.0.1.2:6379 to 10.0.1.1:6379",
        "10.0.1.2:6379 online 0 s behind, 112 Bytes to copy",
        "Sentinels of netstacks Quorum 2 of 3: a failover is possible.",
        "10.0.1.1:26379 sees 10.0.1.1:6379",
        "10.0.1.3:26379 does not answer",
    ),
    "database": (
        "Connection connected",
        "Version 17.2",
        "Role primary",
        "Connections 31 of 100",
        "Recordings 4.0 GiB",
        "Oldest transaction 0.1 s",
        "WAL position 16/B374D848",
        "standby-1 streaming 0.2 s behind",
    ),
    "providers": (
        "Claude anthropic",
        "large no calls 3 failures: answers 529, until 2026-11-30 10:00:00 UTC",
        "small is probed",
        "local calls go to it",
    ),
}


@pytest.mark.parametrize("name", FACTS)
def test_every_panel_has_all_its_facts(page: Api, cluster: Cluster, name: str) -> None:
    shown = panel(page.get("/admin/ha").text, name)
    assert [fact for fact in FACTS[name] if fact not in shown] == [], shown


def test_a_row_of_the_tables_has_all_its_facts(page: Api, cluster: Cluster) -> None:
    html = page.get("/admin/ha").text
    instance = words(row(html, "ctrl-00000001"))
    for fact in ("ctrl-00000001", "node-1", "10.0.0.2:9443", "healthy", "1 s ago", "agrees", " 8 ", "1.9.0"):
        assert fact in instance
    session = re.search(r'<tr id="session-00000001.*?</tr>', html, re.DOTALL)
    assert session
    cells = [words(cell) for cell in re.findall(r"<td.*?</td>", session[0], re.DOTALL)]
    device, user, owner, epoch, viewers, age, output = cells[:7]
    assert (device, user, owner) == ("edge-2 00000001", "j.w.vandermeer-operations", "ctrl-00000001 detached")
    assert (epoch, viewers, output) == ("3", "0", "46.9 KiB")
    assert ", since 2026-11-30 09:00:00 UTC" in age


def test_a_provider_is_stopped_or_called_again_by_the_state_of_its_circuits(page: Api, cluster: Cluster) -> None:
    html = page.get("/admin/ha").text
    for number, actions in ((1, {"trip", "reset"}), (2, {"trip"})):
        id = "-".join(str(number) * length for length in (8, 4, 4, 4, 12))
        assert set(re.findall(rf'data-url="/api/v1/llm/providers/{id}/(\w+)" data-method="POST"', html)) == actions


def test_the_panels_show_how_the_stores_write(page: Api, cluster: Cluster) -> None:
    html = page.get("/admin/ha").text
    for text in ("last write ok", "Primary since", "Last snapshot", "16/B374D848"):
        assert text in html
    assert "Replay lag" not in html
    nearly_full = "Valkey uses more than 90 % of its memory limit"
    cluster.status["valkey"] = example.valkey(primary_since=None, last_save_at=None, memory_problem=nearly_full)
    cluster.status["database"] = example.database(role="standby", replay_lag_secs=4.25)
    html = page.get("/admin/ha").text
    assert "Primary since" not in html
    assert "none since its start" in html
    assert f'<small class="error">{nearly_full}</small>' in html
    assert "<dt>Replay lag</dt><dd>4.25 s</dd>" in html


def test_valkeys_panel_says_when_nothing_is_replicated(page: Api, cluster: Cluster) -> None:
    cluster.status["valkey"] = example.valkey(mode="plain", sentinel=None, replicas=[])
    assert "Replicas none" in panel(page.get("/admin/ha").text, "valkey")
    cluster.status["valkey"] = example.valkey(
        mode="plain", sentinel=None, replicas=[], role="replica", upstream="10.0.1.9:6379, link down"
    )
    shown = panel(page.get("/admin/ha").text, "valkey")
    assert "Replica 10.0.1.1:6379 of 10.0.1.9:6379, link down" in shown
    assert "Replicas" not in shown


def test_the_last_proof_of_a_backup_is_shown(page: Api, cluster: Cluster) -> None:
    assert "Backup last proven never" in panel(page.get("/admin/ha").text, "database")
    proof = {
        "proven_at": "2026-11-30T02:00:00Z",
        "backup_created_at": "2026-11-30T01:00:00Z",
        "recordings": 3,
        "audit_rows": 50,
        "secrets": 4,
        "start_secs": 2.5,
    }
    cluster.status["database"] = example.database(backup=proof)
    told = "Backup last proven 2026-11-30 02:00:00 UTC of 2026-11-30 01:00:00 UTC ; an instance on it was healthy after"
    assert f"{told} 2.5 s" in panel(page.get("/admin/ha").text, "database")


def test_without_any_figures_the_panels_say_so(page: Api, cluster: Cluster) -> None:
    nothing = dict.fromkeys(example.valkey()) | {"replicas": [], "connection": "disconnected", "mode": "plain"}
    cluster.status |= {
        "valkey": nothing,
        "database": dict.fromkeys(example.database()) | {"replicas": [], "connection": "disconnected"},
        "instances": [],
        "events": [],
        "seen_at": None,
    }
    cluster.sessions = {"items": [], "next": None}
    html = page.get("/admin/ha").text
    for text in (
        "No instance is known",
        "has not answered since this instance started",
        "No events yet",
        "No open sessions",
    ):
        assert text in html
    assert "The cluster has not been seen" in html


def test_a_single_instance_is_told_how_to_become_a_cluster(page: Api, cluster: Cluster) -> None:
    cluster.status["cluster"] |= {"condition": "single"}
    cluster.status["valkey"] = dict.fromkeys(example.valkey()) | {"connection": "disabled", "replicas": []}
    html = page.get("/admin/ha").text
    assert "<code>VALKEY_URL</code>" in html
    assert "Not used: the registry is in the memory of this instance." in html
    assert "Loop lag" in html
    assert "Valkey latency" not in html


def test_problems_are_named_with_what_to_do(page: Api, cluster: Cluster) -> None:
    problem = {
        "kind": "settings",
        "problem": "Settings differ",
        "remedy": "restart both",
        "instances": ["ctrl-00000001"],
    }
    condition = {"condition": "degraded", "reason": "Valkey does not write; Settings differ"}
    cluster.status |= {
        "cluster": cluster.status["cluster"] | condition,
        "inconsistencies": [problem],
        "unreadable": [{"key": "netstacks:instance:x", "problem": "no host"}],
        "valkey": example.valkey(persistence_problem="the last write of the append-only file failed"),
        "database": example.database(connection="disconnected", error="no route to host"),
    }
    html = page.get("/admin/ha").text
    for text in ("Settings differ.", "Restart both.", "1 record in Valkey cannot be read", "netstacks:instance:x"):
        assert text in html
    # The headline has the other reasons; the notice has this one.
    assert html.count("Settings differ") == 1
    assert "<span>Valkey does not write; instances do not agree: see below.</span>" in html
    assert "the last write of the append-only file failed" in html
    assert "PostgreSQL does not answer: no route to host." in html


def test_sessions_that_cannot_be_listed_are_an_error_in_their_place(
    page: Api, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StoreUnavailable("PostgreSQL does not answer")

    monkeypatch.setattr(ha, "sessions", away)
    html = page.get("/admin/ha").text
    assert "The sessions cannot be listed.</strong> PostgreSQL does not answer." in html
    assert html.count('<tr id="row-') == 3


def test_a_session_whose_owner_is_gone_can_only_be_ended(page: Api, cluster: Cluster) -> None:
    html = page.get("/admin/ha").text
    first, last = (re.search(rf'<tr id="session-0000000{number}.*?</tr>', html, re.DOTALL) for number in (0, 2))
    assert first is not None
    assert last is not None
    for action in ("Watch", "Move away", "End"):
        assert f">{action}</button>" in first[0]
        assert (f">{action}</button>" in last[0]) == (action == "End")
    assert "none (was <code>ctrl-00000063</code>)" in last[0]
    # There is no owner to ask what is at risk.
    assert "data-forecast" not in last[0]


def test_a_session_has_its_age_with_the_time_for_screen_readers(page: Api, cluster: Cluster) -> None:
    began_at = (datetime.now(UTC) - timedelta(hours=3, minutes=20)).replace(microsecond=0)
    cluster.sessions["items"] = [{**cluster.sessions["items"][0], "started_at": began_at.isoformat()}]
    html = page.get("/admin/ha").text
    shown = began_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    assert f'title="{shown}">3 h<span class="unseen">, since <span data-time>{shown}</span></span></time>' in html


def test_every_series_of_the_last_hour_is_drawn(page: Api, cluster: Cluster) -> None:
    cluster.status["lost"] = [example.lost()]
    html = page.get("/admin/ha").text
    for instance_id in ("ctrl-00000000", "ctrl-00000063"):
        hour = re.search(rf'<details id="history-{instance_id}".*?</summary>', html, re.DOTALL)
        assert hour
        assert hour[0].count("<path") == 5
        assert "Valkey latency" in hour[0]


def test_names_cannot_become_markup(page: Api, cluster: Cluster) -> None:
    attack = """"><script>alert('1')</script>"""
    cluster.status["lost"] = [example.lost(host=attack, problem=attack)]
    cluster.status["instances"][0] |= {"host": attack, "problem": attack, "version": attack}
    cluster.status["events"] = [example.event("left", attack)]
    cluster.sessions["items"][0] |= {"device_name": attack, "username": attack}
    cluster.status["providers"][0]["models"][0]["reason"] = attack
    assert "<script>alert" not in page.get("/admin/ha").text


def test_events_are_filtered_by_the_address(page: Api, cluster: Cluster) -> None:
    cluster.status["events"] = [example.event("left", "one left"), example.event("joined", "one joined")]
    assert "one left" in page.get("/admin/ha").text
    html = page.get("/admin/ha?kind=joined&instance=ctrl-gone").text
    assert "one joined" in html
    assert "one left" not in html
    assert '<option value="joined" selected>' in html
    assert "<option selected>ctrl-gone</option>" in html
    assert page.get("/admin/ha?kind=nonsense").status_code == 422


def test_sessions_are_filtered_by_owner_and_paged(page: Api, cluster: Cluster) -> None:
    cluster.sessions["next"] = "2026-11-30T09:00:00.123456+00:00"
    html = page.get("/admin/ha?owner=ctrl-00000001").text
    assert "edge-2" in html
    assert "core-router-1" not in html
    older = "/admin/ha?owner=ctrl-00000001&amp;before=2026-11-30T09%3A00%3A00.123456%2B00%3A00#ha-sessions"
    assert older in html
    assert page.get(older.replace("&amp;", "&")).status_code == 200
    assert page.get("/admin/ha?before=yesterday").status_code == 422
