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
alone.addEventListener("click", async () => {
  alert.textContent = "";
  offer.abort();
  alone.disabled = true;
  const answer = await logInByPasskey().catch((error) => ({ error: error.message }));
  alone.disabled = false;
  finish(answer);
});
offerInField();

/** Offers passkeys among the suggestions for the user name, where the browser can. */
async function offerInField() {
  if (!(await areOfferedInFields()) || offer.signal.aborted) return;
  const timer = setTimeout(() => {
    offer.abort();
    offer = new AbortController();
    offerInField();
  }, OFFERED_MS);
  // An offer that fails before the user takes it is not an error: the page shows nothing.
  const answer = await logInByPasskey(null, { inField: true, signal: offer.signal }).catch(() => null);
  clearTimeout(timer);
  if (answer) finish(answer);
}

function finish(answer) {
  if (answer.error) alert.textContent = answer.error;
  else goOn();
}

function goOn() {
  location.assign(form.dataset.next);
}
