"""HA status: the instances of the cluster, Valkey, and recent events."""

from datetime import UTC, datetime

from netstacks.cluster import clocks
from netstacks.web.api import ha
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.pages.layout import blueprint, render_page

_HA_EVENTS = 20


@blueprint.get("/ha")
@guard.requires("ha.view")
def ha_status() -> str:
    parts = services()
    view = parts.observer.look()
    return render_page(
        "ha.html",
        status=ha.as_json(parts, view),
        lines=ha.lines_of(parts, view),
        events=view.events[:_HA_EVENTS],
        clock_advice=clocks.ADVICE,
        valkey=view.registry,
        seen_at=datetime.fromtimestamp(view.seen_at, UTC) if view.seen_at else None,
    )
