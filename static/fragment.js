/** The fragment of a page that changes. The server renders it again, so that lists are rendered in one place only. */

import { renewLogin } from "./login.js";
import { localiseTimes } from "./times.js";

/**
 * Replaces the element marked `data-fragment` by the one that the server renders now at `url`, and keeps the focus:
 * on the same button or link, or on the fragment when that is gone.
 * An expired log-in is renewed in a dialog; with `quietly` the page stays as it is.
 */
export async function refreshFragment(url = location.href, { quietly = false } = {}) {
  let response = await fetch(url);
  while (response.redirected && new URL(response.url).pathname === "/login") {
    if (quietly) return;
    await renewLogin();
    response = await fetch(url);
  }
  if (!response.ok) throw new Error(`The list could not be refreshed: the controller answered ${response.status}.`);
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  const fragment = fresh.querySelector("[data-fragment]");
  localiseTimes(fragment);
  const old = document.querySelector("[data-fragment]");
  const hadFocus = old.contains(document.activeElement);
  const focused = hadFocus ? sameElementIn(fragment, document.activeElement) : null;
  if (hadFocus && !focused) fragment.tabIndex = -1;
  old.replaceWith(fragment);
  if (hadFocus) (focused ?? fragment).focus({ preventScroll: !focused });
}

function sameElementIn(fragment, element) {
  const { url, method } = element.dataset;
  // Each button of a row has a label of its own; some have no URL, or share it with another one.
  const label = element.getAttribute("aria-label");
  const selectors = [
    label && `[aria-label="${CSS.escape(label)}"]`,
    url && `[data-url="${CSS.escape(url)}"][data-method="${CSS.escape(method)}"]`,
    `[href="${CSS.escape(element.getAttribute("href") ?? "")}"]`,
  ];
  return selectors.filter(Boolean).map((each) => fragment.querySelector(each)).find(Boolean);
}

/**
 * Shows a notice for a few seconds, and announces it to screen readers. A notice with a button, `{ label, act }`, stays
 * until the button is pressed or another notice comes.
 */
export function announce(text, button = null) {
  const toast = document.getElementById("toast");
  toast.textContent = text;
  toast.classList.toggle("shown", text !== "");
  clearTimeout(announce.timer);
  if (button) toast.append(" ", buttonOf(button));
  else announce.timer = setTimeout(() => toast.classList.remove("shown"), 5000);
}

function buttonOf({ label, act }) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = label;
  button.addEventListener("click", () => {
    announce("");
    act();
  });
  return button;
}
