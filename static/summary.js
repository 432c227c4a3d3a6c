/** The summary of a recording: shows the stored one, and requests another one from a language model. */

import { api } from "./api.js";
import { draw, parse } from "./terminal/assistant-markdown.js";
import { ask } from "./terminal/assistant-stream.js";
import { CUT, STOPPED, describeMoment, describeOrigin } from "./terminal/assistant-words.js";
import { localiseTimes } from "./times.js";

const TICK_MS = 500;
const TOO_LONG = "The summary was cut at the maximum length.";

const part = document.getElementById("summary");
const { url } = part.dataset;
const summarise = part.querySelector("[data-do=summarise]");
const stop = part.querySelector("[data-do=stop]");
const progress = part.querySelector(".progress");
let kept = JSON.parse(document.getElementById("summary-data").textContent);
let asking = null;
let timer = null;

if (kept) show(kept);
summarise?.addEventListener("click", write);
stop?.addEventListener("click", () => asking.abort());

async function write() {
  const origins = [];
  let text = "";
  begin();
  try {
    let end = null;
    for await (const event of ask(undefined, asking.signal, url)) {
      if (event.type === "provider") origins.push(event);
      else if (event.type === "content_delta") text += event.text;
      else end = event;
      showGrowing(text, origins);
    }
    if (end?.type === "done" && end.stop_reason !== "max_tokens") show((kept = await api(url)));
    else fail(end ? (end.message ?? TOO_LONG) : CUT);
  } catch (error) {
    if (asking.signal.aborted) fail(STOPPED, "wait");
    else if (origins.length && !error.status) fail(CUT);
    else refused(error);
  }
  finish();
}

function begin() {
  asking = new AbortController();
  const beganAt = Date.now();
  const tick = () => (slot("secs").textContent = `${Math.floor((Date.now() - beganAt) / 1000)} s`);
  timer = setInterval(tick, TICK_MS);
  tick();
  for (const name of ["text", "facts", "failure"]) slot(name).textContent = "";
  slot("doing").textContent = "Waiting for an answer";
  slot("text").setAttribute("aria-busy", "true");
  progress.hidden = stop.hidden = false;
  summarise.hidden = true;
  stop.focus();
}

function finish() {
  clearInterval(timer);
  slot("doing").textContent = "";
  slot("text").removeAttribute("aria-busy");
  const hasFocus = document.activeElement === stop;
  progress.hidden = stop.hidden = true;
  summarise.hidden = false;
  summarise.textContent = "Summarise again";
  if (hasFocus) summarise.focus();
}

function showGrowing(text, origins) {
  showText(text);
  if (!origins.length) return;
  slot("doing").textContent = `${origins.at(-1).provider} is answering`;
  slot("facts").textContent = describeOrigin(origins);
}

function show({ text, provider, model, created_at, created_by, is_whole }) {
  showText(text);
  const time = document.createElement("time");
  time.dateTime = created_at;
  const coverage = is_whole ? "." : ". It covers the session until then.";
  slot("facts").replaceChildren(`Written by ${provider} (${model}) for ${created_by}, `, time, coverage);
  localiseTimes(part);
  if (summarise) summarise.textContent = "Summarise again";
}

/** Replaces changed blocks only, so that a selection in the others is kept. */
function showText(text) {
  const elements = parse(text).map((block) => draw(block, codeElement));
  const shown = slot("text");
  for (const [index, element] of elements.entries()) {
    const before = shown.children[index];
    if (!before) shown.append(element);
    else if (!before.isEqualNode(element)) before.replaceWith(element);
  }
  while (shown.children.length > elements.length) shown.lastElementChild.remove();
}

function codeElement(lines) {
  const block = document.createElement("pre");
  const code = document.createElement("code");
  code.textContent = lines.join("\n");
  block.append(code);
  return block;
}

function refused({ message, retryAfterSecs }) {
  if (retryAfterSecs) fail(`${message} ${describeMoment(Date.now() + retryAfterSecs * 1000)}`, "wait");
  else fail(message);
}

/** Shows the earlier summary again; without one, the incomplete text stays. */
function fail(text, tone = "error") {
  if (kept) show(kept);
  slot("failure").className = tone;
  slot("failure").textContent = text;
}

function slot(name) {
  return part.querySelector(`[data-slot=${name}]`);
}
