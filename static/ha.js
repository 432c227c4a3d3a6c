/** HA status: fetches the page's fragment again after each event of the controller's stream. */

import { refreshFragment } from "./fragment.js";

const live = document.getElementById("live");
let isDue = false;
let isRefreshing = false;

const stream = new EventSource(live.dataset.stream);
stream.addEventListener("open", () => (live.textContent = "Live"));
stream.addEventListener("error", () => {
  live.textContent =
    stream.readyState === EventSource.CLOSED
      ? "No longer live. Reload the page."
      : "Connection lost. This state may be old. Trying again …";
});
stream.addEventListener("message", () => {
  isDue = true;
  refresh();
});
// A hidden page, and one behind a dialog, is refreshed afterwards.
document.addEventListener("visibilitychange", refresh);
document.addEventListener("close", refresh, { capture: true });

async function refresh() {
  if (!isDue || isRefreshing || document.hidden || document.querySelector("dialog[open]")) return;
  isDue = false;
  isRefreshing = true;
  try {
    await refreshFragment(location.href, { quietly: true });
  } catch {
    // The stream reports that the controller is away.
  }
  isRefreshing = false;
  refresh();
}
