/** Shared by all pages with a list: local times, dialog forms, search while typing, arrow keys, refresh. */

import "./forms.js";
import { logOut } from "./login.js";
import { announce, refreshFragment } from "./fragment.js";
import { localiseTimes } from "./times.js";

const SEARCH_DELAY_MS = 200;

localiseTimes();
for (const each of document.querySelectorAll(":is(.top, .side) [aria-current]")) each.scrollIntoView({ block: "nearest" });

const search = document.querySelector("form[role=search]");
if (search?.dataset.live !== undefined) {
  let timer;
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => showMatches(search), SEARCH_DELAY_MS);
  });
  // The user has typed or chosen before this script was loaded.
  if ([...search.querySelectorAll("input, select")].some(differs)) showMatches(search);
}

/** Whether the field has another value than the page was loaded with. */
function differs(field) {
  if (field.type !== "select-one") return field.value !== field.defaultValue;
  const chosen = [...field.options].findIndex((option) => option.defaultSelected);
  return field.selectedIndex !== Math.max(chosen, 0);
}

function showMatches(form) {
  const url = `${location.pathname}?${new URLSearchParams(new FormData(form))}`;
  history.replaceState(null, "", url);
  return refreshFragment(url);
}

// Up and down move between the links of the list's rows, and from the search field into it.
document.addEventListener("keydown", (event) => {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const stops = [...document.querySelectorAll("form[data-live] input, [data-fragment] a.row-link")];
  const here = stops.indexOf(document.activeElement);
  if (here < 0) return;
  event.preventDefault();
  stops[here + (event.key === "ArrowDown" ? 1 : -1)]?.focus();
});

const everySecs = Number(document.querySelector("[data-refresh-secs]")?.dataset.refreshSecs);
if (everySecs) {
  setInterval(() => {
    // A dialog gives the focus back to the button that has opened it, and a disabled button waits for an answer.
    const isInUse = document.querySelector("dialog[open], [data-fragment] button:disabled");
    if (!document.hidden && !isInUse) refreshFragment(location.href, { quietly: true }).catch(() => {});
  }, everySecs * 1000);
}

document.getElementById("log-out").addEventListener("click", async () => {
  try {
    location.assign(await logOut());
  } catch (error) {
    announce(error.message);
  }
});
