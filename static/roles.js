/** The permissions in the form of a role: a ticked wildcard shows those that it includes as ticked. */

import "./forms.js";

const form = document.querySelector("#role-dialog form");
const boxes = [...form.querySelectorAll("[data-permission]")];
/** What was ticked, without what wildcards include. */
let chosen = new Set();

// After forms.js, whose listener opens the dialog at the same click.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog=role-dialog]");
  if (!opener) return;
  const held = new Set(JSON.parse(opener.dataset.values).permissions);
  // A new role cannot have what its author may not give.
  const isNew = opener.dataset.method === "POST";
  chosen = new Set(boxes.filter((box) => held.has(box.value) && !(isNew && isBeyond(box))).map((box) => box.value));
  show();
});

form.addEventListener("change", ({ target }) => {
  if (!boxes.includes(target)) return;
  if (target.checked) chosen.add(target.value);
  else chosen.delete(target.value);
  show();
});

form.addEventListener("form-values", ({ detail: body }) => {
  body.permissions = [...chosen].filter((permission) => !isIncluded(permission));
});

function show() {
  for (const box of boxes) {
    const included = isIncluded(box.value);
    box.checked = included || chosen.has(box.value);
    box.disabled = included || isBeyond(box);
  }
}

function isIncluded(permission) {
  const wildcard = `${permission.split(".")[0]}.*`;
  return permission !== "*" && (chosen.has("*") || (permission !== wildcard && chosen.has(wildcard)));
}

function isBeyond(box) {
  return box.dataset.beyond !== undefined;
}
