/** The page API: opens the operation that the address names, and filters operations by text. */

const operations = [...document.querySelectorAll(".operation")].map((element) => [element, element.textContent.toLowerCase()]);
const field = document.querySelector("[data-reference-search] input");

function openNamed() {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named?.matches(".operation")) {
    named.open = true;
    named.scrollIntoView();
  }
}

function filter() {
  const words = field.value.toLowerCase().split(/\s+/);
  for (const [element, text] of operations) element.hidden = !words.every((word) => text.includes(word));
  for (const section of document.querySelectorAll("section:has(> .operation)")) {
    section.hidden = !section.querySelector(":scope > .operation:not([hidden])");
  }
  document.querySelector("[data-nothing]").hidden = operations.some(([element]) => !element.hidden);
}

field.addEventListener("input", filter);
field.form.addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", openNamed);
// A browser keeps the text of a field when it reloads the page.
filter();
openNamed();
