"""`python -m bench.ha_status`: what HA status and metrics cost an instance, for clusters and numbers of viewers.

The real observer, history and rendering run against a real Valkey with made-up instances; sockets and PostgreSQL are
not counted. Streams are those of the page, of rendered sections, and those of the API, of JSON. The figures of one run
can be compared with each other, and not with those of another machine.
"""

import json
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()

from uuid import UUID

from prometheus_client import generate_latest

from bench import ha_page
from bench.registry import Populated
from netstacks import greenlets
from netstacks.cluster.model import Sample
from netstacks.instance import history as history_module
from netstacks.instance.history import History
from netstacks.instance.loop_watch import LoopWatch
from netstacks.instance.observer import Observer
from netstacks.peer.clocks import PeerClocks
from netstacks.permissions import EVERYWHERE
from netstacks.registry import hashes, keys
from netstacks.registry.base import MAX_SAMPLES
from netstacks.store.sight import Sight
from netstacks.web.admin import ha as ha_page_views
from netstacks.web.admin.ha_markup import Markup
from netstacks.web.api import ha
from netstacks.web.api.ha_status_json import rendered
from netstacks.web.context import Services
from netstacks.web.http.streams import Streams
from netstacks.web.metrics.collector import InstanceCollector
from netstacks.web.pages.ha_live import _Watch
from tests.valkey import Valkey
from tests.web.test_metrics import parts as metrics_parts

SIZES = (3, 300)
VIEWERS = (1, 100)
_STREAM_SECS = 10.0
_VIEWER = Sight(UUID(int=1), of_others=True, reach=EVERYWHERE)
_SAMPLE_SECS = 10.0


def main() -> None:
    for size in SIZES:
        valkey = Valkey()
        valkey.start()
        try:
            full = Populated(valkey)
            full.add_instances(size)
            _measure(full)
        finally:
            valkey.destroy()


def _measure(full: Populated) -> None:
    ids = [each.id for each in full.instances]
    now = full.registry.now()
    for instance_id in ids:
        _write_an_hour(full, instance_id, now)
    parts = _parts(full)
    # Every reading is measured.
    history_module.FRESH_SECS = 0.0
    print(f"{len(ids)} instances")
    loop = LoopWatch(2.0)
    loop.start()
    parts.observer.look()
    loop.take_largest_lag()
    _report("history, first reading", lambda: _read(parts.history), loop)
    for instance_id in ids:
        full.registry.add_samples(instance_id, [_sample(now)])
    _report("history, later reading", lambda: _read(parts.history), loop)
    history_module.FRESH_SECS = 60.0
    _report("history as JSON", lambda: json.dumps(ha.history(parts)), loop)
    greenlets.sleep(1.1)
    _report("status, look and rendering", lambda: rendered(parts, parts.observer.look()), loop)
    _report("status, within a second", lambda: rendered(parts, parts.observer.look()), loop)
    print(f"  {'status':<32}{len(rendered(parts, parts.observer.look()).body) / 1024:>10.1f} KiB")
    for viewers in VIEWERS:
        _report(f"{viewers} JSON streams for {_STREAM_SECS:g} s", lambda count=viewers: _watch(parts, count), loop)
    look = ha_page.sections(parts)
    _report("page, first rendering", look, loop)
    print(f"  {'page':<32}{sum(len(each.html) for each in look().values()) / 1024:>10.1f} KiB")
    for viewers in VIEWERS:
        _report(f"{viewers} pages open for {_STREAM_SECS:g} s", lambda count=viewers: _open(parts, look, count), loop)
    collector = InstanceCollector(metrics_parts(observer=parts.observer))
    _scrape(collector)
    greenlets.sleep(1.1)
    _report("scrape of /metrics", lambda: _scrape(collector), loop)


def _write_an_hour(full: Populated, instance_id: str, now: float) -> None:
    """Samples as an instance has written them in an hour: the id of each entry is its time."""
    pipeline = full.server.pipeline(transaction=False)
    for number in range(MAX_SAMPLES, 0, -1):
        sample = _sample(now - _SAMPLE_SECS * number)
        pipeline.xadd(
            keys.samples(instance_id), {"figures": hashes.sample_figures(sample)}, id=f"{sample.at * 1000:.0f}-*"
        )
    pipeline.execute()


def _sample(at: float) -> Sample:
    return Sample(at, 40, 2.5, 0.004, 0.0012, 180 << 20)


def _parts(full: Populated) -> Services:
    observer = Observer(full.registry, PeerClocks())
    settings = SimpleNamespace(ha_heartbeat_interval_secs=5, ha_stale_instance_ttl_secs=30, ha_expected_instances=0)
    parts = SimpleNamespace(
        settings=settings,
        observer=observer,
        history=History(full.registry, observer.instance_ids),
        agent=SimpleNamespace(
            me=full.instances[0], is_blind=False, is_draining=False, contact=SimpleNamespace(problem=None)
        ),
        consistency=SimpleNamespace(problems=lambda: ()),
        llm=SimpleNamespace(directory=SimpleNamespace(configured=lambda: [])),
        session_survey=ha_page.Survey(full),
        ha_rendered=None,
        ha_streams=Streams(),
    )
    return cast(Services, parts)


def _read(history: History) -> None:
    history.refresh()
    run = history._look._run
    assert run is not None
    run.join()


def _watch(parts: Services, viewers: int) -> None:
    _consume(lambda may_look: ha._changes(parts, _VIEWER, may_look), viewers)


def _open(parts: Services, look: Callable[[], dict[str, Markup]], viewers: int) -> None:
    def stream(may_look: Callable[[], bool]) -> Iterator[str]:
        return ha_page_views._changes(look, _Watch(parts, cast(Any, None), _VIEWER.user_id, may_look))

    _consume(stream, viewers)


def _consume(stream: Callable[[Callable[[], bool]], Iterator[str]], viewers: int) -> None:
    ends_at = time.monotonic() + _STREAM_SECS

    def view() -> None:
        for _ in stream(lambda: time.monotonic() < ends_at):
            pass

    greenlets.joinall([greenlets.spawn("viewer", view) for _ in range(viewers)])


def _scrape(collector: InstanceCollector) -> None:
    """A scrape that reads the view of the cluster, too."""
    collector._look.expire()
    generate_latest(collector)
    run = collector._look._run
    assert run is not None
    run.join()


def _report(what: str, work: Callable[[], Any], loop: LoopWatch) -> None:
    loop.take_largest_lag()
    began_at, cpu_at = time.monotonic(), time.process_time()
    work()
    cpu_secs, took_secs = time.process_time() - cpu_at, time.monotonic() - began_at
    greenlets.sleep(0.2)  # The watch measures a stall at its end.
    lag = loop.take_largest_lag()
    print(f"  {what:<32}{cpu_secs * 1000:>10.1f} ms of a core in {took_secs:.2f} s, longest stall {lag * 1000:.0f} ms")


if __name__ == "__main__":
    main()
