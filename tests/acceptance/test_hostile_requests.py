"""Hostile requests on every route: no answer is a server error, and no failure is logged."""

import re
from uuid import uuid4

import pytest

from netstacks.web.api.compat import EMPTY
from tests.acceptance.attacker import Attacker
from tests.acceptance.hostile import NASTY_BODIES, NASTY_PATHS, NASTY_QUERIES, QUERIES, routes
from tests.patched import patched

# All routes by turns, so that no part takes long.
_PARTS = 3


@patched
def test_no_path_makes_a_route_fail(database_url: str) -> None:
    with Attacker(database_url) as attacker:
        for method, path in routes():
            for value in NASTY_PATHS if "<" in path else NASTY_PATHS[:1]:
                attacker.send(method, path, re.sub("<[^>]+>", value, path))


@patched
def test_no_request_makes_a_route_fail_without_a_login(database_url: str) -> None:
    with Attacker(database_url) as attacker:
        for method, path in routes():
            target = re.sub("<[^>]+>", str(uuid4()), path)
            for value in NASTY_QUERIES:
                query = "&".join(f"{name}={value}" for name in QUERIES)
                attacker.send(method, path, f"{target}?{query}", is_logged_in=False)
            for body in NASTY_BODIES:
                attacker.send(method, path, target, body, is_logged_in=False)


@pytest.mark.parametrize("part", range(_PARTS))
@patched
def test_no_query_makes_a_route_fail(database_url: str, part: int) -> None:
    paths = [path for method, path in routes() if method == "GET" and path not in EMPTY]
    with Attacker(database_url) as attacker:
        for path in paths[part::_PARTS]:
            target = attacker.target(path)
            for name in QUERIES:
                for value in NASTY_QUERIES:
                    attacker.send("GET", path, f"{target}?{name}={value}")
        attacker.check_that_views_were_reached()
