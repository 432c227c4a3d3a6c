"""The audit log, its filters, the state of its hash chain, and the targets that it is sent to."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from flask import request, url_for
from werkzeug.wrappers import Response

from netstacks.web.admin.api import api, require, viewer
from netstacks.web.admin.layout import blueprint, render_page

_ROWS = 50
_FILTERS = ("actor", "event", "resource", "q", "range", "since", "until")
_RANGES = (("", "All"), ("hour", "Last hour"), ("today", "Today (UTC)"), ("week", "7 days"))
_FAMILIES = (
    "ai", "audit", "audit_target", "auth", "credential", "device", "host_key", "identity_provider", "instance",
    "llm_provider", "recording", "role", "session", "session_definition", "setting", "share", "user", "vault",
)  # fmt: skip
_TYPES = {
    "syslog_tls": "Syslog over TLS",
    "syslog_tcp": "Syslog over TCP",
    "syslog_udp": "Syslog over UDP",
    "webhook": "Webhook (HTTPS)",
}


@blueprint.get("/audit")
def audit() -> str | Response:
    given = {name: request.args[name] for name in _FILTERS if request.args.get(name)}
    if given.keys() & {"since", "until"}:
        # The form sends the range that was shown, too: times that the user has entered replace it.
        given.pop("range", None)
    found = api().get("/api/v1/audit", {**given, "before": request.args.get("before"), "limit": _ROWS})
    saved = api().get("/api/v1/audit/filters")["items"]
    return render_page(
        "admin/audit.html",
        rows=found["items"],
        searched=found["searched"] if "q" in given and found["next"] else None,
        filters=given,
        times={name: _for_field(given.get(name, "")) for name in ("since", "until")},
        shown=urlencode(given),
        families=_FAMILIES,
        ranges=[(label, _address(given | {"range": key, "since": "", "until": ""}), key) for key, label in _RANGES],
        saved=[_saved(each, given) for each in saved],
        address=_address,
        older=found["next"] and _address({**given, "before": str(found["next"])}),
        is_newest="before" not in request.args,
        chain=api().get("/api/v1/audit/chain"),
        may_manage=viewer().may("audit.manage"),
    )


@blueprint.get("/audit/targets")
def audit_targets() -> str:
    require("audit.manage")
    return render_page("admin/audit_targets.html", targets=api().get("/api/v1/audit/targets")["items"], types=_TYPES)


def _for_field(moment: str) -> str:
    """A time for an input of the type datetime-local, which takes none with a zone; as it is when it is unreadable."""
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    return (at.astimezone(UTC) if at.tzinfo else at).strftime("%Y-%m-%dT%H:%M:%S")


def _saved(item: dict[str, str], given: dict[str, str]) -> dict[str, Any]:
    filters = {name: item[name] for name in _FILTERS if item.get(name)}
    return {"name": item["name"], "url": _address(filters), "is_current": filters == given}


def _address(filters: dict[str, str]) -> str:
    """The page with these filters."""
    query = urlencode({name: text for name, text in filters.items() if text})
    return url_for("admin.audit") + (f"?{query}" if query else "")
