"""Strict reading of the file with the initial providers, a JSON list (LLM_PROVIDERS_FILE).

The settings import this module before gevent patches the process, so it must not import networking code.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, ValidationError

from netstacks.errors import InvalidInput
from netstacks.llm.provider_entry import NewProvider

_LARGEST_BYTES = 1024 * 1024


class _Entry(NewProvider):
    """`key_file` is the path of a file that contains only the key, relative to the folder of the providers file."""

    model_config = ConfigDict(strict=True, extra="forbid")

    key_file: str | None = None


def read(path: Path) -> list[tuple[dict[str, Any], str | None]]:
    """The facts and the key of each provider, in the order of the file.

    Raises InvalidInput with one line per problem, which names the entry and the member and contains no key.
    """
    values = _json(path)
    if not isinstance(values, list):
        raise InvalidInput("must hold a JSON list of providers")
    problems: list[str] = []
    found = []
    for number, value in enumerate(values, 1):
        try:
            found.append(_entry(path.parent, value))
        except InvalidInput as error:
            problems += [f"provider {number}{_called(value)}, {line}" for line in str(error).splitlines()]
    names = [facts["name"].lower() for facts, _ in found]
    problems += [f"{name!r} is the name of several providers" for name in sorted(set(names)) if names.count(name) > 1]
    if problems:
        raise InvalidInput("\n".join(problems))
    return found


def _json(path: Path) -> Any:
    text = _text(path, "must be a readable text file")
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise InvalidInput("must hold a JSON list of providers") from None
    except ValueError as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else f": {error}"
        raise InvalidInput(f"must be valid JSON{where}") from None


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("an object has a member twice")
    return found


def _text(path: Path, otherwise: str) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_LARGEST_BYTES + 1)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise InvalidInput(f"{otherwise} ({type(error).__name__})") from None
    if len(text) > _LARGEST_BYTES:
        raise InvalidInput(f"{otherwise} of at most {_LARGEST_BYTES} characters")
    return text


def _entry(folder: Path, value: Any) -> tuple[dict[str, Any], str | None]:
    if not isinstance(value, dict):
        raise InvalidInput("must be a JSON object")
    entry = _checked(value)
    if entry.key_file is not None:
        if entry.key is not None:
            raise InvalidInput("key and key_file: must not both be there")
        key = _text(folder / entry.key_file, "key_file: must be the path of a readable text file").strip()
        try:
            entry = _checked({name: each for name, each in value.items() if name != "key_file"} | {"key": key})
        except InvalidInput as error:
            raise InvalidInput(str(error).replace("key: ", "key_file: its key ", 1)) from None
    if entry.key == "":
        raise InvalidInput("key: is empty: omit it where none is needed")
    facts = entry.facts()
    facts.pop("key_file")
    return facts, entry.key


def _checked(value: dict[str, Any]) -> _Entry:
    try:
        return _Entry.model_validate(value)
    except ValidationError as error:
        # Not chained: the cause shows the values, which may include a key.
        raise InvalidInput("\n".join(_line(detail) for detail in error.errors(include_input=False))) from None


def _line(detail: Any) -> str:
    member = ".".join(str(part) for part in detail["loc"])
    match detail["type"]:
        case "missing":
            return f"{member}: is missing"
        case "extra_forbidden":
            return f"{member}: is not known"
    message = detail["msg"].removeprefix("Value error, ").replace(" after validation,", ",")
    for theirs in ("Input should ", "String should ", "List should "):
        message = message.replace(theirs, "must ")
    return f"{member}: {message}"


def _called(value: Any) -> str:
    name = value.get("name") if isinstance(value, dict) else None
    return f" ({name[:100]!r})" if isinstance(name, str) and name else ""
