"""Faults of the load balancer, as the troubleshooting chapter lists them."""

import re

import requests

from netstacks.web.ws import keepalive
from tests.acceptance.bench_of_faults import Bench
from tests.acceptance.diagnosis import doctor, fault, reason
from tests.acceptance.sharing import opened
from tests.controller import ROOT, until

UPGRADE = "proxy_set_header Upgrade $http_upgrade;"
CONNECTION = "proxy_set_header Connection $connection_upgrade;"
HTTP_VERSION = "proxy_http_version 1.1;"
HOST = "proxy_set_header Host $http_host;"
FORWARDED_HOST = "proxy_set_header X-Forwarded-Host $http_host;"


def headers_are_not_passed(bench: Bench) -> None:
    with bench.nginx(UPGRADE) as balancer:
        found = doctor(bench.first, "--load-balancer", balancer.url)
        # As a page does, which tries again and again.
        for _ in range(6):
            requests.get(f"{balancer.url}/ws/ssh", headers={"Sec-WebSocket-Key": "AAAA"}, timeout=30)
    fault(found, "Load balancer", "it removes the header Upgrade", "forward the headers Upgrade and Connection")
    is_logged(bench, "websocket.upgrade_removed")
    for removed, cause in (
        (CONNECTION, "it does not pass the header Connection on"),
        (HTTP_VERSION, "it sends HTTP/1.0 to the instances"),
    ):
        with bench.nginx(removed) as balancer:
            found = doctor(bench.first, "--load-balancer", balancer.url)
        fault(found, "Load balancer", cause, "forward the headers Upgrade and Connection, with HTTP/1.1")
    with bench.nginx(HOST, FORWARDED_HOST) as balancer:
        found = doctor(bench.first, "--load-balancer", balancer.url)
    fault(found, "Load balancer", "it does not pass the header Host on", "proxy_set_header Host $http_host")
    is_logged(bench, "origin.refused")


def is_logged(bench: Bench, event: str) -> None:
    until(lambda: any(event in each.log() for each in bench.cluster.controllers), f"{event} in a log")


def no_sticky_sessions(bench: Bench) -> None:
    """A terminal of the first instance is resumed through the second."""
    terminal = opened(bench.cluster.lab(bench.sshd))
    terminal.vanish()
    again = terminal.again(bench.cluster.controllers[1]).connected()
    assert again.info["session_id"] == terminal.info["session_id"]
    assert again.info["epoch"] == terminal.info["epoch"]
    again.leave()


def health_checks(bench: Bench) -> None:
    """nginx has no health checks here, and so sends requests to an instance that answers 503."""
    url = bench.cluster.database_url
    with (
        bench.started("unhealthy", DATABASE_URL=url, VAULT_MASTER_KEY="00" * 32) as unhealthy,
        bench.nginx(instances=(bench.first, unhealthy)) as balancer,
    ):
        reason(unhealthy, "VAULT_MASTER_KEY")
        found = doctor(bench.first, "--load-balancer", balancer.url)
    fault(found, "Load balancer", "VAULT_MASTER_KEY", "use /api/v1/health as its health check")


def idle_timeout(bench: Bench) -> None:
    """A short timeout cuts a silent terminal, without a close frame; its session is there when the client returns."""
    terminal = opened(bench.cluster.lab(bench.sshd))
    with bench.nginx(silence="5s") as balancer:
        port, terminal.api.controller.port = terminal.api.controller.port, balancer.port
        try:
            cut = terminal.again().connected()
        finally:
            terminal.api.controller.port = port
        assert cut.closed(60)[0] == 1006
        again = cut.again().connected()
        assert again.info["session_id"] == terminal.info["session_id"]
        again.leave()
        found = doctor(bench.first, "--load-balancer", balancer.url)
    [told] = [each["what"] for each in found if "idle timeout" in each["what"]]
    assert "at least 300 s" in told
    assert "timeout tunnel 1h" in (ROOT / "deploy/haproxy.cfg").read_text()
    # nginx need not wait so long: instances send something at least every LOOK_SECS.
    terminals = (ROOT / "deploy/nginx.conf").read_text().partition("location /ws/ {")[2]
    [allowed_secs] = re.findall(r"proxy_read_timeout (\d+)s;", terminals.partition("}")[0])
    assert int(allowed_secs) >= 1.5 * keepalive.LOOK_SECS
