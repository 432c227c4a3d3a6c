/** Sends a question to the controller's assistant and reads the answer as a stream. */

import { ApiError, request } from "../api.js";

/**
 * The events of the answer, each `{type, ...}` (docs/protocol.md, 10.3). Throws ApiError with a sentence for the user
 * when there is no stream, the error that breaks a stream off, and AbortError after `signal`.
 */
export async function* ask(body, signal, path = "/api/v1/ai/ask") {
  const response = await request(path, { method: "POST", body, signal });
  if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
    throw new ApiError("The answer is not from the controller. A proxy may have sent it.", response.status);
  }
  for await (const line of lines(response.body)) {
    if (line.startsWith("data: ")) yield JSON.parse(line.slice("data: ".length));
  }
}

// Not every browser can iterate over a stream.
async function* lines(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    yield* parts;
  }
}
