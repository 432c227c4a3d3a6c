"""Routes in the form of OpenAPI: path templates and their parameters."""

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

from werkzeug.routing import Rule

# The first converter takes arguments: any('snippets', 'mapped-keys').
_PART = re.compile(r"<(?:(\w+)(?:\(([^)]*)\))?:)?(\w+)>")
_SCHEMAS: dict[str, dict[str, Any]] = {
    "uuid": {"type": "string", "format": "uuid"},
    "int": {"type": "integer", "minimum": 0},
    "path": {"type": "string", "minLength": 1},
    "string": {"type": "string", "minLength": 1},
}


def paths_of(rule: Rule) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The path templates of a rule with their parameters; a part that is one of some words has a path for each."""
    parts = list(_PART.finditer(rule.rule))
    words = [re.findall("'([^']*)'", part[2] or "") if part[1] == "any" else [f"{{{part[3]}}}"] for part in parts]
    parameters = [_parameter(part) for part in parts if part[1] != "any"]
    for chosen in product(*words):
        each = iter(chosen)
        yield _PART.sub(lambda _, each=each: next(each), rule.rule), parameters  # type: ignore[misc]


def _parameter(part: re.Match[str]) -> dict[str, Any]:
    return {"name": part[3], "in": "path", "required": True, "schema": _SCHEMAS[part[1] or "string"]}


class Paths:
    """The member `paths` of a document. Templates that differ in names only are one path there."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self._templates: dict[str, str] = {}

    def add(self, template: str, method: str, operation: dict[str, Any]) -> None:
        known = self._templates.setdefault(re.sub("{[^}]*}", "{}", template), template)
        renamed = dict(zip(_names(template), _names(known), strict=True))
        parameters = [
            each | {"name": renamed[each["name"]]} if each["in"] == "path" else each for each in operation["parameters"]
        ]
        self.items.setdefault(known, {})[method.lower()] = operation | {"parameters": parameters}


def _names(template: str) -> list[str]:
    return re.findall("{([^}]*)}", template)
