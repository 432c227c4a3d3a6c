/**
 * HA status, live. The controller streams the sections and rows that have changed as HTML; each is morphed into the
 * page, so that selected text, focus, open details and the place on the page stay as they are.
 */

import { Idiomorph } from "./vendor/idiomorph/idiomorph.esm.js";
import { localiseTimes } from "./times.js";

// The stream ends every few minutes and is opened again: shorter gaps are not worth a word.
const NOTICEABLE_GAP_MS = 5000;
// The controller says something every second; a connection that is silent for longer is dead.
const SILENCE_MS = 10_000;
const CHECK_MS = 1000;
const RETRY_MS = 3000;

const CALLBACKS = { beforeNodeMorphed: mayMorph, beforeAttributeUpdated: mayUpdate };

const live = document.getElementById("live");
const url = live.dataset.stream + location.search;
let stream = null;
let heardAt = performance.now();
let retry;
// What the controller said when it refused the stream; "" while it does not.
let refusal = "";

document.addEventListener("visibilitychange", resume);
window.addEventListener("pagehide", stop);
window.addEventListener("pageshow", resume);
const check = setInterval(noticeSilence, CHECK_MS);
follow();

/** A hidden page has no stream; it is current again a moment after it is shown. */
function resume() {
  heardAt = performance.now();
  if (document.hidden) stop();
  else follow();
}

function follow() {
  if (document.hidden || stream) return;
  stream = new EventSource(url);
  stream.addEventListener("message", ({ data }) => {
    heard();
    show(data);
  });
  stream.addEventListener("beat", heard);
  // After the end of a stream the browser opens the next one by itself, but not after an answer with an error.
  stream.addEventListener("error", () => stream?.readyState === EventSource.CLOSED && retryLater());
}

function stop() {
  stream?.close();
  stream = null;
  clearTimeout(retry);
}

function heard() {
  heardAt = performance.now();
  refusal = "";
  say("Live");
}

function noticeSilence() {
  const silentMs = performance.now() - heardAt;
  const isOpen = stream?.readyState === EventSource.OPEN;
  if (document.hidden || silentMs < (isOpen ? SILENCE_MS : NOTICEABLE_GAP_MS)) return;
  say(refusal || "Connection lost. This state may be old. Trying again …");
  if (!isOpen) return;
  stop();
  follow();
}

/** Tries again, unless the user may no longer see the page. The browser does not tell why; the stream's URL does. */
function retryLater() {
  stream = null;
  retry = setTimeout(async () => {
    // HEAD opens no stream, of which the controller has a limited number.
    const answer = await fetch(url, { method: "HEAD" }).catch(() => null);
    if (answer?.redirected) return end("You are logged out. Reload the page to log in again.");
    if (answer?.status === 403) return end("You may no longer see this page.");
    refusal = answer && !answer.ok ? await textOfRefusal() : "";
    if (refusal) say(refusal);
    follow();
  }, RETRY_MS);
}

/** The controller's sentence to a stream that it refuses; "" when it accepts one again, or cannot be reached. */
async function textOfRefusal() {
  const answer = await fetch(url).catch(() => null);
  if (!answer || answer.ok) {
    answer?.body.cancel();
    return "";
  }
  const { error } = await answer.json().catch(() => ({}));
  return error ?? `The controller answered ${answer.status}. This state may be old. Trying again …`;
}

function end(text) {
  stop();
  clearInterval(check);
  document.removeEventListener("visibilitychange", resume);
  window.removeEventListener("pageshow", resume);
  say(text);
}

function say(text) {
  if (live.textContent !== text) live.textContent = text;
}

function show(html) {
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  localiseTimes(fresh.content);
  for (const part of [...fresh.content.children]) {
    const shown = document.getElementById(part.id);
    // During an upgrade, an instance of another version may send a section that this page does not have.
    if (shown) Idiomorph.morph(shown, part, { callbacks: CALLBACKS });
  }
}

function mayMorph(old, fresh) {
  if (old.isEqualNode(fresh)) return false; // Idiomorph would compare it piece by piece, which takes long.
  if (old.nodeType === Node.TEXT_NODE) return !isSelected(old);
  return old.dataset?.charts === undefined; // Drawn by ha-charts.js.
}

/** Selected text does not change until the selection ends. */
function isSelected(text) {
  const selection = getSelection();
  return !selection.isCollapsed && selection.containsNode(text, true);
}

/** The reader opens and closes details, and chooses filters. */
function mayUpdate(name, element) {
  return !(name === "open" && element.matches("details")) && !(name === "selected" && element.matches("option"));
}
