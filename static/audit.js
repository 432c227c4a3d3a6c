/** The audit log: new entries as they are written, and the test of a target in words. */

import { api } from "./api.js";
import { whileBusy } from "./busy.js";
import { refreshFragment } from "./fragment.js";

const follow = document.getElementById("follow");
const state = document.getElementById("follow-state");
const outcome = document.getElementById("outcome");
let stream = null;

follow?.addEventListener("change", () => {
  stream?.close();
  stream = null;
  say("");
  if (follow.checked) open();
});

// The user has checked it before this script was loaded.
if (follow?.checked) open();

function open() {
  say("Connecting …");
  stream = new EventSource(follow.dataset.stream);
  stream.addEventListener("message", ({ data }) => {
    say("Live");
    if (JSON.parse(data).items.length) refreshFragment(location.href, { quietly: true }).catch(() => {});
  });
  stream.addEventListener("error", () => {
    // The browser tries again by itself, unless the answer was none of a stream.
    say(stream.readyState === EventSource.CLOSED ? "Not live: reload this page" : "Connecting …");
  });
}

function say(text) {
  state.textContent = text;
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-test]");
  if (button) test(button);
});

async function test(button) {
  show("Sending a test message …");
  try {
    const { message } = await whileBusy([button], () => api(button.dataset.test, { method: "POST", body: {} }));
    show(message);
  } catch (error) {
    show(error.message);
  }
}

function show(text) {
  outcome.textContent = text;
  outcome.hidden = false;
}
