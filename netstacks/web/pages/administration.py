"""Administration: the audit log, the users, and the versions of the installed components."""

from datetime import timedelta
from urllib.parse import urlencode

from flask import request, url_for

from netstacks import __version__, bundled
from netstacks.store import audit, users
from netstacks.web.api.audit import PageQuery
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.inputs import parse_query
from netstacks.web.pages.layout import blueprint, render_page

_PAGE_ROWS = 50
_EVENT_FAMILIES = ("audit", "auth", "credential", "device", "host_key", "recording", "session", "user", "vault")


@blueprint.get("/audit")
@guard.requires("audit.view")
def audit_log() -> str:
    """The filters are those of the API, except that `until` is the last day shown, inclusive."""
    query = parse_query(PageQuery).model_copy(update={"limit": _PAGE_ROWS})
    given = {name: value for name, value in request.args.items() if value and name != "before"}
    until = query.until + timedelta(days=1) if query.until else None
    with services().database.transaction() as tx:
        rows = audit.list_page(tx, **query.model_dump() | {"until": until})
    export = given | ({"until": until.isoformat()} if until else {})
    return render_page(
        "audit.html",
        rows=rows,
        filters=given,
        families=_EVENT_FAMILIES,
        older=len(rows) == _PAGE_ROWS and f"?{urlencode({**given, 'before': rows[-1]['id']})}",
        export_url=f"{url_for('audit.export_events')}?{urlencode(export)}",
    )


@blueprint.get("/users")
@guard.requires("users.manage")
def user_list() -> str:
    with services().database.transaction() as tx:
        return render_page("users.html", users=users.list_all(tx))


@blueprint.get("/about")
@guard.requires("ha.view")
def about() -> str:
    """For administrators only: an attacker can look up the known vulnerabilities of a version."""
    return render_page("about.html", version=__version__, components=bundled.components())
