/** Log-in, and renewal of an expired log-in in a dialog over the current page. */

import { LoginForm } from "./login-form.js";

const ELSEWHERE_MS = 1000;

const dialog = document.getElementById("login-dialog");
const csrfField = document.querySelector("meta[name=csrf-token]");
let renewal = null;
let form = null;

/**
 * Ends the log-in, and returns the page to go to next: at the identity provider, if the user logs out there, too.
 * Throws an Error with a sentence for the user who is still logged in.
 */
export async function logOut() {
  for (;;) {
    const headers = { "X-CSRF-Token": csrfToken() };
    const response = await fetch("/api/auth/logout", { method: "POST", headers }).catch(() => null);
    if (response?.ok || response?.status === 401) {
      const answer = await response.json().catch(() => ({}));
      return answer.end_session_url ?? "/login";
    }
    if (response?.status !== 403 || !(await takeNewCsrfToken().catch(() => false))) {
      throw new Error("You are still logged in: the controller did not log you out. Try again.");
    }
  }
}

/** The CSRF token, which every change made with the page's cookie needs. */
export function csrfToken() {
  return csrfField.content;
}

/**
 * Whether the log-in was renewed, here or in another window; then its CSRF token is used from now on.
 * Another user's log-in loads the page anew: no change that waits is made in that user's name.
 */
export async function takeNewCsrfToken() {
  const response = await fetch("/csrf-token");
  if (!response.ok) return false;
  const { csrf_token: token, username } = await response.json();
  if (username !== csrfField.dataset.username) {
    location.reload();
    return new Promise(() => {});
  }
  const isNew = token !== csrfField.content;
  csrfField.content = token;
  return isNew;
}

/** Resolves when the user has logged in again; rejects when they close the dialog. Parallel calls share one dialog. */
export function renewLogin() {
  renewal ??= showDialog().finally(() => (renewal = null));
  return renewal;
}

function showDialog() {
  form ??= new LoginForm(dialog.querySelector("form"), async () => {
    await takeNewCsrfToken();
    dialog.close("done");
  });
  form.reset();
  dialog.returnValue = "";
  dialog.showModal();
  let timer;
  dialog.querySelector("[data-elsewhere]").onclick = () => {
    clearInterval(timer);
    timer = setInterval(closeIfRenewed, ELSEWHERE_MS);
  };
  return new Promise((resolve, reject) => {
    dialog.onclose = () => {
      clearInterval(timer);
      if (dialog.returnValue === "done") resolve();
      else reject(new Error("You are logged out. Log in again to continue."));
    };
  });
}

/** A user of single sign-on has no password: another window is where the log-in is renewed. */
async function closeIfRenewed() {
  // Without a log-in the answer is the log-in page, which is not JSON.
  if (await takeNewCsrfToken().catch(() => false)) dialog.close("done");
}
