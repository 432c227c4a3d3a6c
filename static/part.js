/** The changing part of a page: fetched again from the server and put in place, so that lists are rendered once only. */

import { renewLogin } from "./login.js";
import { localiseTimes } from "./times.js";

/**
 * Replaces the element marked `data-part` by the one that the server renders now at `url`, keeping the focus.
 * An expired log-in is renewed in a dialog, or, when `quietly`, leaves the page as it is.
 */
export async function refreshPart(url = location.href, { quietly = false } = {}) {
  let response = await fetch(url);
  while (response.redirected && new URL(response.url).pathname === "/login") {
    if (quietly) return;
    await renewLogin();
    response = await fetch(url);
  }
  if (!response.ok) throw new Error(`The list could not be refreshed: the controller answered ${response.status}.`);
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  const part = fresh.querySelector("[data-part]");
  localiseTimes(part);
  const focused = sameElementIn(part, document.activeElement);
  document.querySelector("[data-part]").replaceWith(part);
  focused?.focus();
}

function sameElementIn(part, element) {
  if (!element?.closest("[data-part]")) return null;
  const { url, method } = element.dataset;
  const selector = url
    ? `[data-url="${CSS.escape(url)}"][data-method="${CSS.escape(method)}"]`
    : `[href="${CSS.escape(element.getAttribute("href") ?? "")}"]`;
  return part.querySelector(selector);
}

/** Says what has happened, on screen for a few seconds and to screen readers. */
export function announce(text) {
  const toast = document.getElementById("toast");
  toast.textContent = text;
  toast.classList.toggle("shown", text !== "");
  clearTimeout(announce.timer);
  announce.timer = setTimeout(() => toast.classList.remove("shown"), 5000);
}
