"""HA status: the instances, Valkey, PostgreSQL, open sessions and recent events of the cluster; and live updates."""

import time
from collections.abc import Callable, Iterator

from flask import Response
from pydantic import BaseModel, Field
from werkzeug.exceptions import UnprocessableEntity

from netstacks import greenlets
from netstacks.web.admin.api import viewer
from netstacks.web.admin.ha_facts import Filters
from netstacks.web.admin.ha_markup import Markup
from netstacks.web.admin.ha_sections import HaSections, Rights
from netstacks.web.admin.ha_source import Watch, views
from netstacks.web.admin.layout import blueprint, render_page
from netstacks.web.admin.sparklines import sparkline
from netstacks.web.http.fields import Moment
from netstacks.web.http.inputs import parse_query

_STEP_SECS = 1.0
# A stream ends after this time. The page opens the next one unseen, perhaps at another instance.
_STREAM_SECS = 600.0
_RETRY_MS = 1000
_BEAT = "event: beat\ndata:\n\n"

blueprint.add_app_template_filter(sparkline)


class HaQuery(BaseModel):
    """The filters of the page's lists."""

    kind: str = Field("", max_length=60)
    instance: str = Field("", max_length=60)
    owner: str = Field("", max_length=60)
    before: Moment | None = None

    def filters(self) -> Filters:
        return Filters(self.kind or None, self.instance or None, self.owner or None, self.before)


@blueprint.app_template_filter()
def figure(value: float) -> str:
    """A number with three significant digits, and without a fraction from 100 on."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


@blueprint.get("/ha")
def ha() -> str:
    sections = _viewed(views().sections())()
    return render_page("admin/ha.html", sections=[section.html for section in sections.values()])


@blueprint.get("/ha/stream")
def ha_stream() -> Response:
    """What has changed, as server-sent events of HTML: sections and rows of their tables; all sections at first."""
    watch = views().watch()
    try:
        look = _viewed(watch.sections)
    except Exception:
        watch.close()
        raise
    response = Response(_changes(look, watch), mimetype="text/event-stream")
    response.call_on_close(watch.close)
    response.headers["X-Accel-Buffering"] = "no"  # Else nginx buffers the events.
    return response


def _viewed(sections: HaSections) -> Callable[[], dict[str, Markup]]:
    """The sections that the user of this request sees, as a function that outlives the request."""
    rights, filters = Rights.of(viewer()), parse_query(HaQuery).filters()
    if filters.kind and filters.kind not in sections.event_kinds():
        raise UnprocessableEntity(f"{filters.kind!r} is not a kind of event.")
    return lambda: sections.current(rights, filters)


def _changes(look: Callable[[], dict[str, Markup]], watch: Watch) -> Iterator[str]:
    ends_at = time.monotonic() + _STREAM_SECS
    sent: dict[str, Markup] = {}
    with watch.taken():
        yield f"retry: {_RETRY_MS}\n\n"
        while True:
            # All pages of a lost instance are opened again at once, and keys must not wait for that.
            greenlets.give_way()
            sections = look()
            # An event each: a parser of HTML drops rows that follow other elements.
            changed = "".join(each.event_since(sent.get(name)) for name, each in sections.items())
            # A page takes ten seconds of silence for a dead connection. Sending fails, and ends the stream, when the
            # client has gone.
            yield changed or _BEAT
            sent = sections
            greenlets.sleep(_STEP_SECS)
            # After the first event: the page stays current while the only instance that it can reach is draining.
            if time.monotonic() > ends_at or not watch.goes_on():
                return
