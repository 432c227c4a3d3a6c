/** The second factors of the account page. Each change is confirmed by the password or a passkey first. */

import { api } from "./api.js";
import { whileBusy } from "./busy.js";
import { announce, refreshFragment } from "./fragment.js";
import { arePossible, createPasskey, usePasskey } from "./passkeys.js";
import { showCodes } from "./recovery-codes.js";

const OWN = "/api/v1/account";
const proveDialog = document.getElementById("prove-dialog");
const appDialog = document.getElementById("app-dialog");
const passkeyDialog = document.getElementById("passkey-dialog");
/** The address to go on to once a required factor is set up; none on the account page. */
const next = document.querySelector("[data-set-up]")?.dataset.setUp;

const ACTIONS = {
  "set-up-app": setUpApp,
  "remove-app": () => remove("/totp", "Remove the authenticator app", "The authenticator app was removed."),
  "add-passkey": addPasskey,
  "rename-passkey": renamePasskey,
  "remove-passkey": ({ id, name }) => remove(`/passkeys/${id}`, `Remove the passkey ${name}`, `${name} was removed.`),
  "renew-codes": renewCodes,
};

class Cancelled extends Error {}

markPossible();
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-factor]");
  if (!button) return;
  try {
    await ACTIONS[button.dataset.factor](button.dataset);
  } catch (error) {
    if (!(error instanceof Cancelled)) announce(error.message);
  }
});

async function setUpApp({ replaces }) {
  const text =
    replaces === undefined
      ? "An authenticator app on your phone then shows the codes for your log-ins."
      : "The app that you use now then shows wrong codes.";
  const proof = await prove(text);
  const { setup, secret, qr_code: qrCode } = await api(`${OWN}/totp`, { method: "POST", body: proof });
  slot(appDialog, "qr").innerHTML = qrCode;
  slot(appDialog, "secret").textContent = secret.match(/.{4}/g).join(" ");
  const { recovery_codes: codes } = await complete(appDialog, ({ code }) =>
    api(`${OWN}/totp`, { method: "PUT", body: { ...proof, setup, code: code.value } }),
  );
  await finish("The authenticator app was set up.", codes);
}

async function addPasskey() {
  const proof = await prove("A passkey replaces the code, and on this page's log-in form also the password.");
  const options = await api(`${OWN}/passkeys/options`, { method: "POST", body: proof });
  slot(passkeyDialog, "heading").textContent = "Add a passkey";
  slot(passkeyDialog, "submit").textContent = "Continue";
  const { recovery_codes: codes } = await complete(passkeyDialog, async ({ name }) => {
    const credential = await createPasskey(options);
    return api(`${OWN}/passkeys`, { method: "POST", body: { ...proof, name: name.value, credential } });
  });
  await finish("The passkey was added.", codes);
}

async function renamePasskey({ id, name: oldName }) {
  const proof = await prove(`Give the passkey ${oldName} another name.`);
  slot(passkeyDialog, "heading").textContent = `Rename ${oldName}`;
  slot(passkeyDialog, "submit").textContent = "Rename";
  await complete(
    passkeyDialog,
    ({ name }) => api(`${OWN}/passkeys/${id}`, { method: "PUT", body: { ...proof, name: name.value } }),
    { name: oldName },
  );
  await finish("The passkey was renamed.");
}

async function remove(path, what, done) {
  const proof = await prove(`${what}: it logs you in no longer.`);
  await api(OWN + path, { method: "DELETE", body: proof });
  await finish(done);
}

async function renewCodes() {
  const proof = await prove("The recovery codes that you have now are no longer accepted.");
  const { recovery_codes: codes } = await api(`${OWN}/recovery-codes`, { method: "POST", body: proof });
  await finish("The recovery codes were renewed.", codes);
}

/** Asks for the password or a passkey; resolves with the member that a change needs. */
async function prove(text) {
  slot(proveDialog, "text").textContent = text;
  const button = proveDialog.querySelector("[data-prove]");
  const confirm = (body) => api(`${OWN}/confirmation`, { method: "POST", body });
  if (button) button.hidden = !arePossible;
  return complete(proveDialog, async ({ password }, way) => {
    if (way !== "passkey") return confirm({ password: password.value });
    const options = await api(`${OWN}/confirmation/options`, { method: "POST" });
    return confirm({ credential: await usePasskey(options) });
  });
}

/**
 * Shows a dialog until `attempt`, called with the fields for each press of a button, succeeds; its errors are shown.
 * Resolves with its result; throws Cancelled when the dialog is closed.
 */
function complete(dialog, attempt, values = {}) {
  const form = dialog.querySelector("form");
  const alert = dialog.querySelector("[role=alert]");
  const buttons = [...form.querySelectorAll("button:not([data-close])")];
  form.reset();
  alert.textContent = "";
  for (const [name, value] of Object.entries(values)) form.elements[name].value = value;
  dialog.showModal();
  return new Promise((resolve, reject) => {
    const run = async (way) => {
      alert.textContent = "";
      try {
        resolve(await whileBusy(buttons, () => attempt(form.elements, way)));
        dialog.close();
      } catch (error) {
        alert.textContent = sentence(error.message);
      }
    };
    form.onsubmit = (event) => {
      event.preventDefault();
      run();
    };
    form.onclick = (event) => {
      const way = event.target.closest("[data-prove]")?.dataset.prove;
      if (way) run(way);
    };
    dialog.onclose = () => reject(new Cancelled());
  });
}

/** The error of a field, which the API names, in the words of its label. */
function sentence(text) {
  const [, name, rest] = /^(\w+): (.*)/s.exec(text) ?? [];
  const label = { password: "Current password", code: "Code", name: "Name" }[name];
  return label ? `${label} ${rest}` : text;
}

async function finish(text, codes = []) {
  if (codes.length) await showCodes(codes);
  if (next) return location.assign(next);
  await refreshFragment();
  markPossible();
  announce(text);
}

function markPossible() {
  document.querySelector("[data-factor=add-passkey]").disabled = !arePossible;
  document.querySelector("[data-no-passkeys]").hidden = arePossible;
}

function slot(dialog, name) {
  return dialog.querySelector(`[data-slot=${name}]`);
}
