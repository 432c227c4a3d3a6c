/** The page LLM: the test of a provider in words, the patterns of redaction, and what redaction makes of a text. */

import { api } from "./api.js";
import { whileBusy } from "./busy.js";
import { lines, showRefusal } from "./forms.js";
import { announce } from "./fragment.js";

const CONFIG = "/api/admin/sanitization/config";

const outcome = document.getElementById("outcome");
const patterns = document.getElementById("patterns");
const redaction = document.getElementById("redaction");
const trial = document.getElementById("trial");

document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-test]");
  if (button) test(button);
  const pattern = target.closest("[data-remove-pattern]")?.closest("[data-pattern]");
  if (pattern) remove(pattern);
});

document.getElementById("add-pattern").addEventListener("click", () => {
  patterns.append(document.getElementById("pattern").content.cloneNode(true));
  patterns.lastElementChild.querySelector("input").focus();
});

redaction.addEventListener("submit", async (event) => {
  event.preventDefault();
  const alert = redaction.querySelector("[role=alert]");
  const submit = redaction.querySelector("[type=submit]");
  alert.textContent = "";
  try {
    const { version } = await whileBusy([submit], () => api(CONFIG, { method: "PUT", body: config() }));
    redaction.elements.based_on.value = version;
    announce("The redaction was saved.");
  } catch (error) {
    showRefusal(redaction, error);
  }
});

document.getElementById("switch").addEventListener("form-done", (event) => {
  event.preventDefault(); // The form keeps what was saved.
  event.target.elements.version.value = event.detail.version;
  announce("The switch was saved.");
});

trial.addEventListener("form-done", (event) => {
  event.preventDefault(); // The text stays, to be changed and tried again.
  const { sanitized, redaction_count: count, pattern_names: names } = event.detail;
  const shown = document.getElementById("sanitized");
  shown.querySelector("pre").textContent = sanitized;
  shown.querySelector("p").textContent = count ? `${count} removed: ${names.join(", ")}` : "Nothing is removed.";
  shown.hidden = false;
});

async function test(button) {
  say("Asking the provider …");
  try {
    const { message, advice } = await whileBusy([button], () => api(button.dataset.test, { method: "POST", body: {} }));
    say([message, advice].filter(Boolean).join(" "));
  } catch (error) {
    say(error.message);
  }
}

function say(text) {
  outcome.textContent = text;
  outcome.hidden = false;
}

function remove(pattern) {
  pattern.remove();
  document.getElementById("add-pattern").focus();
}

function config() {
  const chosen = [...redaction.querySelectorAll("[type=checkbox]")].map(({ name, checked }) => [name, checked]);
  const custom = [...patterns.children].map((row) => ({
    name: valueIn(row, "name"),
    regex: valueIn(row, "regex"),
    replacement: valueIn(row, "replacement"),
  }));
  const { allowlist, based_on } = redaction.elements;
  return { ...Object.fromEntries(chosen), based_on: based_on.value, allowlist: lines(allowlist.value), custom_patterns: custom };
}

function valueIn(row, name) {
  return row.querySelector(`[name=pattern-${name}]`).value;
}
