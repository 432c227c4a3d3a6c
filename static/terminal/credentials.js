/** The credential of a terminal: the device's default, the user's default, or the user's choice. */

import { api } from "../api.js";
import { ask } from "../dialogs.js";

const dialog = document.getElementById("credential-dialog");
const list = dialog.querySelector("[data-slot=credentials]");
const empty = dialog.querySelector("[data-slot=empty]");

/** The id of the user's default, or else of the chosen credential; null without a choice. */
export async function findCredential(device) {
  const standard = await api("/api/credentials/accessible/default");
  return standard && isFor(standard, device) ? standard.id : chooseCredential(device);
}

/** Asks, with `current` selected; null when the dialog is closed without a choice. */
export async function chooseCredential(device, current = null) {
  for (;;) {
    const { items: all } = await api("/api/credentials/accessible");
    const items = all.filter((item) => isFor(item, device));
    const selected = items.find((item) => item.id === current) ?? items[0];
    list.replaceChildren(...items.map((item) => option(item, item === selected)));
    list.hidden = !items.length;
    empty.hidden = items.length > 0;
    dialog.querySelector("button[value=use]").hidden = !items.length;
    dialog.querySelector("button[value=again]").hidden = items.length > 0;
    const answer = await ask(dialog);
    if (answer === "use") return list.querySelector("input:checked").value;
    if (answer !== "again") return null;
  }
}

/** A credential with an address is for that address only; the controller refuses it elsewhere. */
function isFor(credential, { host, port }) {
  return !credential.host || (credential.host === host && (!credential.port || credential.port === port));
}

function option(item, checked) {
  const label = document.getElementById("credential-option").content.cloneNode(true).firstElementChild;
  const input = label.querySelector("input");
  input.value = item.id;
  input.checked = checked;
  label.querySelector("[data-slot=name]").textContent = item.name;
  label.querySelector("[data-slot=username]").textContent = item.username ?? "no user name";
  label.querySelector("[data-slot=vault]").textContent = item.vault_type;
  return label;
}
