"""The filters of the audit log that a user has saved under names of their own."""

from typing import Annotated, Literal, NotRequired, cast

from flask import Blueprint
from pydantic import BaseModel, StringConstraints, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from netstacks.errors import InvalidInput, NotFound
from netstacks.formats import Timestamp
from netstacks.store import user_settings
from netstacks.store.pool import Transaction
from netstacks.web.api.audit_filter import AuditFilter
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.declarations import answers, takes_body, takes_query
from netstacks.web.http.fields import Name

blueprint = Blueprint("audit_filters", __name__)

_KEY = "audit.filters"
_MAX_FILTERS = 50
_FilterName = Annotated[Name, StringConstraints(max_length=60)]


class SavedFilter(AuditFilter):
    """A filter under a name. A `range` stays relative to the time at which the filter is used."""

    name: _FilterName


class NamedFilter(BaseModel):
    name: _FilterName


class SavedFilterJson(TypedDict):
    """A filter under a name; a member that is absent filters nothing."""

    name: str
    actor: NotRequired[str]
    event: NotRequired[str]
    resource: NotRequired[str]
    since: NotRequired[Timestamp]
    until: NotRequired[Timestamp]
    range: NotRequired[Literal["hour", "today", "week"]]
    q: NotRequired[str]
    """A text that the row contains."""


class SavedFilters(TypedDict):
    items: list[SavedFilterJson]


_STORED = TypeAdapter(list[SavedFilter])


@blueprint.get("/api/v1/audit/filters")
@guard.requires("audit.view")
def list_filters() -> SavedFilters:
    """By name."""
    with services().database.transaction() as tx:
        return {"items": [_as_json(each) for each in _stored(tx)]}


@blueprint.post("/api/v1/audit/filters")
@guard.requires("audit.view")
@takes_body(SavedFilter)
@answers(201)
def save_filter(saved: SavedFilter) -> tuple[SavedFilterJson, int]:
    """Saves a filter; one of the same name is replaced."""
    with guard.transaction() as tx:
        others = [each for each in _stored(tx) if each.name != saved.name]
        if len(others) >= _MAX_FILTERS:
            raise InvalidInput(f"You may save {_MAX_FILTERS} filters: delete one first.")
        _store(tx, [*others, saved])
    return _as_json(saved), 201


@blueprint.delete("/api/v1/audit/filters")
@guard.requires("audit.view")
@takes_query(NamedFilter)
@answers(204, 404)
def delete_filter(query: NamedFilter) -> tuple[str, int]:
    """The name is in the query: it may have any character, and a path may not."""
    name = query.name
    with guard.transaction() as tx:
        stored = _stored(tx)
        others = [each for each in stored if each.name != name]
        if len(others) == len(stored):
            raise NotFound("There is no filter of this name.")
        _store(tx, others)
    return "", 204


def _stored(tx: Transaction) -> list[SavedFilter]:
    """None when what is stored, which any client of the user may have done, is not a list of filters."""
    try:
        found = _STORED.validate_python(user_settings.get(tx, guard.identity().user_id, _KEY))
    except (NotFound, ValidationError):
        return []
    return sorted(found, key=lambda each: each.name.casefold())


def _store(tx: Transaction, filters: list[SavedFilter]) -> None:
    user_settings.put(tx, guard.identity().user_id, _KEY, [_as_json(each) for each in filters])


def _as_json(saved: SavedFilter) -> SavedFilterJson:
    return cast(SavedFilterJson, saved.model_dump(mode="json", exclude_none=True))
