/**
 * Dialog forms that make changes through the API. A button names its dialog and the call in
 * `data-dialog`, `data-url`, `data-method`, `data-heading`, `data-text`, `data-submit`, `data-done`, and
 * `data-values` (JSON, the values of the fields). A button with a `data-url` and no dialog calls the API at once.
 */

import { api } from "./api.js";
import { whileBusy } from "./busy.js";
import { announce, refreshFragment } from "./fragment.js";

/** The code of a refusal because another user has changed the object meanwhile. */
const CHANGED = "CHANGED_MEANWHILE";

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (opener) open(document.getElementById(opener.dataset.dialog), opener.dataset);
  event.target.closest("[data-close]")?.closest("dialog").close();
  const newest = event.target.closest("[data-newest]");
  if (newest) loadNewest(newest.form).catch((error) => showError(newest.form, error.message));
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
  Object.assign(form.dataset, { url: opener.url, method: opener.method, done: opener.done ?? "", former: opener.values ?? "{}" });
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
    else field.value = Array.isArray(value) ? value.join(field.dataset.list === undefined ? "\n" : ", ") : (value ?? "");
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
  showError(form, "");
  try {
    const answer = await whileBusy([form.querySelector("[type=submit]")], () => send(form));
    // The dialog may be opened again while the list is refreshed.
    if (answer !== undefined) await showDone(form.dataset.done, undoOf(form, answer));
  } catch (error) {
    showRefusal(form, error);
  }
}

/** Calls the API with the fields, closes the form and returns the answer; undefined when the page goes on with it itself. */
async function send(form) {
  const body = values(form);
  // A page whose fields are not the members of the call changes them.
  form.dispatchEvent(new CustomEvent("form-values", { bubbles: true, detail: body }));
  const answer = await api(form.dataset.url, { method: form.dataset.method, body });
  const done = new CustomEvent("form-done", { bubbles: true, cancelable: true, detail: answer });
  if (!form.dispatchEvent(done)) return undefined;
  form.closest("dialog")?.close();
  form.reset();
  return answer;
}

/** The button that puts back what a change has replaced, for a form that is marked `data-undo`; null for other forms. */
function undoOf({ dataset }, answer) {
  if (dataset.undo === undefined || dataset.method !== "PUT") return null;
  const { url, method, former } = dataset;
  // The version of the answer: after yet another change the API refuses the undo.
  const body = JSON.stringify({ ...JSON.parse(former), version: answer.version });
  return { label: "Undo", act: () => act({ dataset: { url, method, body, done: "The change was undone." } }) };
}

/** Shows the error; after a change by another administrator, the form also offers the newest values. */
export function showRefusal(form, error) {
  showError(form, error.message);
  const newest = form.querySelector(".newest");
  if (!newest || error.code !== CHANGED) return;
  newest.hidden = false;
  newest.scrollIntoView({ block: "nearest" });
}

/** Opens the dialog again from the list of now; a form of the page itself comes anew with the page. */
async function loadNewest(form) {
  const dialog = form.closest("dialog");
  if (!dialog) return location.reload();
  await refreshFragment();
  dialog.close();
  const openers = [...document.querySelectorAll(`[data-dialog="${dialog.id}"][data-method="${form.dataset.method}"]`)];
  const opener = openers.find(({ dataset }) => withoutQuery(dataset.url) === withoutQuery(form.dataset.url));
  if (!opener) return announce("It is not in the list any more.");
  // The button that had opened the dialog is gone, so the focus could not go back to it.
  opener.focus();
  opener.click();
}

const withoutQuery = (url) => url.split("?")[0];

async function act({ dataset }) {
  try {
    await api(dataset.url, { method: dataset.method, body: dataset.body && JSON.parse(dataset.body) });
    await showDone(dataset.done);
  } catch (error) {
    announce(error.message);
    if (error.code === CHANGED) await refreshFragment().catch(() => {});
  }
}

/** The list is refreshed first: its buttons name the versions of the objects. */
async function showDone(text, button = null) {
  try {
    if (document.querySelector("[data-fragment]")) await refreshFragment();
  } finally {
    announce(text, button);
  }
}

/** The fields as JSON members; an empty field marked `data-empty` is left out ("omit") or sent as null ("null"). */
function values(form) {
  const body = {};
  for (const field of form.elements) {
    if (!field.name || field.matches(":disabled")) continue;
    if (field.type === "checkbox") body[field.name] = field.checked;
    else if (field.dataset.list !== undefined) body[field.name] = words(field.value);
    else if (field.value === "" && field.dataset.empty === "omit") continue;
    else if (field.value === "" && field.dataset.empty === "null") body[field.name] = null;
    else if (field.dataset.lines !== undefined) body[field.name] = lines(field.value);
    else body[field.name] = field.type === "number" ? Number(field.value) : field.value;
  }
  return body;
}

/** The texts on the lines of a field that is marked `data-lines`. */
export function lines(text) {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
}

/** The parts of a text that commas separate, for a field marked `data-list`. */
export function words(text) {
  return text.split(",").map((word) => word.trim()).filter(Boolean);
}

/** An error that begins with the name of a field is shown under its label, and the field is marked. */
function showError(form, text) {
  const newest = form.querySelector(".newest");
  if (newest) newest.hidden = true;
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
