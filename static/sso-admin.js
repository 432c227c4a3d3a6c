/** The page Single sign-on: copies of the addresses to register, and the test of a provider. */

import { api } from "./api.js";
import { whileBusy } from "./busy.js";
import { announce } from "./fragment.js";

const outcome = document.getElementById("outcome");

document.addEventListener("click", ({ target }) => {
  const tested = target.closest("[data-test]");
  if (tested) test(tested);
  const copied = target.closest("[data-copy]");
  if (copied) copy(copied.closest(".copy").querySelector("code"));
});

async function test(button) {
  say("Asking the provider …");
  try {
    const { text } = await whileBusy([button], () => api(button.dataset.test, { method: "POST", body: {} }));
    say(text);
  } catch (error) {
    say(error.message);
  }
}

function say(text) {
  outcome.textContent = text;
  outcome.hidden = false;
}

async function copy(shown) {
  try {
    await navigator.clipboard.writeText(shown.textContent);
    announce("The address was copied.");
  } catch {
    // Without https there is no clipboard: the user copies what is selected.
    getSelection().selectAllChildren(shown);
    announce("The address is selected. Copy it with the keyboard.");
  }
}
