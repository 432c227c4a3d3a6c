/** Log-in by single sign-on: a button for each identity provider, and why the last log-in by one was refused. */

const part = document.getElementById("sso");
const alert = part.querySelector("[role=alert]");
const next = document.querySelector("form[data-next]")?.dataset.next ?? "/";

if (new URLSearchParams(location.search).get("sso") === "refused") showRefusal();
showProviders();

async function showRefusal() {
  const { error } = await answerOf("/api/auth/sso/refusal");
  // Beside the buttons also when there are none any more.
  if (error) [alert.textContent, part.hidden] = [error, false];
}

async function showProviders() {
  const found = await answerOf("/api/auth/providers");
  const external = Array.isArray(found) ? found.filter(({ type }) => type === "oidc") : [];
  part.querySelector("ul").replaceChildren(...external.map(entry));
  if (external.length) part.hidden = false;
}

function entry({ name, problem, start_url: url }) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "wide";
  button.textContent = `Log in with ${name}`;
  button.addEventListener("click", () => begin(button, url));
  item.append(button);
  if (problem) {
    const text = document.createElement("small");
    text.className = "hint";
    text.textContent = `${name} does not work now. ${problem}`;
    item.append(text);
  }
  return item;
}

async function begin(button, url) {
  button.disabled = true;
  alert.textContent = "";
  const { location: target, error } = await answerOf(url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ next }),
  });
  if (target) {
    location.assign(target);
  } else {
    alert.textContent = error;
    button.disabled = false;
    button.focus();
  }
}

async function answerOf(path, options) {
  try {
    return await (await fetch(path, options)).json();
  } catch {
    return { error: "The controller cannot be reached. Check your connection and try again." };
  }
}

// The page comes back from the browser's cache when the user leaves the provider by Back.
addEventListener("pageshow", ({ persisted }) => {
  if (persisted) showProviders();
});
