/** HA status: the page renders itself anew whenever the controller says that something has changed. */

import { refreshPart } from "./part.js";

const live = document.getElementById("live");
let isDue = false;
let isRefreshing = false;

const stream = new EventSource(live.dataset.stream);
stream.addEventListener("open", () => (live.textContent = "Live"));
stream.addEventListener("error", () => {
  live.textContent =
    stream.readyState === EventSource.CLOSED
      ? "Not live any more: reload the page."
      : "Connection lost: what you see may be old. Trying again …";
});
stream.addEventListener("message", () => {
  isDue = true;
  refresh();
});
// What was not drawn while nobody saw it, or behind a dialog, is made up for.
document.addEventListener("visibilitychange", refresh);
document.addEventListener("close", refresh, { capture: true });

async function refresh() {
  if (!isDue || isRefreshing || document.hidden || document.querySelector("dialog[open]")) return;
  isDue = false;
  isRefreshing = true;
  try {
    await refreshPart(location.href, { quietly: true });
  } catch {
    // The stream will say that the controller is away.
  }
  isRefreshing = false;
  refresh();
}
