/** The link "Show more" of a list: adds the rows of the next page to the table instead of leaving this one. */

import { announce } from "./fragment.js";
import { localiseTimes } from "./times.js";

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-more]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  showMore(link).catch((error) => announce(error.message));
});

async function showMore(link) {
  const response = await fetch(link.href);
  // The log-in has expired: the link itself leads to the log-in page and back.
  if (response.redirected) return location.assign(link.href);
  if (!response.ok) throw new Error(`The list could not be continued: the controller answered ${response.status}.`);
  const next = new DOMParser().parseFromString(await response.text(), "text/html");
  const rows = [...next.querySelectorAll("[data-fragment] table.list > tbody > tr")];
  localiseTimes(next);
  const table = document.querySelector("[data-fragment] table.list > tbody");
  table.append(...rows);
  const shown = document.querySelector("[data-fragment] .count");
  if (shown) shown.textContent = shown.textContent.replace(/[\d]+ are shown/, `${table.rows.length} are shown`);
  const further = next.querySelector("a[data-more]");
  if (further) link.href = further.href;
  else link.closest("nav").remove();
  (rows[0]?.querySelector("a, button, input") ?? table).focus();
}
