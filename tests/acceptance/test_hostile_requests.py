"""Hostile requests on every route: no answer is a server error, and no failure is logged."""

import re
from uuid import uuid4

import pytest

from netstacks.web.api.compat import EMPTY
from tests.acceptance.attacker import Attacker
from tests.acceptance.hostile import NASTY_BODIES, NASTY_PATHS, NASTY_QUERIES, routes
from tests.patched import patched

# All routes by turns, so that no part takes long.
_PARTS = 3


@patched
def test_no_path_makes_a_route_fail(database_url: str) -> None:
    with Attacker(database_url) as attacker:
        for route in routes(with_head=True):
            for value in NASTY_PATHS if "<" in route.path else NASTY_PATHS[:1]:
                attacker.send(route, re.sub("<[^>]+>", value, route.path))


@pytest.mark.parametrize("part", range(_PARTS))
@patched
def test_no_request_makes_a_route_fail_without_a_login(database_url: str, part: int) -> None:
    with Attacker(database_url) as attacker:
        for route in list(routes())[part::_PARTS]:
            address = re.sub("<[^>]+>", str(uuid4()), route.path)
            for value in NASTY_QUERIES:
                query = "&".join(f"{name}={value}" for name in route.queries or ("x",))
                attacker.send(route, f"{address}?{query}", is_logged_in=False)
            for body in NASTY_BODIES:
                attacker.send(route, address, body, is_logged_in=False)


@pytest.mark.parametrize("part", range(_PARTS))
@patched
def test_no_query_makes_a_route_fail(database_url: str, part: int) -> None:
    read = [each for each in routes() if each.queries or (each.method == "GET" and each.path not in EMPTY)]
    with Attacker(database_url) as attacker:
        for route in read[part::_PARTS]:
            target = attacker.target(route)
            for name in route.queries or ("x",):
                for value in NASTY_QUERIES:
                    attacker.send(route, f"{target.address}?{name}={value}")
            attacker.send(route, target.address)
        attacker.check_that_views_were_reached()
