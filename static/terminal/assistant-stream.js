/** Asks the controller's assistant and reads its answer while it comes. */

import { ApiError, request } from "../api.js";

/**
 * The events of the answer, `{type, ...}` each. Throws ApiError with a sentence for the user when there is none, and
 * whatever breaks off a stream; AbortError after `signal`.
 */
export async function* ask(body, signal, path = "/api/v1/ai/ask") {
  const response = await request(path, { method: "POST", body, signal });
  if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
    throw new ApiError("What came is no answer of the controller. A proxy on the way may have sent it.", response.status);
  }
  for await (const line of lines(response.body)) {
    if (line.startsWith("data: ")) yield JSON.parse(line.slice("data: ".length));
  }
}

// Not every browser can iterate over a stream by itself.
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
