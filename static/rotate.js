/** The devices that a new secret can be tested on: the first ones by name, and those that match the search. */

import { api } from "./api.js";

const SEARCH_DELAY_MS = 200;
const MAX_LISTED = 100;

const search = document.querySelector("[data-search=test_device_id]");
const { form } = search;
const choice = form.elements.test_device_id;
const found = form.querySelector("[data-slot=found]");

let timer;
let newest = 0;

// The dialog resets its form when it opens.
form.addEventListener("reset", () => list("").catch(tell));

search.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(() => list(search.value).catch(tell), SEARCH_DELAY_MS);
});

// Enter in the search would rotate the credential.
search.addEventListener("keydown", (event) => {
  if (event.key === "Enter") event.preventDefault();
});

list(search.value).catch(tell);

async function list(text) {
  const mine = ++newest;
  const query = new URLSearchParams({ search: text, limit: MAX_LISTED });
  const { items, total } = await api(`/api/v1/devices?${query}`);
  if (mine !== newest) return;
  const [none, ...listed] = choice.options;
  const chosen = choice.selectedOptions[0];
  const kept = listed.filter((option) => option === chosen);
  const others = items.filter(({ id }) => id !== chosen.value);
  choice.replaceChildren(none, ...kept, ...others.map(({ id, name }) => new Option(name, id)));
  found.textContent = total > items.length ? `The first ${items.length} of ${total} devices are in the list.` : `${total} found.`;
}

function tell(error) {
  found.textContent = error.message;
}
