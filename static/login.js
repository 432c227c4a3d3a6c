/** Log-in, and renewal of an expired log-in in a dialog over the current page. */

const dialog = document.getElementById("login-dialog");
const csrfField = document.querySelector("meta[name=csrf-token]");
let renewal = null;

/** Logs in with the fields of `form`; returns the error as a sentence, or "". */
export async function logIn(form) {
  const { username, password } = form.elements;
  try {
    const response = await fetch("/api/auth/login", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-NetStacks-Page": "1" },
      body: JSON.stringify({ username: username.value, password: password.value, client_type: "admin_ui" }),
    });
    return response.ok ? "" : (await response.json()).error;
  } catch {
    return "The controller cannot be reached. Check your connection and try again.";
  }
}

/** Ends the log-in. The answer is ignored: an expired log-in has ended already. */
export async function logOut() {
  await fetch("/api/auth/logout", { method: "POST", headers: { "X-CSRF-Token": csrfToken() } });
}

/** The CSRF token, which every change made with the page's cookie needs. */
export function csrfToken() {
  return csrfField.content;
}

/** Whether the log-in was renewed, here or in another window; then its CSRF token is used from now on. */
export async function takeNewCsrfToken() {
  const response = await fetch("/csrf-token");
  const token = response.ok ? (await response.json()).csrf_token : csrfField.content;
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
  const form = dialog.querySelector("form");
  const alert = dialog.querySelector("[role=alert]");
  form.reset();
  alert.textContent = "";
  dialog.showModal();
  return new Promise((resolve, reject) => {
    form.onsubmit = async (event) => {
      event.preventDefault();
      alert.textContent = await logIn(form);
      if (alert.textContent) return;
      await takeNewCsrfToken();
      resolve();
      dialog.close();
    };
    dialog.onclose = () => reject(new Error("You are logged out. Log in again to continue."));
  });
}
