"""Hostile bodies on every route: no answer is a server error, and no failure is logged."""

import json

import pytest

from netstacks.store.setting_definitions import SETTINGS
from tests.acceptance.attacker import Attacker
from tests.acceptance.hostile import NASTY_BODIES, NASTY_JSON, routes, within
from tests.patched import patched

# All routes by turns, so that no part takes long.
_PARTS = 4


@pytest.mark.parametrize("part", range(_PARTS))
@patched
def test_no_body_makes_a_route_fail(database_url: str, part: int) -> None:
    taking = [
        each
        for each in routes()
        if each.method in ("POST", "PUT", "PATCH") or (each.method == "DELETE" and each.members)
        if not each.path.startswith("/peer/")
    ]
    with Attacker(database_url) as attacker:
        for route in taking[part::_PARTS]:
            target = attacker.target(route)
            # Without it, a file is refused before it is read.
            query = "?dry_run=true" if "dry_run" in route.queries else ""
            for body in NASTY_BODIES:
                attacker.send(route, target.address + query, body)
            # The view of a route without a model takes any JSON, or none.
            for member in route.members or ("name", "value"):
                rest = {name: given for name, given in target.fine.items() if name != member}
                before = "".join(f"{json.dumps(name)}: {json.dumps(given)}, " for name, given in rest.items())
                for nasty in NASTY_JSON:
                    for value in within(target.fine.get(member), nasty):
                        attacker.send(route, target.address, f'{{{before}"{member}": {value}}}'.encode())
            attacker.send(route, target.address, json.dumps(target.fine).encode())
        attacker.check_that_views_were_reached()
        attacker.check_that_no_limit_answered()


@patched
def test_no_value_makes_a_setting_fail(database_url: str) -> None:
    [route] = [each for each in routes() if (each.method, each.path) == ("PUT", "/api/v1/settings/<key>")]
    with Attacker(database_url) as attacker:
        for key in SETTINGS:
            for nasty in (*NASTY_JSON, "0", "30", '"x"', '"a@b"'):
                for value in within(None, nasty):
                    attacker.send(route, f"/api/v1/settings/{key}", f'{{"value": {value}}}'.encode())
        attacker.check_that_views_were_reached()
