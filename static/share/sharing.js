/** Sharing, for the user of the terminal: the dialog with links and viewers, and the number of viewers. */

import { api } from "../api.js";

const POLL_MS = 5_000;
const COPIED_MS = 2_000;

const dialog = document.getElementById("share-dialog");
const form = dialog.querySelector("form");
const failure = dialog.querySelector("[role=alert]");
const links = dialog.querySelector("[data-slot=links]");
const views = dialog.querySelector("[data-slot=views]");

export class Sharing {
  /** `onWatching(count)` whenever the number of viewers has changed. */
  constructor(onWatching) {
    this.onWatching = onWatching;
    this.sessionId = null;
    this.links = [];
    this.views = [];
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#try(() => this.#create());
    });
    dialog.querySelector("[data-do=close]").addEventListener("click", () => dialog.close());
    dialog.querySelector("[data-do=revoke-all]").addEventListener("click", () => this.#try(() => this.#revoke("")));
    setInterval(() => this.#isOfInterest() && !document.hidden && this.#refresh().catch(() => {}), POLL_MS);
  }

  /** Switches to this session. */
  follow(sessionId) {
    if (sessionId === this.sessionId) return;
    this.sessionId = sessionId;
    this.#refresh().catch(() => {});
  }

  open() {
    dialog.showModal();
    this.#try(() => this.#refresh());
  }

  #isOfInterest() {
    return this.sessionId && (dialog.open || this.links.length > 0);
  }

  async #create() {
    const { permission, ttl_minutes: minutes, max_viewers: most } = Object.fromEntries(new FormData(form));
    const body = { permission, ttl_minutes: Number(minutes), max_viewers: Number(most) };
    const { token } = await api(this.#path("share"), { method: "POST", body });
    await this.#refresh();
    links.querySelector(`li[data-token="${token}"] input`).select();
  }

  async #revoke(token) {
    const pending = await api(this.#path(`share/${token}`).replace(/\/$/, ""), { method: "DELETE" });
    await this.#refresh();
    failure.textContent = pending?.status ?? "";
  }

  async #stop(viewerId) {
    await api(this.#path(`viewers/${viewerId}`), { method: "DELETE" });
    await this.#refresh();
  }

  async #refresh() {
    const sessionId = this.sessionId;
    const [found, { items }] = await Promise.all([api(this.#path("share")), api(this.#path("viewers"))]);
    if (sessionId !== this.sessionId) return;
    this.links = found;
    this.views = items;
    this.#draw();
    this.onWatching(items.length);
  }

  #path(what) {
    return `/api/sessions/${this.sessionId}/${what}`;
  }

  /** Shows the error of an action in the dialog. */
  async #try(action) {
    failure.textContent = "";
    try {
      await action();
    } catch (error) {
      failure.textContent = error.message;
    }
  }

  #draw() {
    show(links, this.links, ({ token }) => token, (link) => this.#linkItem(link));
    show(views, this.views, ({ viewer_id: id }) => id, (view) => this.#viewItem(view));
    dialog.querySelector("[data-slot=no-links]").hidden = this.links.length > 0;
    dialog.querySelector("[data-slot=no-views]").hidden = this.views.length > 0;
    dialog.querySelector("[data-do=revoke-all]").hidden = !this.links.length;
  }

  #linkItem({ token, share_url: url, permission, expires_at: expiresAt, max_viewers: most }) {
    const item = copyOf("share-link");
    const may = permission === "read-write" ? "Watch and type" : "Watch only";
    const people = most === 1 ? "one viewer" : `at most ${most} viewers`;
    item.dataset.token = token;
    item.querySelector("input").value = url;
    item.querySelector("input").addEventListener("focus", (event) => event.target.select());
    item.querySelector("[data-slot=what]").textContent = `${may}, until ${clock(expiresAt)}, ${people}`;
    item.querySelector("[data-do=copy]").addEventListener("click", (event) => copy(item.querySelector("input"), event.target));
    item.querySelector("[data-do=revoke]").addEventListener("click", () => this.#try(() => this.#revoke(token)));
    return item;
  }

  #viewItem({ viewer_id: id, username, address, permission, joined_at: joinedAt }) {
    const item = copyOf("share-view");
    item.querySelector("[data-slot=who]").textContent = username ?? "Guest";
    item.querySelector("[data-slot=what]").textContent =
      `${permission === "read-write" ? "watches and may type" : "watches"} since ${clock(joinedAt)}${address ? `, from ${address}` : ""}`;
    item.querySelector("[data-do=stop]").setAttribute("aria-label", `End the view of ${username ?? `the guest at ${address}`}`);
    item.querySelector("[data-do=stop]").addEventListener("click", () => this.#try(() => this.#stop(id)));
    return item;
  }
}

/** Adds and removes items and keeps the others, so that focus and selection are kept. */
function show(list, found, keyOf, draw) {
  const keys = new Set(found.map(keyOf));
  const shown = new Map([...list.children].map((item) => [item.dataset.key, item]));
  for (const [key, item] of shown) if (!keys.has(key)) item.remove();
  for (const each of found) {
    if (shown.has(keyOf(each))) continue;
    const item = draw(each);
    item.dataset.key = keyOf(each);
    list.append(item);
  }
}

/** Browsers offer the clipboard on https and localhost only; elsewhere the user copies the selected text by hand. */
async function copy(input, button) {
  input.select();
  try {
    await navigator.clipboard.writeText(input.value);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Press Ctrl+C";
  }
  setTimeout(() => (button.textContent = "Copy"), COPIED_MS);
}

const copyOf = (id) => document.getElementById(id).content.cloneNode(true).firstElementChild;
const clock = (at) => new Date(at).toLocaleTimeString(undefined, { timeStyle: "short" });
