"""What tests do on the page HA status."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from netstacks.cluster.model import Sample
from netstacks.registry import hashes, keys
from netstacks.registry.base import MAX_SAMPLES
from tests.acceptance.cluster import Cluster
from tests.browser.browser import Browser
from tests.controller import Controller, until

WIDE = (1440, 900)

_AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
_RUN_AXE = """
const done = arguments[0];
axe.run().then(({ violations }) => done(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])));
"""
# States that say that an instance is dead.
_NOTE_ALARMS = """
window.alarms = [];
const dead = ["stale", "lost", "refused", "unhealthy"];
const look = () => document.querySelectorAll("#ha-instances .state").forEach((state) => {
  if (dead.includes(state.textContent)) window.alarms.push(state.closest("tr").innerText);
});
look();
const everything = { subtree: true, childList: true, characterData: true };
new MutationObserver(look).observe(document.getElementById("ha"), everything);
"""
_SAMPLE_SECS = 10


def watch(browser: Browser, query: str = "") -> None:
    """Opens the page and waits until its stream has sent something."""
    browser.open(f"/admin/ha{query}")
    until(lambda: said(browser) == "Live", "the stream")


def said(browser: Browser) -> str:
    """What the page says about its connection."""
    text: str = browser.run("return document.getElementById('live').textContent")
    return text


def row(browser: Browser, instance_id: str) -> str:
    """The text of the row of an instance; "" when it has none."""
    return text_of(browser, f"row-{instance_id}")


def is_healthy(browser: Browser, instance_id: str) -> bool:
    """Whether the row of an instance says so; its text contains "healthy" when it is unhealthy, too."""
    state = "return document.querySelector('#row-' + arguments[0] + ' .state')?.textContent"
    return bool(browser.run(state, instance_id) == "healthy")


def session_row(browser: Browser, session_id: str) -> str:
    """The text of the row of a session; "" when it has none."""
    return text_of(browser, f"session-{session_id}")


def text_of(browser: Browser, element_id: str) -> str:
    text: str = browser.run("return document.getElementById(arguments[0])?.innerText ?? ''", element_id)
    return text


def confirm(browser: Browser) -> None:
    """Presses the main button of the open dialog, once that is possible."""
    until(lambda: browser.find("dialog[open] [type=submit]").is_enabled(), "the button can be pressed")
    browser.click_on("dialog[open] [type=submit]")


def foreseen(browser: Browser, *texts: str) -> None:
    """Waits until the open dialog foresees one of these texts; asks again when an instance has not answered in time."""

    def is_foreseen() -> bool:
        if "It is not known" in browser.text:
            browser.click("Ask again")
        return any(text in browser.text for text in texts)

    until(is_foreseen, f"one of {texts} in the forecast", timeout_secs=60)


def soon(cluster: Cluster, condition: Callable[[], Any], what: str, *, beats: int) -> None:
    """Waits for `condition`, which must be true before the first instance has sent so many heartbeats.

    Not so many seconds: a machine with other load delays the heartbeats as well as the page.
    """
    witness, seen = id_of(cluster.controllers[0]), set[float | None]()
    with redis.Redis.from_url(cluster.valkey.url) as client:

        def has_come() -> bool:
            seen.add(client.zscore(keys.INSTANCES, witness))
            assert len(seen) <= beats + 1, f"{what} was not seen within {beats} heartbeats"
            return bool(condition())

        until(has_come, what, timeout_secs=300)


def id_of(controller: Controller) -> str:
    instance_id: str = until(lambda: controller.health().get("instance_id"), "its health")
    return instance_id


def note_alarms(browser: Browser) -> None:
    """From now on, `alarms` has the rows of instances that the page called dead."""
    browser.run(_NOTE_ALARMS)


def alarms(browser: Browser) -> list[str]:
    found: list[str] = browser.run("return window.alarms")
    return found


def findings(browser: Browser) -> Any:
    """What axe-core objects to."""
    browser.run(_AXE)
    return browser.driver.execute_async_script(_RUN_AXE)


def shoot(browser: Browser, name: str, size: tuple[int, int]) -> None:
    """A picture of the whole page."""
    height = browser.run("return document.documentElement.scrollHeight")
    browser.resize((size[0], height))
    browser.screenshot(name)
    browser.resize(size)


def write_an_hour(cluster: Cluster) -> None:
    """Replaces what each instance has sampled by an hour of samples. No instance must have read them before."""
    now = int(time.time())
    with redis.Redis.from_url(cluster.valkey.url) as client:
        for controller in cluster.controllers:
            key = keys.samples(id_of(controller))
            with client.pipeline() as pipeline:
                pipeline.delete(key)
                for number in range(MAX_SAMPLES, 0, -1):
                    # The id of an entry is its time.
                    at = now - _SAMPLE_SECS * number
                    pipeline.xadd(key, {"figures": hashes.sample_figures(_sample(at, number))}, id=f"{at * 1000}-0")
                pipeline.execute()


def _sample(at: float, number: int) -> Sample:
    """Figures that rise and fall, each in its own rhythm; every half an hour the loop is blocked for a moment."""
    wave, other = number % 90 / 90, abs(number % 140 - 70) / 70
    stall = 0.18 if number % 180 == 40 else 0.0
    memory_bytes = int((180 + 14 * wave) * 1024 * 1024)
    return Sample(
        at, int(4 + 9 * other), 0.6 + 1.4 * wave, 0.002 + 0.006 * other + stall, 0.0004 + 0.001 * wave, memory_bytes
    )
