/**
 * Dialog forms that make changes through the API. A button names its dialog and the call in
 * `data-dialog`, `data-url`, `data-method`, `data-heading`, `data-text`, `data-submit`, `data-done`, and
 * `data-values` (JSON, the values of the fields). A button with a `data-url` and no dialog calls the API at once.
 */

import { api } from "./api.js";
import { announce, refreshFragment } from "./fragment.js";

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (opener) open(document.getElementById(opener.dataset.dialog), opener.dataset);
  event.target.closest("[data-close]")?.closest("dialog").close();
  const action = event.target.closest("button[data-url]:not([data-dialog])");
  if (action) act(action);
});

document.addEventListener("submit", (event) => {
  if (event.target.dataset.url === undefined) return;
  event.preventDefault();
  submit(event.target);
});

// The browser shows the error of a visible field only, so its section is opened. The event does not bubble.
document.addEventListener("invalid", (event) => unfold(event.target), true);

document.addEventListener("change", (event) => {
  if (event.target.dataset.chooses !== undefined) showChosen(event.target);
});

function open(dialog, opener) {
  const form = dialog.querySelector("form");
  form.reset();
  for (const part of form.querySelectorAll("details")) part.open = false;
  Object.assign(form.dataset, { url: opener.url, method: opener.method, done: opener.done ?? "" });
  setText(dialog, "[data-slot=heading]", opener.heading);
  setText(dialog, "[data-slot=text]", opener.text);
  setText(dialog, "[data-slot=submit]", opener.submit);
  fill(form, JSON.parse(opener.values ?? "{}"));
  form.querySelectorAll("[data-chooses]").forEach(showChosen);
  for (const part of form.querySelectorAll("[data-mode]")) part.hidden = part.disabled = part.dataset.mode !== opener.method;
  showError(form, "");
  dialog.showModal();
}

function setText(dialog, selector, text) {
  const element = dialog.querySelector(selector);
  if (element && text !== undefined) element.textContent = text;
}

/** A value that a select does not list becomes an extra option, until the form is filled again. */
function fill(form, values) {
  form.querySelectorAll("option[data-added]").forEach((option) => option.remove());
  for (const [name, value] of Object.entries(values)) {
    const field = form.elements[name];
    if (!field) continue;
    if (field.type === "checkbox") field.checked = value;
    else field.value = value ?? "";
    if (field.type === "select-one" && value && field.value !== value) addOption(field, value);
  }
}

function addOption(select, value) {
  const option = new Option(value, value, false, true);
  option.dataset.added = "";
  select.add(option);
}

function unfold(field) {
  const part = field.closest("details");
  if (part) part.open = true;
}

/** Shows the fields of the chosen option; the others are disabled, and not sent. */
function showChosen(select) {
  for (const group of select.form.querySelectorAll("[data-for]")) {
    group.hidden = group.disabled = !group.dataset.for.split(" ").includes(select.value);
  }
}

async function submit(form) {
  const button = form.querySelector("[type=submit]");
  showError(form, "");
  button.disabled = true;
  try {
    const answer = await api(form.dataset.url, { method: form.dataset.method, body: values(form) });
    const done = new CustomEvent("form-done", { bubbles: true, cancelable: true, detail: answer });
    if (!form.dispatchEvent(done)) return;
    form.closest("dialog")?.close();
    form.reset();
    await showDone(form.dataset.done);
  } catch (error) {
    showError(form, error.message);
  } finally {
    button.disabled = false;
  }
}

async function act({ dataset }) {
  try {
    await api(dataset.url, { method: dataset.method, body: dataset.body && JSON.parse(dataset.body) });
    await showDone(dataset.done);
  } catch (error) {
    announce(error.message);
  }
}

async function showDone(text) {
  announce(text);
  if (document.querySelector("[data-fragment]")) await refreshFragment();
}

/** The fields as JSON members; an empty field marked `data-empty` is left out ("omit") or sent as null ("null"). */
function values(form) {
  const body = {};
  for (const field of form.elements) {
    if (!field.name || field.matches(":disabled")) continue;
    if (field.type === "checkbox") body[field.name] = field.checked;
    else if (field.value === "" && field.dataset.empty === "omit") continue;
    else if (field.value === "" && field.dataset.empty === "null") body[field.name] = null;
    else body[field.name] = field.type === "number" ? Number(field.value) : field.value;
  }
  return body;
}

/** An error that begins with the name of a field is shown under its label, and the field is marked. */
function showError(form, text) {
  for (const field of form.elements) field.removeAttribute("aria-invalid");
  const [, name, rest] = /^(\w+): (.*)/s.exec(text) ?? [];
  const wrong = [...form.elements].find((field) => field.name === name && !field.matches(":disabled"));
  const label = wrong?.closest("label")?.querySelector(".label").firstChild.textContent.trim();
  form.querySelector("[role=alert]").textContent = label ? `${label}: ${rest}` : text;
  if (!wrong) return;
  wrong.setAttribute("aria-invalid", "true");
  unfold(wrong);
  wrong.focus();
}
