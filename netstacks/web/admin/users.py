"""Users, with what each has open: log-ins and terminals."""

from typing import Any, Literal
from urllib.parse import urlencode
from uuid import UUID

from pydantic import BaseModel, Field

from netstacks.web.admin.api import api
from netstacks.web.admin.layout import blueprint, render_page
from netstacks.web.http.declarations import takes_query

_ROWS = 50


class UsersQuery(BaseModel):
    """The filters of the list; `q` is a part of a name or of an e-mail address."""

    q: str = Field("", max_length=254)
    role: str = Field("", max_length=40)
    state: Literal["", "active", "inactive"] = ""
    offset: int = Field(0, ge=0, le=1_000_000)


@blueprint.get("/users")
@takes_query(UsersQuery)
def users(query: UsersQuery) -> str:
    asked = {"search": query.q or None, "role": query.role or None, "state": query.state or None}
    found = api().get("/api/v1/users", {**asked, "limit": _ROWS, "offset": query.offset})
    filters = {name: value for name, value in query.model_dump(exclude={"offset"}).items() if value}
    last = query.offset + len(found["items"])
    return render_page(
        "admin/users.html",
        users=found["items"],
        total=found["total"],
        first=query.offset + 1,
        last=last,
        filters=filters,
        earlier=_page(filters, max(0, query.offset - _ROWS)) if query.offset else None,
        later=_page(filters, last) if last < found["total"] else None,
        lengths=found["password_lengths"],
        **_roles(),
    )


@blueprint.get("/users/<uuid:user_id>")
def user(user_id: UUID) -> str:
    path = f"/api/v1/users/{user_id}"
    found = api().get(path)
    return render_page(
        "admin/user.html",
        user=found,
        logins=api().get(f"{path}/logins")["items"],
        sessions=api().get(f"{path}/sessions")["items"],
        lengths=found["password_lengths"],
        **_roles(),
    )


def _roles() -> dict[str, Any]:
    """All roles, and by name those that the viewer may give, which are those of users whom the viewer may change."""
    found = api().get("/api/v1/roles")["items"]
    return {"roles": found, "given": {role["name"] for role in found if role["may_change"]}}


def _page(filters: dict[str, Any], offset: int) -> str:
    return "?" + urlencode(filters | ({"offset": offset} if offset else {}))
