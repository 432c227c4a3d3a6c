/** The page of the system settings: the form of a feature, and a change that another administrator has made meanwhile. */

import { refreshFragment } from "./fragment.js";

const ROLE = "role ";

// A feature is on or off, and off for the roles that are not ticked.
document.addEventListener("form-values", ({ target, detail }) => {
  if (target.dataset.feature === undefined) return;
  const roles = Object.keys(detail).filter((name) => name.startsWith(ROLE));
  const disabled_roles = roles.filter((name) => !detail[name]).map((name) => name.slice(ROLE.length));
  for (const name of roles) delete detail[name];
  detail.value = { enabled: detail.enabled, disabled_roles };
  delete detail.enabled;
});

// A secret that was for the former value is deleted: the message says so.
document.addEventListener("form-done", ({ target, detail }) => {
  if (detail?.note) target.dataset.done += ` ${detail.note}`;
});

// After a refused change the page shows the values of now. The event does not bubble.
document.addEventListener(
  "close",
  ({ target }) => {
    if (target.querySelector("[role=alert]")?.textContent) refreshFragment().catch(() => {});
  },
  true,
);
