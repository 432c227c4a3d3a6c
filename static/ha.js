/** HA status: the page renders itself anew whenever the controller says that something has changed. */

import { refreshPart } from "./part.js";

const live = document.getElementById("live");
let isRefreshing = false;

const stream = new EventSource(live.dataset.stream);
stream.addEventListener("open", () => (live.textContent = "Live"));
stream.addEventListener("error", () => {
  live.textContent =
    stream.readyState === EventSource.CLOSED
      ? "Not live any more: reload the page."
      : "Connection lost: what you see may be old. Trying again …";
});
stream.addEventListener("message", async () => {
  if (isRefreshing || document.hidden || document.querySelector("dialog[open]")) return;
  isRefreshing = true;
  try {
    await refreshPart(location.href, { quietly: true });
  } catch {
    // The stream will say that the controller is away.
  }
  isRefreshing = false;
});
