"""Schemas of answers without further members, so that an answer with one that the document does not name is found."""

from typing import Any

_ROOT = "#/components/schemas/"


def close_answers(document: dict[str, Any]) -> None:
    """Forbids further members in the schemas of answers, unless a schema permits them itself."""
    schemas = document["components"]["schemas"]
    closed: set[str] = set()
    for item in document["paths"].values():
        for operation in item.values():
            for answer in operation["responses"].values():
                _close(answer.get("content", {}), schemas, closed)


def _close(value: Any, schemas: dict[str, Any], closed: set[str]) -> None:
    if isinstance(value, list):
        for each in value:
            _close(each, schemas, closed)
    if not isinstance(value, dict):
        return
    if isinstance(value.get("properties"), dict):
        value.setdefault("additionalProperties", False)
    name = str(value.get("$ref", "")).removeprefix(_ROOT)
    if name and name not in closed:
        closed.add(name)
        _close(schemas[name], schemas, closed)
    for each in value.values():
        _close(each, schemas, closed)
