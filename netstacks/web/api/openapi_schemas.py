"""The models of input and the types of answers as JSON schemas in an OpenAPI document."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode
from typing_extensions import get_original_bases, is_typeddict

from netstacks.web.http.json_response import Error

# A docstring below a member of an answer describes it.
_CONFIG = ConfigDict(use_attribute_docstrings=True)
_ROOT = "#/components/schemas/"
# pydantic names a model by its module where several have the same name.
_MODULES = "netstacks__web__api__"


class _Generator(GenerateJsonSchema):
    """Describes inherited members, too: pydantic reads the docstrings in the class itself only."""

    def typed_dict_schema(self, schema: Any) -> dict[str, Any]:
        found = super().typed_dict_schema(schema)
        for base in get_original_bases(schema["cls"]):
            if is_typeddict(base):
                for name, member in _members_of(base).items():
                    if "description" in member:
                        found["properties"][name].setdefault("description", member["description"])
        return found


def _members_of(kind: Any) -> dict[str, Any]:
    """The properties of a type of answers."""
    found = _adapter(kind).json_schema(ref_template="{model}", schema_generator=_Generator)
    members: dict[str, Any] = found["$defs"][found["items"]["$ref"]]["properties"]
    return members


def _adapter(answer: Any) -> TypeAdapter[Any]:
    """For a list of the answers, because a type with a name takes no configuration itself."""
    return TypeAdapter(list[answer], config=_CONFIG)


class Schemas:
    """The schemas of the models of bodies and of the types of answers; `components` are the named ones.

    `answers` are the types by view, None for a view that answers without JSON; `refusals` those of errors, by view and
    status.
    """

    def __init__(
        self,
        *,
        bodies: Iterable[type[BaseModel]],
        answers: Mapping[Callable[..., Any], Any],
        refusals: Mapping[tuple[Callable[..., Any], int], Any],
    ) -> None:
        adapters: list[tuple[Any, JsonSchemaMode, TypeAdapter[Any]]] = [
            (each, "validation", TypeAdapter(each)) for each in dict.fromkeys(bodies)
        ]
        kinds = [each for each in dict.fromkeys([Error, *answers.values(), *refusals.values()]) if each is not None]
        adapters += [(at, "serialization", _adapter(each)) for at, each in enumerate(kinds)]
        refs, found = TypeAdapter.json_schemas(adapters, ref_template=f"{_ROOT}{{model}}", schema_generator=_Generator)
        self.components: dict[str, Any] = _without_marks(_shortened(found.get("$defs", {})))
        self._refs = {key: _shortened(ref) for (key, _), ref in refs.items()}
        self._answers = {view: self._refs[kinds.index(each)]["items"] for view, each in answers.items() if each}
        self._refusals = {key: self._refs[kinds.index(each)]["items"] for key, each in refusals.items()}
        self._error = self._refs[kinds.index(Error)]["items"]

    def of(self, model: type[BaseModel]) -> dict[str, Any]:
        """A reference to the schema of `model`."""
        ref: dict[str, Any] = self._refs[model]
        return ref

    def of_answer(self, view: Callable[..., Any]) -> dict[str, Any] | None:
        """The schema of the answers of `view`, or a reference to it; None when they have no JSON."""
        return self._answers.get(view)

    def of_error(self, view: Callable[..., Any], status: int) -> dict[str, Any]:
        """The schema of the errors of `view` with this status; each of them may also have no further members."""
        further = self._refusals.get((view, status))
        return self._error if further is None else {"anyOf": [further, self._error]}


def query_parameters(model: type[BaseModel]) -> Iterator[dict[str, Any]]:
    """The members of a query string. An absent one is null, which a query string cannot say."""
    schema = model.model_json_schema()
    for name, member in schema["properties"].items():
        found = _resolved({each: value for each, value in member.items() if each != "title"}, schema.get("$defs", {}))
        parameter = {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": found}
        if found.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        yield parameter


def _resolved(member: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema without null, and without references to definitions of its own."""
    found = member
    if "anyOf" in member:
        kinds = [each for each in member["anyOf"] if each != {"type": "null"}]
        rest = {name: value for name, value in member.items() if name != "anyOf"}
        found = {**rest, **kinds[0]} if len(kinds) == 1 else {**rest, "anyOf": kinds}
    if "$ref" in found:
        found = {**found, **definitions[found["$ref"].rpartition("/")[2]]}
        del found["$ref"]
    return {name: value for name, value in found.items() if not (name == "default" and value is None)}


def _shortened(value: Any) -> Any:
    return json.loads(json.dumps(value).replace(_MODULES, "").replace("__", "."))


def _without_marks(value: Any) -> Any:
    """The schema without defaults that are not valid values: they mark a member that was not sent."""
    if isinstance(value, list):
        return [_without_marks(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {name: each for name, each in value.items() if name != "default" or not _is_mark(value)}
    return {name: _without_marks(each) for name, each in kept.items()}


def _is_mark(schema: dict[str, Any]) -> bool:
    default = schema.get("default")
    return default is None or (isinstance(default, str) and len(default) < schema.get("minLength", 0))
