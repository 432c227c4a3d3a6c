"""The JSON API for readers, from its OpenAPI document."""

import json
from collections.abc import Iterator
from typing import Any

import jinja2
from flask import current_app
from markupsafe import Markup, escape

from netstacks import greenlets
from netstacks.web.admin.api import api
from netstacks.web.admin.layout import blueprint, render_page

_ROOT = "#/components/schemas/"
# Words of tags that have another spelling in texts.
_SPELLED = {
    "ai": "AI",
    "ha": "HA",
    "hostkeys": "host keys",
    "llm": "LLM",
    "openapi": "OpenAPI",
    "ssh": "SSH",
    "sso": "SSO",
}
_BOUNDS = (
    ("minimum", "at least {}"),
    ("exclusiveMinimum", "more than {}"),
    ("maximum", "at most {}"),
    ("exclusiveMaximum", "less than {}"),
    ("minLength", "characters: at least {}"),
    ("maxLength", "characters: at most {}"),
    ("minItems", "entries: at least {}"),
    ("maxItems", "entries: at most {}"),
    ("pattern", "pattern: {}"),
    ("default", "default: {}"),
)


# The body of the page, by the version of the API: an upgrade changes it, and nothing else.
_bodies: dict[str, Markup] = {}


@blueprint.get("/api")
def reference() -> str:
    document = api().get("/api/v1/openapi.json")
    info = document["info"]
    body = _bodies.get(info["version"])
    if body is None:
        # In a thread: it takes a tenth of a second, in which the terminals of the instance go on.
        body = greenlets.in_thread(_rendered, current_app.jinja_env, document)
        _bodies.clear()
        _bodies[info["version"]] = body
    return render_page("admin/reference.html", info=info | {"description": _rich(info["description"])}, body=body)


def _rendered(environment: jinja2.Environment, document: dict[str, Any]) -> Markup:
    schemas = document["components"]["schemas"]
    text = environment.get_template("admin/_reference.html").render(
        groups=_groups(document),
        schemas=[
            {
                "name": name,
                "members": list(_members(schemas[name])),
                "description": _rich(schemas[name].get("description", "")),
            }
            for name in sorted(schemas)
        ],
    )
    return Markup(text)  # noqa: S704 - a template has escaped it


def _groups(document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The operations by the heading of their tag."""
    groups: dict[str, list[dict[str, Any]]] = {_heading(each["name"]): [] for each in document["tags"]}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            groups[_heading(operation["tags"][0])].append(_operation(path, method, operation))
    return groups


def _heading(tag: str) -> str:
    text = " ".join(_SPELLED.get(word, word) for word in tag.split())
    return text[:1].upper() + text[1:]


def _operation(path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": operation["operationId"],
        "path": path,
        "method": method.upper(),
        "summary": _rich(operation["summary"]),
        "paragraphs": [_rich(each) for each in operation.get("description", "").split("\n\n") if each],
        "permission": operation.get("x-permission"),
        "is_open": not operation["security"],
        "parameters": [
            {"name": each["name"], "place": each["in"], **_row(each["schema"], is_required=each["required"])}
            for each in operation["parameters"]
        ],
        "bodies": _contents(operation.get("requestBody", {})),
        "responses": [
            {"status": status, "description": each["description"], "contents": _contents(each)}
            for status, each in operation["responses"].items()
        ],
    }


def _contents(holder: dict[str, Any]) -> list[dict[str, Any]]:
    """The content types of a body or an answer, each with its type; None for one that is not JSON."""
    return [
        {"content_type": content_type, "type": _type(each["schema"]) if each.get("schema") else None}
        for content_type, each in holder.get("content", {}).items()
    ]


def _members(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, member in schema.get("properties", {}).items():
        yield {"name": name, **_row(member, is_required=name in schema.get("required", ()))}


def _row(schema: dict[str, Any], *, is_required: bool) -> dict[str, Any]:
    kinds = [schema, *schema.get("anyOf", ())]
    return {
        "type": _type(schema),
        "is_required": is_required,
        "bounds": [words.format(json.dumps(each[name])) for each in kinds for name, words in _BOUNDS if name in each],
        "description": _rich(schema.get("description", "")),
    }


def _rich(text: str) -> Markup:
    """The text, with what is in backticks as code."""
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else escape(part)
        for index, part in enumerate(text.split("`"))
    )


def _type(schema: dict[str, Any]) -> Markup:
    """The type in words; one with a name is a link to its table."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_ROOT)
        return Markup('<a href="#schema-{0}">{0}</a>').format(name)
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return Markup(" or ").join(_type(each) for each in schema[several])
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        texts = [each if isinstance(each, str) else json.dumps(each) for each in values]
        return Markup(" or ").join(Markup("<code>{}</code>").format(each) for each in texts)
    if schema.get("type") == "array":
        return Markup("list of {}").format(_type(schema.get("items", {})))
    if isinstance(schema.get("additionalProperties"), dict):
        return Markup("object with values of {}").format(_type(schema["additionalProperties"]))
    return escape(schema.get("format") or schema.get("type", "any value"))
