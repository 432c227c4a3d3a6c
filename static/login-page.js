/** The log-in page: redirects to the requested page after the log-in. */

import { logIn } from "./login.js";

const form = document.querySelector("form");
const alert = document.querySelector("[role=alert]");
const button = form.querySelector("button");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  alert.textContent = await logIn(form);
  button.disabled = false;
  if (alert.textContent) form.elements.password.select();
  else location.assign(form.dataset.next);
});
