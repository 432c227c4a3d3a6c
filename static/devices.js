/** The selection on the page of devices: rows that are ticked, or all that match; changed, checked and deleted at once. */

import { api } from "./api.js";
import { changeSelected, deleteSelected } from "./devices-bulk.js";
import { announce, refreshFragment } from "./fragment.js";

const MAX_CHECKED = 50;
// So many devices that an undo has left are named in its notice.
const MAX_NAMED = 5;

const bar = document.getElementById("selection");
const ticked = new Set();
// All devices that match the filter, not only those whose rows are here.
let allMatching = false;
let lastTick = null;

const boxes = () => [...document.querySelectorAll("[data-fragment] td.tick input")];
const fragment = () => document.querySelector("[data-fragment]");

document.addEventListener("click", (event) => {
  const box = event.target.closest("td.tick input");
  if (box && event.shiftKey && lastTick) tickBetween(lastTick, box);
  if (box) lastTick = box;
});

document.addEventListener("change", ({ target }) => {
  if (target.matches("[data-tick-all]")) boxes().forEach((box) => tick(box, target.checked));
  else if (target.matches("td.tick input")) tick(target, target.checked);
  else return;
  if (allMatching) allMatching = false;
  show();
});

function tickBetween(first, last) {
  const all = boxes();
  const [from, to] = [all.indexOf(first), all.indexOf(last)].sort((a, b) => a - b);
  if (from >= 0) all.slice(from, to + 1).forEach((box) => tick(box, last.checked));
}

function tick(box, on) {
  box.checked = on;
  if (on) ticked.add(box.value);
  else ticked.delete(box.value);
}

bar.addEventListener("click", (event) => {
  const act = event.target.closest("[data-act]")?.dataset.act;
  if (act === "clear") clear();
  else if (act === "match") matchAll();
  else if (act === "check") check().catch((error) => announce(error.message));
  else if (act === "edit") changeSelected(selection(), done);
  else if (act === "delete") deleteSelected(selection(), done);
});

/** The selected devices as members of a call. */
function selection() {
  if (!allMatching) return { count: ticked.size, members: { ids: [...ticked] } };
  const { total, filter } = fragment().dataset;
  return { count: Number(total), members: { filter: JSON.parse(filter), expected: Number(total) } };
}

function matchAll() {
  allMatching = true;
  boxes().forEach((box) => tick(box, true));
  show();
}

function clear() {
  allMatching = false;
  ticked.clear();
  boxes().forEach((box) => tick(box, false));
  show();
  document.querySelector("[data-tick-all]")?.focus();
}

async function done(text, editId) {
  clear();
  announce(text, editId && { label: "Undo", act: () => undo(editId).catch((error) => announce(error.message)) });
  await refreshFragment();
}

async function undo(editId) {
  clear();
  const answer = await api(`/api/v1/devices/edits/${editId}/undo`, { method: "POST" });
  await refreshFragment();
  const restored = `${answer.changed === 1 ? "1 device is" : `${answer.changed} devices are`} as before.`;
  if (!answer.left_total) return announce(restored);
  const named = answer.left.slice(0, MAX_NAMED).map(({ name, reason }) => `${name} ${reason}`);
  const others = answer.left_total - named.length;
  const left = [...named, ...(others ? [`${others} more`] : [])].join("; ");
  announce(`${restored} ${answer.left_total === 1 ? "1 stays as it is" : `${answer.left_total} stay as they are`}: ${left}.`, { label: "Close", act: () => {} });
}

async function check() {
  announce(`Checking ${ticked.size === 1 ? "1 device" : `${ticked.size} devices`}…`);
  const { items } = await api("/api/v1/devices/check", { method: "POST", body: { ids: [...ticked] } });
  const reached = items.filter((item) => item.reachability === "reached").length;
  await refreshFragment();
  announce(`${reached} of ${items.length} answered.`);
}

function show() {
  const { count } = selection();
  const all = boxes();
  const total = Number(fragment()?.dataset.total ?? 0);
  bar.hidden = count === 0;
  bar.querySelector("[data-slot=count]").textContent = `${count} selected`;
  const match = bar.querySelector("[data-act=match]");
  match.hidden = allMatching || total <= count || !all.length || all.some((box) => !box.checked);
  match.textContent = `Select all ${total} that match`;
  const checkButton = bar.querySelector("[data-act=check]");
  checkButton.disabled = allMatching || ticked.size > MAX_CHECKED;
  checkButton.title = checkButton.disabled ? `At most ${MAX_CHECKED} devices at once` : "";
  const whole = document.querySelector("[data-tick-all]");
  if (!whole) return;
  whole.checked = all.length > 0 && all.every((box) => box.checked);
  whole.indeterminate = !whole.checked && all.some((box) => box.checked);
}

// The list is rendered again by a search and after a change: the devices that are still there stay selected.
new MutationObserver(() => {
  const all = boxes();
  const shown = new Set(all.map((box) => box.value));
  for (const id of ticked) if (!shown.has(id)) ticked.delete(id);
  all.forEach((box) => (box.checked = ticked.has(box.value)));
  allMatching = false;
  show();
}).observe(document.querySelector(".content"), { childList: true });

// A browser restores ticks when it comes back to a page.
boxes().forEach((box) => tick(box, box.checked));
show();
