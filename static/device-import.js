/** The import of devices: a dry run with the fate of every row, then the import of the very same file. */

import { api } from "./api.js";
import { whileBusy } from "./busy.js";

const URL = "/api/v1/devices/import";
const SHOWN_AT_ONCE = 200;
const MAX_BYTES = 4 * 1024 * 1024;
const TOO_LARGE =
  "The file is larger than 4 MB. Split it into several files, each with the line that names the columns, and import one after the other.";
const NAMES = { refused: "Refused", duplicate: "Duplicate", added: "Added", changed: "Changed", unchanged: "Unchanged" };

const [choice, apply] = [document.getElementById("import"), document.getElementById("apply")];
const fates = document.getElementById("fates");
const slot = (name) => fates.querySelector(`[data-slot=${name}]`);

// The file and the answer of its dry run; the rows that are chosen, and how many of them are shown.
let file, answer, rows, shown;

choice.addEventListener("submit", (event) => {
  event.preventDefault();
  dryRun();
});

// Another file needs another dry run.
choice.elements.file.addEventListener("change", () => (fates.hidden = true));

async function dryRun() {
  file = choice.elements.file.files[0];
  if (file.size > MAX_BYTES) return say(choice, TOO_LARGE);
  const found = await send(choice, "dry_run=1");
  if (found === null) return;
  answer = found;
  const { counts } = answer;
  const bad = counts.refused + counts.duplicate;
  const good = counts.added + counts.changed;
  slot("heading").textContent = `${answer.rows.length} ${answer.rows.length === 1 ? "row" : "rows"} read, nothing is changed yet`;
  slot("note").textContent = bad ? `${bad} of them cannot be imported.` : "All of them can be imported.";
  slot("skip").hidden = !bad;
  apply.elements.skip_refused.checked = false;
  slot("submit").textContent = `Import ${good} ${good === 1 ? "device" : "devices"}`;
  apply.hidden = good === 0;
  showKinds();
  showResult();
}

async function send(form, query) {
  const button = form.querySelector("[type=submit]");
  say(form, "");
  try {
    return await whileBusy([button], () => api(`${URL}?${query}`, { method: "POST", body: file }));
  } catch (error) {
    say(form, error.message);
    return null;
  }
}

function say(form, text) {
  form.querySelector("[role=alert]").textContent = text;
}

function showResult() {
  fates.hidden = false;
  slot("heading").focus();
}

function showKinds() {
  const kinds = Object.keys(NAMES).filter((kind) => answer.counts[kind]);
  const buttons = ["all", ...kinds].map((kind) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = kind === "all" ? `All ${answer.rows.length}` : `${NAMES[kind]} ${answer.counts[kind]}`;
    button.addEventListener("click", () => choose(kind, button));
    return button;
  });
  slot("kinds").replaceChildren(...buttons);
  choose("all", buttons[0]);
}

function choose(kind, button) {
  for (const each of slot("kinds").children) each.setAttribute("aria-pressed", each === button);
  rows = kind === "all" ? answer.rows : answer.rows.filter((row) => row.fate === kind);
  shown = 0;
  slot("rows").replaceChildren();
  showMore();
}

slot("more").addEventListener("click", showMore);

function showMore() {
  slot("rows").append(...rows.slice(shown, shown + SHOWN_AT_ONCE).map(tableRow));
  shown = Math.min(shown + SHOWN_AT_ONCE, rows.length);
  slot("more").hidden = shown >= rows.length;
  slot("more").textContent = `Show more of ${rows.length - shown}`;
}

function tableRow(row) {
  const line = document.createElement("tr");
  line.className = `fate-${row.fate}`;
  const state = document.createElement("span");
  state.className = `state ${row.fate}`;
  state.textContent = NAMES[row.fate];
  const name = document.createElement("strong");
  name.textContent = row.name || "(no name)";
  const host = document.createElement("small");
  host.textContent = row.host;
  line.append(cell("Line", String(row.line)), cell("Fate", state), cell("Device", name, host), cell("Details", details(row)));
  return line;
}

function cell(label, ...parts) {
  const element = document.createElement("td");
  element.dataset.label = label;
  if (label === "Details") element.className = "wraps";
  const box = document.createElement("div");
  box.append(...parts);
  if (box.textContent) element.append(box);
  return element;
}

function details(row) {
  if (row.reason) return row.reason;
  return Object.entries(row.changes ?? {})
    .map(([name, [before, after]]) => `${name}: ${text(before)} → ${text(after)}`)
    .join("; ");
}

function text(value) {
  if (value === null || value === "" || value.length === 0) return "none";
  return Array.isArray(value) ? value.join(", ") : value;
}

apply.addEventListener("submit", async (event) => {
  event.preventDefault();
  const skips = apply.elements.skip_refused.checked;
  const done = await send(apply, `digest=${answer.digest}${skips ? "&skip_refused=1" : ""}`);
  if (done === null) return;
  const { added, changed } = done.counts;
  slot("heading").textContent = `Imported: ${added} added, ${changed} changed`;
  slot("note").textContent = "The file is imported. The rows below show what was done.";
  apply.hidden = true;
  choice.reset();
  showResult();
});
