/** The dialog that changes or deletes many devices: what to change, a preview of it, then the change. */

import { api } from "./api.js";
import { whileBusy } from "./busy.js";
import { words } from "./forms.js";

const dialog = document.getElementById("bulk");
const form = dialog.querySelector("form");
const slot = (name) => dialog.querySelector(`[data-slot=${name}]`);
const [choose, preview] = ["choose", "preview"].map((step) => dialog.querySelector(`[data-step=${step}]`));

let members, isDeletion, onDone, isPreviewed, digest;

export function changeSelected(selection, done) {
  open(selection, done, false);
}

export function deleteSelected(selection, done) {
  open(selection, done, true);
  showPreview();
}

function open(selection, done, deletes) {
  [members, onDone, isDeletion] = [selection.members, done, deletes];
  form.reset();
  for (const box of form.querySelectorAll("[data-member]")) follow(box);
  slot("heading").textContent = `${deletes ? "Delete" : "Change"} ${plural(selection.count)}`;
  backToChoice();
  if (deletes) choose.hidden = true;
  dialog.showModal();
}

const plural = (count) => (count === 1 ? "1 device" : `${count} devices`);

form.addEventListener("change", ({ target }) => {
  if (target.dataset.member !== undefined) follow(target, true);
});

function follow(box, focus = false) {
  const field = form.elements[box.dataset.member];
  field.disabled = !box.checked;
  if (box.checked && focus) field.focus();
}

slot("back").addEventListener("click", backToChoice);

function backToChoice() {
  isPreviewed = false;
  choose.hidden = isDeletion;
  preview.hidden = slot("back").hidden = true;
  say("");
  button("Preview", false);
}

function button(text, isDangerous) {
  const submit = slot("submit");
  submit.textContent = text;
  submit.disabled = false;
  submit.className = isDangerous ? "danger" : "primary";
}

const say = (text) => (form.querySelector("[role=alert]").textContent = text);

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (isPreviewed) apply();
  else showPreview();
});

function body() {
  if (isDeletion) return { ...members, delete: true };
  const changes = {};
  for (const box of form.querySelectorAll("[data-member]:checked")) {
    const field = form.elements[box.dataset.member];
    if (field.dataset.list !== undefined) changes[field.name] = words(field.value);
    else changes[field.name] = field.value === "" && field.dataset.empty === "null" ? null : field.value;
  }
  return { ...members, changes };
}

async function call(extra) {
  say("");
  try {
    const change = { ...body(), ...extra };
    return await whileBusy([slot("submit")], () => api("/api/v1/devices", { method: "PATCH", body: change }));
  } catch (error) {
    say(error.message);
    return null;
  }
}

async function showPreview() {
  if (!isDeletion && !form.querySelector("[data-member]:checked")) return say("Choose what to change.");
  const answer = await call({ dry_run: true });
  if (answer === null) return;
  isPreviewed = true;
  digest = answer.digest;
  choose.hidden = true;
  preview.hidden = false;
  slot("back").hidden = isDeletion;
  slot("summary").textContent = summary(answer);
  slot("devices").replaceChildren(...answer.refused.map(refusal), ...answer.devices.map(change));
  const count = isDeletion ? answer.deleted : answer.changed;
  button(`${isDeletion ? "Delete" : "Change"} ${plural(count)}`, isDeletion);
  slot("submit").disabled = count === 0 || answer.refusals > 0;
  (slot("submit").disabled ? dialog.querySelector("[data-close]") : slot("submit")).focus();
}

function summary(answer) {
  if (isDeletion) {
    const open = answer.live_sessions ? ` ${answer.live_sessions} open terminals to them stay open until they are closed.` : "";
    return `Sessions and recordings stay.${open}`;
  }
  const refused = answer.refusals ? ` ${answer.refusals} cannot be changed so: choose other values or other devices.` : "";
  const changes = `${answer.changed} of ${plural(answer.matched)} ${answer.changed === 1 ? "changes" : "change"}`;
  return `${changes}${answer.unchanged ? `, ${answer.unchanged} ${answer.unchanged === 1 ? "is" : "are"} so already` : ""}.${refused}`;
}

function change(device) {
  const texts = Object.entries(device.changes).map(([name, [before, after]]) => `${label(name)}: ${shown(before, name)} → ${shown(after, name)}`);
  return item(device.name, texts.join("; "));
}

function refusal(device) {
  const entry = item(device.name, device.reason);
  entry.className = "error";
  return entry;
}

function item(name, text) {
  const [entry, strong] = [document.createElement("li"), document.createElement("strong")];
  strong.textContent = name;
  entry.append(strong, text && ` ${text}`);
  return entry;
}

const LABELS = { device_type: "type", default_credential_id: "credential", algorithms: "algorithms" };
const label = (name) => LABELS[name] ?? name;

function shown(value, name) {
  if (value === null || value === "" || value.length === 0) return "none";
  const option = name === "default_credential_id" && form.querySelector(`option[value="${CSS.escape(value)}"]`);
  return option ? option.textContent : Array.isArray(value) ? value.join(", ") : value;
}

async function apply() {
  const answer = await call({ digest });
  if (answer === null) return;
  dialog.close();
  onDone(isDeletion ? `${plural(answer.deleted)} deleted.` : `${plural(answer.changed)} changed.`, answer.edit_id);
}
