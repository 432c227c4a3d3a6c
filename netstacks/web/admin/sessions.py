"""The sessions of all users."""

from typing import Literal
from urllib.parse import urlencode

from pydantic import BaseModel, Field

from netstacks.web.admin.api import api
from netstacks.web.admin.layout import blueprint, render_page
from netstacks.web.http.declarations import takes_query
from netstacks.web.http.fields import Moment

_ROWS = 50
_TABS = (("All", ""), ("Live", "live"), ("Ended", "ended"))


class SessionsQuery(BaseModel):
    """The filters of the list; `device` is a part of a device's name, `owner` an instance."""

    state: Literal["", "live", "ended"] = ""
    user: str = Field("", max_length=200)
    device: str = Field("", max_length=200)
    owner: str = Field("", max_length=60)
    before: Moment | None = None


@blueprint.get("/sessions")
@takes_query(SessionsQuery)
def sessions(query: SessionsQuery) -> str:
    filters = {name: text for name, text in query.model_dump(exclude={"before"}).items() if text}
    before = query.before and query.before.isoformat()
    found = api().get("/api/v1/sessions", {**filters, "before": before, "limit": _ROWS})
    return render_page(
        "admin/sessions.html",
        sessions=found["items"],
        filters=filters,
        before=before,
        tabs=[(label, state, _query(filters | {"state": state})) for label, state in _TABS],
        older=found["next"] and _query(filters | {"before": found["next"]}),
    )


def _query(filters: dict[str, str]) -> str:
    return "?" + urlencode({name: text for name, text in filters.items() if text})
