/** Which credential a terminal logs in with: the device's default, the user's, or the one they choose. */

import { api } from "../api.js";
import { ask } from "../dialogs.js";

const dialog = document.getElementById("credential-dialog");
const list = dialog.querySelector("[data-slot=credentials]");
const empty = dialog.querySelector("[data-slot=empty]");

/** The id of the user's default, else of the one they choose; null when they choose none. */
export async function findCredential() {
  const standard = await api("/api/credentials/accessible/default");
  return standard?.id ?? chooseCredential();
}

/** Asks, with `current` selected; null when the dialog is closed without a choice. */
export async function chooseCredential(current = null) {
  for (;;) {
    const { items } = await api("/api/credentials/accessible");
    list.replaceChildren(...items.map((item, index) => option(item, current ? item.id === current : index === 0)));
    list.hidden = !items.length;
    empty.hidden = items.length > 0;
    dialog.querySelector("button[value=use]").hidden = !items.length;
    dialog.querySelector("button[value=again]").hidden = items.length > 0;
    const answer = await ask(dialog);
    if (answer === "use") return list.querySelector("input:checked").value;
    if (answer !== "again") return null;
  }
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
