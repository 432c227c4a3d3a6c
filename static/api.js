/** Calls to the controller's API. An expired log-in is renewed in a dialog, then the call is repeated. */

import { csrfToken, renewLogin, takeNewCsrfToken } from "./login.js";

export class ApiError extends Error {
  /**
   * `status` is 0 when the controller could not be reached; `code` and `retryAfterSecs` are null unless the answer has
   * them.
   */
  constructor(message, status, { code = null, retryAfterSecs = null } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfterSecs = retryAfterSecs;
  }
}

/** Returns the answer decoded `as` "json" or "text", or null when there is none. Throws ApiError with a sentence for the user. */
export async function api(path, { as = "json", ...options } = {}) {
  const response = await request(path, options);
  return response.status === 204 ? null : response[as]();
}

/** The response, for a body that is read as a stream. Throws as `api` does, and AbortError after `signal`. */
export async function request(path, { method = "GET", body, signal } = {}) {
  for (;;) {
    const response = await send(path, method, body, signal);
    if (response.ok) return response;
    if (response.status === 401) await renewLogin();
    else if (response.status !== 403 || !(await takeNewCsrfToken())) throw await refusal(response);
  }
}

/** Whether the log-in still holds; throws ApiError when the controller cannot be reached. */
export async function isLoggedIn() {
  return (await send("/api/auth/me", "GET")).status !== 401;
}

async function send(path, method, body, signal) {
  const headers = { Accept: "application/json" };
  // A file is sent as it is, with its own type.
  const isFile = body instanceof Blob;
  if (body !== undefined && !isFile) headers["Content-Type"] = "application/json";
  if (method !== "GET") headers["X-CSRF-Token"] = csrfToken();
  try {
    return await fetch(path, { method, headers, body: isFile ? body : JSON.stringify(body), signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError("The controller cannot be reached. Check your connection and try again.", 0);
  }
}

async function refusal(response) {
  const answer = await response.json().catch(() => null);
  const message = answer?.error ?? `The controller answered ${response.status} ${response.statusText}.`;
  const retryAfterSecs = Number(response.headers.get("Retry-After")) || null;
  return new ApiError(message, response.status, { code: answer?.code ?? null, retryAfterSecs });
}
