/** The log-in page: redirects to the requested page after the log-in. */

import { LoginForm, logInByPasskey } from "./login-form.js";
import { areOfferedInFields, arePossible } from "./passkeys.js";

// The controller refuses a challenge after ten minutes.
const OFFERED_MS = 240_000;

const form = document.querySelector("form");
const alert = document.querySelector("[role=alert]");
const alone = document.getElementById("passkey-alone");
let offer = new AbortController();

new LoginForm(form, goOn);
alone.hidden = !arePossible;
form.addEventListener("step", ({ detail }) => {
  offer.abort();
  alone.hidden = detail !== "password" || !arePossible;
});
alone.addEventListener("click", () => usePasskey({}));
offerInField();

/** Offers passkeys among the suggestions for the user name, where the browser can. */
async function offerInField() {
  if (!(await areOfferedInFields()) || offer.signal.aborted) return;
  const timer = setTimeout(() => {
    offer.abort();
    offer = new AbortController();
    offerInField();
  }, OFFERED_MS);
  await usePasskey({ inField: true, signal: offer.signal });
  clearTimeout(timer);
}

async function usePasskey({ inField = false, signal }) {
  alert.textContent = "";
  if (!inField) offer.abort();
  alone.disabled = !inField;
  const answer = await logInByPasskey(null, { inField, signal }).catch((error) => ({ error: error.message }));
  alone.disabled = false;
  if (!answer.error) goOn();
  // An offer that the user has not taken is no error.
  else if (!inField) alert.textContent = answer.error;
}

function goOn() {
  location.assign(form.dataset.next);
}
