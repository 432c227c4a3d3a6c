/** Logging in, and renewing an expired log-in in a dialog over whatever the page is doing. */

const dialog = document.getElementById("login-dialog");
const csrfField = document.querySelector("meta[name=csrf-token]");
let renewal = null;

/** Logs in with the fields of `form`; returns what went wrong as a sentence, or "". */
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

/** Ends the log-in; one that has expired needs no ending. */
export async function logOut() {
  await fetch("/api/auth/logout", { method: "POST", headers: { "X-CSRF-Token": csrfToken() } });
}

/** The token that every change made by the page's cookie needs. */
export function csrfToken() {
  return csrfField.content;
}

/** Whether the log-in has been renewed meanwhile, here or in another window; if so, its token is used from now on. */
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
    dialog.onclose = () => reject(new Error("You are logged out. Log in again to go on."));
  });
}
