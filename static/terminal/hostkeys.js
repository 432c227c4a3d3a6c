/** Asks the user about a host key while a connection waits for the answer (docs/protocol.md, 8). */

import { api } from "../api.js";
import { ask } from "../dialogs.js";

const POLL_MS = 1_000;
const PROMPTS = "/api/host-keys/prompts";

const dialog = document.getElementById("host-key-dialog");

/** Polls while `isConnecting()`; `onAsking(bool)` reports a pending decision. `device` is null if it is not known. */
export async function watchHostKeys(device, isConnecting, onAsking) {
  while (isConnecting()) {
    const prompt = await findPrompt(device).catch(() => null);
    if (prompt) {
      onAsking(true);
      await decide(prompt, device, isConnecting);
      onAsking(false);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function findPrompt(device) {
  const { prompts } = await api(PROMPTS);
  return prompts.find((prompt) => !device || (prompt.host === device.host && prompt.port === device.port));
}

async function decide(prompt, device, isConnecting) {
  show(prompt);
  const closing = closeWhenGone(prompt, device, isConnecting);
  const answer = await ask(dialog);
  clearInterval(closing);
  if (answer === "gone") return;
  const verb = answer === "approve" ? "approve" : "reject";
  await api(`${PROMPTS}/${encodeURIComponent(prompt.id)}/${verb}`, { method: "POST" }).catch(() => {});
}

function show(prompt) {
  dialog.classList.toggle("changed", prompt.is_changed_key);
  for (const part of dialog.querySelectorAll("[data-when]")) {
    part.hidden = (part.dataset.when === "changed") !== prompt.is_changed_key;
  }
  for (const slot of dialog.querySelectorAll("[data-slot=address]")) slot.textContent = `${prompt.host}:${prompt.port}`;
  dialog.querySelector("[data-slot=fingerprint]").textContent = prompt.fingerprint;
  dialog.querySelector("[data-slot=previous]").textContent = prompt.previous_fingerprint ?? "";
  dialog.querySelector("[data-slot=approval]").textContent = approvalOf(prompt);
  const understood = dialog.querySelector("input[type=checkbox]");
  const approve = dialog.querySelector("button[value=approve]");
  understood.checked = false;
  approve.disabled = prompt.is_changed_key;
  understood.onchange = () => (approve.disabled = !understood.checked);
}

function approvalOf({ previous_approved_by: name, previous_approved_at: at }) {
  return name && at ? `${name}, ${at.slice(0, 10)} at ${at.slice(11, 16)} UTC` : "unknown";
}

/** Closes the dialog when the prompt was answered in another window or has expired, or its connection was lost. */
function closeWhenGone(prompt, device, isConnecting) {
  return setInterval(async () => {
    const current = await findPrompt(device).catch(() => prompt);
    if (!isConnecting() || current?.id !== prompt.id) dialog.close("gone");
  }, POLL_MS);
}
