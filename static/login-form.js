/** The form of a log-in: the password, then the second step for users who have one. */

import { arePossible, usePasskey } from "./passkeys.js";

const EXPLANATIONS = {
  totp: "Enter the code that your authenticator app shows.",
  passkey: "Confirm with your passkey: with the screen lock of this device, a phone or a security key.",
  recovery_code: "Enter one of the recovery codes that you have kept. Each works once.",
};
const UNREACHABLE = "The controller cannot be reached. Check your connection and try again.";

export class LoginForm {
  #form;
  #submit;
  #loggedIn;
  #ticket = "";
  #methods = [];
  #way = "password";

  /** `loggedIn` is called when the user of the form has logged in. */
  constructor(form, loggedIn) {
    this.#form = form;
    this.#submit = form.querySelector("[type=submit]");
    this.#loggedIn = loggedIn;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    for (const button of form.querySelectorAll("[data-way]")) {
      button.addEventListener("click", () => this.#show(button.dataset.way));
    }
  }

  /** Shows the first step, with an empty password. */
  reset() {
    this.#form.reset();
    this.#show("password");
  }

  async #send() {
    this.#say("");
    this.#submit.disabled = true;
    const answer = await this.#try().catch((error) => ({ error: error.message }));
    this.#submit.disabled = false;
    if (answer.code === "SECOND_FACTOR_REQUIRED") this.#ask(answer);
    else if (answer.error) this.#refuse(answer.error);
    else this.#loggedIn();
  }

  async #try() {
    const { username, password, code, recovery_code: recoveryCode } = this.#form.elements;
    if (this.#way === "password") return logIn("", { username: username.value, password: password.value });
    if (this.#way === "passkey") return logInByPasskey(this.#ticket);
    const given = this.#way === "totp" ? code.value : recoveryCode.value;
    return logIn("/code", { ticket: this.#ticket, code: given });
  }

  #ask({ ticket, methods }) {
    this.#ticket = ticket;
    this.#methods = methods.filter((method) => method !== "passkey" || arePossible);
    if (this.#methods.length) this.#show(this.#methods[0]);
    else this.#refuse("Your passkeys do not work at this address of the controller. Use the one where you have set them up.");
  }

  #refuse(error) {
    this.#say(error);
    this.#field?.select();
  }

  #show(way) {
    this.#way = way;
    const isFirst = way === "password";
    const [first, second] = ["password", "second"].map((step) => this.#form.querySelector(`[data-step=${step}]`));
    first.hidden = first.disabled = !isFirst;
    second.hidden = second.disabled = isFirst;
    for (const label of second.querySelectorAll("[data-method]")) {
      label.hidden = label.querySelector("input").disabled = label.dataset.method !== way;
    }
    for (const button of this.#form.querySelectorAll("[data-way]")) {
      button.hidden = button.dataset.way === way || ![...this.#methods, "password"].includes(button.dataset.way);
    }
    this.#form.querySelector(".ways").hidden = isFirst;
    second.querySelector("[data-slot=explanation]").textContent = EXPLANATIONS[way] ?? "";
    this.#submit.textContent = way === "passkey" ? "Use the passkey" : "Log in";
    this.#form.dispatchEvent(new CustomEvent("step", { detail: way }));
    this.#say("");
    if (this.#field) this.#field.value = "";
    (this.#field ?? this.#submit).focus();
  }

  get #field() {
    const name = { password: "password", totp: "code", recovery_code: "recovery_code" }[this.#way];
    return name && this.#form.elements[name];
  }

  #say(text) {
    this.#form.querySelector("[role=alert]").textContent = text;
  }
}

/** Logs in by a passkey: after the password with its ticket, or else alone. Resolves with the controller's answer. */
export async function logInByPasskey(ticket = null, { inField = false, signal } = {}) {
  const options = await logIn("/passkey/options", { ticket });
  if (options.error) throw new Error(options.error);
  const credential = await usePasskey(options, { inField, signal });
  return logIn("/passkey", { ticket, credential });
}

async function logIn(path, body) {
  try {
    const response = await fetch(`/api/auth/login${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-NetStacks-Page": "1" },
      body: JSON.stringify({ ...body, client_type: "admin_ui" }),
    });
    return await response.json();
  } catch {
    return { error: UNREACHABLE };
  }
}
