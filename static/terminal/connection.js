/**
 * One terminal's WebSocket: opens it, notices when it is dead, comes back at the exact byte, and says what it is doing.
 *
 * `place` is where the terminal stands: `{sessionId, token, epoch, offset}`. `offset` counts the device's bytes
 * (Data payloads) and is valid only within `epoch`; "tail" asks for the newest part of the log on an empty screen.
 */

import * as frames from "./frames.js";

export const NEW_PLACE = Object.freeze({ sessionId: null, token: null, epoch: 0, offset: 0 });

const PING_EVERY_MS = 15_000;
const ANSWER_WITHIN_MS = 25_000;
const WAKE_ANSWER_WITHIN_MS = 4_000;
const TICK_MS = 1_000;
const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 15_000;

const ENDED = 4001;
const REFUSED = 4002;
const TAKEN_OVER = 4003;
const MOVED = 4410;

export class Connection {
  /**
   * `query()` gives the parameters that name device, credential and size. The callbacks: `onState(state)`,
   * `onPlace(place)`, `onData(bytes)`, `onNotice(bytes)`, `onError(text)`, `onNewEpoch()`. After a refusal
   * `isLoggedIn()` is asked, and `logIn()` awaited when it says no.
   */
  constructor(hooks, place = NEW_PLACE) {
    this.hooks = hooks;
    this.place = { ...place };
    this.state = { name: "idle" };
    this.attempts = 0;
    this.socket = null;
    setInterval(() => this.#tick(), TICK_MS);
    addEventListener("online", () => this.#wake());
    document.addEventListener("visibilitychange", () => document.hidden || this.#wake());
  }

  /** Connects now, giving up whatever was going on before. */
  open() {
    this.#abandon();
    this.#show({ name: "connecting" });
    this.error = "";
    this.heardAt = this.pingedAt = Date.now();
    this.answerBy = Infinity;
    const socket = new WebSocket(this.#url());
    socket.binaryType = "arraybuffer";
    socket.onopen = () => (this.accepted = true);
    socket.onmessage = (message) => this.#received(frames.parse(message.data));
    socket.onclose = (event) => this.#closed(event);
    this.accepted = false;
    this.socket = socket;
  }

  /** Starts over with a new session. */
  openNew() {
    this.#move(NEW_PLACE);
    this.open();
  }

  /** Sends what was typed; false when there is no connection to send it over. */
  send(bytes) {
    if (this.state.name !== "connected") return false;
    for (const frame of frames.data(bytes)) this.socket.send(frame);
    return true;
  }

  resize(size) {
    if (this.state.name === "connected") this.socket.send(frames.resize(size));
  }

  /** Leaves and comes back a little later, for what has been sent meanwhile: a browser cannot slow a WebSocket down. */
  pause(why) {
    this.#abandon();
    this.#wait(why);
  }

  #url() {
    const { token, epoch, offset } = this.place;
    const url = new URL("/ws/ssh", location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    url.search = new URLSearchParams({
      ...this.hooks.query(),
      ...(token ? { reconnect_token: token } : {}),
      epoch,
      offset,
    });
    return url;
  }

  #received({ type, payload }) {
    this.heardAt = Date.now();
    this.answerBy = Infinity;
    switch (type) {
      case frames.DATA:
        this.place.offset += payload.length;
        return this.hooks.onData(payload);
      case frames.NOTICE:
        return this.hooks.onNotice(payload);
      case frames.ERROR:
        this.error = frames.text(payload);
        return this.hooks.onError(this.error);
      case frames.RECONNECT:
        return this.#move({ ...this.place, token: frames.uuidText(payload) });
      case frames.SESSION_INFO:
        return this.#arrived(JSON.parse(frames.text(payload)));
    }
  }

  #arrived({ session_id: sessionId, epoch, offset }) {
    if (this.place.epoch !== 0 && this.place.epoch !== epoch) this.hooks.onNewEpoch();
    this.#move({ ...this.place, sessionId, epoch, offset });
    this.attempts = 0;
    this.#show({ name: "connected", sessionId, since: Date.now() });
  }

  #closed({ code, reason }) {
    this.socket = null;
    switch (code) {
      case ENDED:
        this.#move({ ...this.place, token: null });
        return this.#show({ name: "ended", why: reason });
      case REFUSED:
        this.#show({ name: "refused", why: this.error || reason });
        return this.#checkLogin();
      case TAKEN_OVER:
        return this.#show({ name: "taken" });
      case MOVED:
        if (this.attempts++ === 0) return this.open();
    }
    this.#wait(this.accepted ? "Connection lost" : "No connection");
    if (!this.accepted) this.#checkLogin();
  }

  /** A browser does not tell why an upgrade was refused: perhaps the log-in has expired. */
  async #checkLogin() {
    const refusal = this.state;
    if ((await this.hooks.isLoggedIn()) || this.state !== refusal) return;
    this.#show({ name: "logged-out" });
    try {
      await this.hooks.logIn();
      this.open();
    } catch (error) {
      this.#show({ name: "refused", why: error.message });
    }
  }

  #wait(why) {
    const delay = Math.min(FIRST_DELAY_MS * 2 ** this.attempts++, LONGEST_DELAY_MS);
    this.#show({ name: "waiting", why, until: Date.now() + delay * (1 + Math.random() / 5) });
  }

  #tick() {
    const now = Date.now();
    if (this.state.name === "waiting" && now >= this.state.until) this.open();
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    if (now >= this.answerBy) this.pause("Connection lost");
    else if (now - this.pingedAt >= PING_EVERY_MS) this.#ping(ANSWER_WITHIN_MS);
  }

  /** The network is back, or the lid is open again: do not wait for a timer to find out. */
  #wake() {
    if (this.state.name === "waiting") this.open();
    else if (this.socket?.readyState === WebSocket.OPEN) this.#ping(WAKE_ANSWER_WITHIN_MS);
  }

  // The deadline runs from the ping, not from the last frame: a page in the background ticks once a minute only.
  #ping(withinMs) {
    this.pingedAt = Date.now();
    this.answerBy = Math.min(this.answerBy, this.pingedAt + withinMs);
    this.socket.send(frames.ping());
  }

  #abandon() {
    if (!this.socket) return;
    this.socket.onmessage = this.socket.onclose = null;
    this.socket.close();
    this.socket = null;
  }

  #move(place) {
    this.place = { ...place };
    this.hooks.onPlace(place);
  }

  #show(state) {
    this.state = state;
    this.hooks.onState(state);
  }
}
