/** Shows a revealed secret for a minute, after the audited call has returned it. */

const SHOWN_MS = 60_000;

const form = document.getElementById("reveal-form");
const output = document.getElementById("revealed");
const secret = output.querySelector("output");

form.addEventListener("form-done", (event) => {
  event.preventDefault();
  secret.textContent = event.detail.secret;
  form.hidden = true;
  output.hidden = false;
  output.querySelector("[data-copy]").focus();
  setTimeout(hide, SHOWN_MS);
});

form.closest("dialog").addEventListener("close", hide);

output.querySelector("[data-copy]").addEventListener("click", async (event) => {
  await navigator.clipboard.writeText(secret.textContent);
  event.target.textContent = "Copied";
});

function hide() {
  secret.textContent = "";
  output.querySelector("[data-copy]").textContent = "Copy";
  output.hidden = true;
  form.hidden = false;
}
