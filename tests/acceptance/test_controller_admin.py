"""A controller-admin against three instances behind nginx: the controllers' own pages, and what becomes of losses."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress

import pytest
import requests

from tests.acceptance.cluster import Cluster
from tests.acceptance.controller_admin import ControllerAdmin, Visitor
from tests.controller import ADMIN, ROOT, Controller, until
from tests.deploy.balancers import Balancer, is_installed
from tests.postgres import Postgres

PAGES = ("/admin/sessions", "/admin/llm", "/admin/about")
# HA status has a test of its own: it differs between two moments.
ALL_PAGES = (
    *PAGES,
    "/admin/users",
    "/admin/roles",
    "/admin/sso",
    "/admin/devices",
    "/admin/devices/import",
    "/admin/credentials",
    "/admin/host-keys",
    "/admin/audit",
    "/admin/audit/targets",
    "/admin/license",
    "/admin/settings",
    "/admin/api",
)


@pytest.fixture(scope="module")
def cluster(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres, 3, TRUSTED_PROXIES="127.0.0.1") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def balancer(cluster: Cluster) -> Iterator[Balancer]:
    if not is_installed("nginx"):
        pytest.skip("needs Debian's nginx")
    with Balancer("nginx", [each.port for each in cluster.controllers], admin="127.0.0.1") as balancer:
        yield balancer


@pytest.fixture(scope="module")
def site(balancer: Balancer) -> Iterator[ControllerAdmin]:
    with ControllerAdmin(balancer) as site:
        yield site


def content(html: str) -> str:
    """What is on the page beside the frame, without what differs between two log-ins and two moments."""
    found = re.search(r'<div class="content">(.*)</main>', html, re.DOTALL)
    assert found, html
    return re.sub(r"ctrl-[0-9a-f]{8}|\d+ ms", "", found[1])


def menu(html: str) -> list[str]:
    return re.findall(
        r'href="(/admin/[^"]+)"', html[html.index('<nav class="side"') : html.index('<div class="content">')]
    )


def test_its_menu_is_the_controllers_and_no_entry_is_untested(cluster: Cluster, site: ControllerAdmin) -> None:
    of_admin = menu(Visitor(site).get("/admin/about").text)
    assert of_admin == menu(Visitor(cluster.controllers[0]).get("/admin/about").text)
    assert set(of_admin) <= {*ALL_PAGES, "/admin/ha"}


@pytest.mark.parametrize("path", ALL_PAGES)
def test_its_pages_are_those_of_a_controller(cluster: Cluster, site: ControllerAdmin, path: str) -> None:
    visitors = Visitor(site), Visitor(cluster.controllers[0])

    pages: list[requests.Response] = []

    def are_equal() -> bool:
        pages[:] = [each.get(path) for each in visitors]
        of_admin, of_controller = pages
        return content(of_admin.text) == content(of_controller.text)

    # Both log-ins are entries of the audit log, which are sealed some seconds later.
    with suppress(AssertionError):
        until(are_equal)
    of_admin, of_controller = pages
    assert of_admin.status_code == of_controller.status_code == 200
    assert content(of_admin.text) == content(of_controller.text)
    for header in (
        "Content-Security-Policy",
        "X-Content-Type-Options",
        "X-Frame-Options",
        "Referrer-Policy",
        "Cache-Control",
    ):
        assert of_admin.headers[header] == of_controller.headers[header]


def test_ha_status_has_the_sections_of_a_controllers(cluster: Cluster, site: ControllerAdmin) -> None:
    visitor = Visitor(site)
    of_admin = until(lambda: "3 of 3 instances" in (page := visitor.get("/admin/ha").text) and page, "three instances")
    of_controller = Visitor(cluster.controllers[0]).get("/admin/ha").text
    sections = re.findall(r'id="(ha-[\w-]+)"', of_controller)
    assert re.findall(r'id="(ha-[\w-]+)"', of_admin) == sections
    assert re.findall(r'<tr id="row-(ctrl-\w+)"', of_admin) == re.findall(r'<tr id="row-(ctrl-\w+)"', of_controller)


def test_a_change_goes_through_and_is_audited_with_the_users_address(cluster: Cluster, site: ControllerAdmin) -> None:
    visitor = Visitor(site)
    body = {"name": "Local model", "type": "ollama", "models": ["small"]}
    made = visitor.change("POST", "/api/v1/llm/providers", json=body)
    assert made.status_code == 201
    assert "Local model" in visitor.get("/admin/llm").text
    assert visitor.change("DELETE", f"/api/v1/llm/providers/{made.json()['id']}").status_code == 204
    rows = cluster.controllers[0].login().get("/api/audit?event=llm_provider.created")["items"]
    assert rows[0]["address"] == "127.0.0.1"


def test_several_share_a_log_in_without_sticky_sessions(balancer: Balancer, site: ControllerAdmin) -> None:
    visitor = Visitor(site)
    with ControllerAdmin(balancer) as other:
        visitor.site = other
        assert "About" in visitor.get("/admin/about").text
        body = {"name": "Model of another", "type": "ollama", "models": ["small"]}
        made = visitor.change("POST", "/api/v1/llm/providers", json=body)
        assert made.status_code == 201
        visitor.site = site
        assert visitor.change("DELETE", f"/api/v1/llm/providers/{made.json()['id']}").status_code == 204


def test_pages_of_other_sites_change_nothing(site: ControllerAdmin) -> None:
    visitor = Visitor(site)
    body = {"enabled": False}
    foreign = visitor.change("PUT", "/api/v1/llm/settings", json=body, headers={"Origin": "http://evil.example"})
    assert foreign.status_code == 403
    assert "http://evil.example" in foreign.json()["error"]
    without_token = visitor.send("PUT", "/api/v1/llm/settings", json=body)
    assert without_token.status_code == 403
    assert visitor.get("/api/v1/llm/settings").json()["enabled"] is True


def test_the_cookie_is_the_controllers_own(cluster: Cluster, site: ControllerAdmin) -> None:
    [cookie] = page_cookies(Visitor(site).login)
    assert cookie.startswith("netstacks_page=")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie


def test_a_proxy_that_ends_tls_in_front_makes_the_cookie_secure(cluster: Cluster) -> None:
    body = {"username": ADMIN[0], "password": ADMIN[1], "client_type": "admin_ui"}
    with ControllerAdmin(cluster.controllers[0]) as site:
        origin = site.url.replace("http:", "https:")
        headers = {"X-NetStacks-Page": "1", "X-Forwarded-Proto": "https", "Origin": origin}
        answer = requests.post(f"{site.url}/api/auth/login", json=body, headers=headers, timeout=30)
    [cookie] = page_cookies(answer)
    assert cookie.startswith("__Host-netstacks_page=")
    assert "Secure" in cookie


def test_tls_in_front_is_seen_through_nginx_with_the_lines_of_the_documentation(cluster: Cluster) -> None:
    if not is_installed("nginx"):
        pytest.skip("needs Debian's nginx")
    found = re.search(r"    set_real_ip_from.*?    }\n", (ROOT / "docs/deploy.md").read_text(), re.DOTALL)
    assert found
    lines = found[0].replace("192.0.2.10", "127.0.0.1").replace("172.30.81.20", "127.0.0.1")
    balancer = Balancer("nginx", [each.port for each in cluster.controllers], admin="127.0.0.1")
    text = balancer.file.read_text().replace("X-Forwarded-Proto $scheme", "X-Forwarded-Proto $client_scheme")
    balancer.file.write_text(text.replace("http {\n", f"http {{\n{lines}", 1))
    with balancer, ControllerAdmin(balancer) as site:
        # What the proxy that ends TLS writes.
        headers = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
        origin = site.url.replace("http:", "https:")
        body = {"username": ADMIN[0], "password": ADMIN[1], "client_type": "admin_ui"}
        headers |= {"X-NetStacks-Page": "1", "Origin": origin}
        answer = requests.post(f"{site.url}/api/auth/login", json=body, headers=headers, timeout=30)
    [cookie] = page_cookies(answer)
    assert cookie.startswith("__Host-netstacks_page=")
    rows = cluster.controllers[0].login().get("/api/audit?event=auth.login")["items"]
    assert "203.0.113.9" in [each["address"] for each in rows]


def test_log_out_deletes_the_cookie(site: ControllerAdmin) -> None:
    visitor = Visitor(site)
    assert "netstacks_page" in visitor.session.cookies
    assert visitor.change("POST", "/api/auth/logout", headers={"X-NetStacks-Page": "1"}).ok
    assert "netstacks_page" not in visitor.session.cookies
    assert visitor.get("/admin/about", allow_redirects=False).headers["Location"] == "/login?next=/admin/about"


def page_cookies(answer: requests.Response) -> list[str]:
    return [each for each in answer.raw.headers.getlist("Set-Cookie") if "netstacks_page=" in each]


def test_a_user_sees_what_the_users_role_allows(cluster: Cluster, site: ControllerAdmin) -> None:
    user = {"username": "vera", "display_name": "", "role": "operator", "password": "a password of hers"}
    cluster.controllers[0].login().post("/api/users", user)
    vera, admin = Visitor(site, "vera", "a password of hers"), Visitor(site)
    for _ in range(3):
        assert 'data-action="drain"' in admin.get("/admin/ha").text
        assert 'data-action="drain"' not in vera.get("/admin/ha").text
    assert vera.get("/admin/llm").status_code == 403
    assert vera.get("/admin/ha/stream", stream=True).headers["Content-Type"].startswith("text/event-stream")


def test_no_token_is_logged(site: ControllerAdmin, balancer: Balancer) -> None:
    visitor = Visitor(site)
    visitor.get("/api/v1/me?token=secret-of-lee")
    visitor.get("/admin/about?token=secret-of-lee")
    cookie = visitor.session.cookies["netstacks_page"]
    assert cookie not in site.log()
    assert "secret-of-lee" not in site.log()
    assert cookie not in balancer.log()


def test_only_the_api_is_passed_on(site: ControllerAdmin) -> None:
    for path in ("/metrics", "/peer/instance/forecast", "/", "/ws/terminal"):
        answer = requests.get(site.url + path, timeout=30, allow_redirects=False)
        assert answer.status_code in (302, 404), path
    with requests.Session() as client:
        request = requests.Request("GET", f"{site.url}/api/x").prepare()
        request.url = f"{site.url}/api/../metrics"
        assert client.send(request, timeout=30).status_code == 400


def test_an_instance_killed_in_the_middle_of_a_page_is_not_noticed(
    cluster: Cluster, site: ControllerAdmin, balancer: Balancer
) -> None:
    visitor, victim = Visitor(site), cluster.controllers[2]
    with visitor.get("/admin/ha/stream", stream=True) as stream:
        lines = stream.iter_lines()
        until(lambda: b"ha-top" in next(lines), "the first state")
        victim.kill()
        for path in PAGES * 3:
            answer = visitor.get(path)
            assert answer.status_code == 200, (path, answer.text)
    until(lambda: "ctrl" in visitor.get("/admin/ha").text, "the page")
    victim.start()
    cluster.gathered(3)


def test_without_instances_pages_say_so_and_come_back(cluster: Cluster, site: ControllerAdmin) -> None:
    visitor = Visitor(site)
    for each in cluster.controllers:
        each.kill()
    page, call = visitor.get("/admin/sessions"), visitor.change("DELETE", "/api/sessions/x")
    assert (page.status_code, call.status_code) == (503, 502)
    assert "cannot be reached" in page.text
    assert page.headers["Retry-After"]
    for each in cluster.controllers:
        each.launch()
    for each in cluster.controllers:
        each.started()
    until(lambda: visitor.get("/admin/sessions").status_code == 200, "the page again", 60)


def test_the_health_of_the_api_is_passed_on(site: Controller) -> None:
    assert json.loads(requests.get(f"{site.url}/api/v1/health", timeout=30).text)["status"] == "healthy"
