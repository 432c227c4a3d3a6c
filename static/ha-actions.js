/**
 * The actions on instances and sessions. Before an instance or a session is touched, a dialog says what would happen: a button names
 * the question in `data-forecast`, and the call in `data-call` and `data-method`.
 */

import { api } from "./api.js";
import { whileBusy } from "./busy.js";
import { announce, refreshFragment } from "./fragment.js";
import { atRisk, inWords, needsForce } from "./ha-words.js";

const dialog = document.getElementById("action");
const form = dialog.querySelector("form");
const forecast = dialog.querySelector("[data-slot=forecast]");
const force = dialog.querySelector("[data-force]");
const error = dialog.querySelector("[role=alert]");
const submit = dialog.querySelector("[type=submit]");
let action = null;
let question = null;

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-forecast]");
  if (opener) open(opener.dataset);
  if (event.target.closest("[data-again]")) foresee();
});

dialog.addEventListener("close", () => {
  question?.abort();
  action = null;
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { call, method, done } = action;
  const body = action.kind === "drain" ? { force: form.elements.force.checked } : undefined;
  error.textContent = "";
  try {
    await whileBusy([submit], () => api(call, { method, body }));
    dialog.close();
    announce(done);
    if (document.querySelector("[data-fragment]")) await refreshFragment(location.href, { quietly: true });
  } catch (problem) {
    error.textContent = problem.message;
  }
});

force.addEventListener("change", () => (submit.disabled = !form.elements.force.checked));

function open({ action: kind, forecast: path, call, method, heading, text, submit: label, done }) {
  action = { kind, path, call, method, done };
  for (const [slot, words] of Object.entries({ heading, text, submit: label })) {
    dialog.querySelector(`[data-slot=${slot}]`).textContent = words;
  }
  dialog.showModal();
  foresee();
}

/** Shows what would happen. Without an answer the action stays possible: it may be what mends the cluster. */
async function foresee() {
  question?.abort();
  const asked = (question = new AbortController());
  // The button "Ask again" disappears, and the focus must not.
  if (forecast.contains(document.activeElement)) dialog.querySelector("[data-close]").focus();
  form.reset();
  error.textContent = "";
  force.hidden = true;
  submit.disabled = true;
  forecast.setAttribute("aria-busy", "true");
  forecast.replaceChildren(paragraph("Asking the instance what would happen …", "hint"));
  try {
    const answer = await api(action.path, { signal: asked.signal });
    const texts = inWords(action.kind, answer);
    forecast.replaceChildren(...texts.map((text) => paragraph(text)), ...warning(answer), ...risks(answer));
    force.hidden = !needsForce(action.kind, answer);
  } catch (problem) {
    if (asked.signal.aborted) return;
    const again = Object.assign(document.createElement("button"), { type: "button", textContent: "Ask again" });
    again.dataset.again = "";
    forecast.replaceChildren(
      paragraph(`It is not known what would happen. ${problem.message} You can proceed nevertheless.`, "warning"),
      again,
    );
  }
  forecast.removeAttribute("aria-busy");
  submit.disabled = !force.hidden;
}

/** A risk of a single session is both its warning and in the list. */
function warning(answer) {
  const isSaid = !answer.warning || action.kind === "end" || answer.at_risk.some(({ text }) => text === answer.warning);
  return isSaid ? [] : [paragraph(answer.warning, "warning")];
}

function risks(answer) {
  const texts = atRisk(answer);
  if (!texts.length) return [paragraph("No configuration and no output is under way.")];
  const list = document.createElement("ul");
  list.append(...texts.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
  return [Object.assign(document.createElement("h3"), { textContent: "At risk now" }), list];
}

function paragraph(text, className = "") {
  return Object.assign(document.createElement("p"), { textContent: text, className });
}

// Watching: the link of the share is opened in a new tab, by a click of its own if the browser blocks that.
const watch = document.getElementById("watch");
const link = watch.querySelector("[data-slot=link]");
let tab = null;

watch.addEventListener("submit", () => (tab = window.open("about:blank")), { capture: true });

watch.addEventListener("form-done", (event) => {
  const { share_url: url } = event.detail;
  if (tab) {
    tab.opener = null;
    tab.location.replace(url);
    return;
  }
  event.preventDefault();
  link.href = url;
  link.hidden = false;
  watch.querySelector("[type=submit]").hidden = true;
  link.focus();
});

// An error stays in the dialog; an empty tab must not.
new MutationObserver(() => {
  if (watch.querySelector("[role=alert]").textContent) tab?.close();
}).observe(watch.querySelector("[role=alert]"), { childList: true });

watch.addEventListener("close", () => {
  tab = null;
  link.hidden = true;
  watch.querySelector("[type=submit]").hidden = false;
});
