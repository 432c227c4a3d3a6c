/** A fenced block of an answer, with buttons to copy it and to put its lines at the prompt. */

import { asCommand } from "./assistant-markdown.js";
import { PUT_HINT } from "./assistant-words.js";

const COPIED_MS = 2_000;

/** `put(command)` types at the prompt. An incomplete block has no buttons: its last line may be half a command. */
export function codeElement(lines, isWhole, put) {
  const block = document.createElement("div");
  block.className = "fenced";
  const commands = lines.filter((line) => asCommand(line));
  const hasOne = commands.length === 1;
  block.append(...lines.map((line) => lineElement(line, isWhole && !hasOne && asCommand(line) && put)));
  if (!isWhole || !commands.length) return block;
  const actions = document.createElement("div");
  actions.className = "actions";
  actions.append(button("Copy", (event) => copy(block, lines, event.target)));
  if (hasOne) actions.append(putButton("Put at the prompt", commands[0], put));
  block.append(actions);
  return block;
}

function lineElement(line, put) {
  const row = document.createElement("div");
  row.className = "line";
  const code = document.createElement("code");
  code.textContent = line;
  row.append(code);
  if (put) row.append(putButton("Put", line, put));
  return row;
}

function putButton(label, line, put) {
  const command = asCommand(line);
  const made = button(label, () => put(command));
  made.title = PUT_HINT;
  made.setAttribute("aria-label", `Put at the prompt: ${command}`);
  return made;
}

function button(label, onClick) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = label;
  made.addEventListener("click", onClick);
  return made;
}

/** Browsers offer the clipboard on https and localhost only; elsewhere the user copies the selected text by hand. */
async function copy(block, lines, button) {
  try {
    await navigator.clipboard.writeText(lines.join("\n"));
    button.textContent = "Copied";
  } catch {
    const codes = [...block.querySelectorAll("code")];
    getSelection().setBaseAndExtent(codes[0], 0, codes.at(-1), codes.at(-1).childNodes.length);
    button.textContent = "Press Ctrl+C";
  }
  setTimeout(() => (button.textContent = "Copy"), COPIED_MS);
}
