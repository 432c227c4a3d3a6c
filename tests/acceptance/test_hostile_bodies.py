"""Hostile bodies on every route: no answer is a server error, and no failure is logged."""

import json

import pytest

from tests.acceptance.attacker import Attacker
from tests.acceptance.hostile import FINE, MEMBERS, NASTY_BODIES, NASTY_JSON, routes
from tests.patched import patched

# All routes by turns, so that no part takes long.
_PARTS = 6


@pytest.mark.parametrize("part", range(_PARTS))
@patched
def test_no_body_makes_a_route_fail(database_url: str, part: int) -> None:
    taking = [each for each in routes() if each[0] in ("POST", "PUT") and not each[1].startswith("/peer/")]
    with Attacker(database_url) as attacker:
        for method, path in taking[part::_PARTS]:
            target = attacker.target(path)
            for body in NASTY_BODIES:
                attacker.send(method, path, target, body)
            for member in MEMBERS:
                rest = json.dumps({name: given for name, given in FINE.items() if name != member})
                for value in NASTY_JSON:
                    attacker.send(method, path, target, f'{rest[:-1]}, "{member}": {value}}}'.encode())
        attacker.check_that_views_were_reached()
        attacker.check_that_no_limit_answered()
