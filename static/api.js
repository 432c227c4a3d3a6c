/** Calls to the controller's API. An expired log-in is renewed in a dialog and the call repeated: no work is lost. */

import { csrfToken, renewLogin, takeNewCsrfToken } from "./login.js";

export class ApiError extends Error {
  /** `status` is 0 when the controller could not be reached at all. */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Returns the answer decoded `as` "json" or "text", or null when there is none. Throws ApiError with a sentence for the user. */
export async function api(path, { method = "GET", body, as = "json" } = {}) {
  for (;;) {
    const response = await send(path, method, body);
    if (response.ok) return response.status === 204 ? null : response[as]();
    if (response.status === 401) await renewLogin();
    else if (response.status !== 403 || !(await takeNewCsrfToken())) {
      throw new ApiError(await errorText(response), response.status);
    }
  }
}

/** Whether the log-in still holds; throws ApiError when the controller cannot be reached. */
export async function isLoggedIn() {
  return (await send("/api/auth/me", "GET")).status !== 401;
}

async function send(path, method, body) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET") headers["X-CSRF-Token"] = csrfToken();
  try {
    return await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new ApiError("The controller cannot be reached. Check your connection and try again.", 0);
  }
}

async function errorText(response) {
  const answer = await response.json().catch(() => null);
  return answer?.error ?? `The controller answered ${response.status} ${response.statusText}.`;
}
