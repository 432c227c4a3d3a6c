/** A viewer's WebSocket (docs/protocol.md, 7): joins, reconnects after a loss, and reports its state. */

import * as frames from "../terminal/frames.js";
import { LivenessWatch, TICK_MS } from "../terminal/liveness.js";

// The server pings every 10 seconds.
const SILENT_FOR_MS = 35_000;
const FIRST_DELAY_MS = 500;
const MAX_DELAY_MS = 15_000;

const ENDED = 4001;
const REFUSED = 4002;
const TAKEN_OVER = 4003;

export class Viewing {
  /**
   * The callbacks: `onState(state)`, `onJoined(info)` before any output, `onOutput(bytes)`, `onWindow({cols, rows})`, and
   * `onSilence(since)`, `onAnswer()`, `onLostKeys(count)` and `findObstacle()` as a Connection has them.
   */
  constructor(token, hooks) {
    this.token = token;
    this.hooks = hooks;
    this.info = null;
    this.attempts = 0;
    // Upgrades in a row that were refused, and what stands in their way, as far as it is known.
    this.refusals = 0;
    this.obstacle = null;
    this.socket = null;
    this.state = { name: "idle" };
    // The state to restore when the session has an owner again; null before the first screen of this connection.
    this.watching = null;
    this.lostKeys = 0;
    this.liveness = new LivenessWatch({
      ask: () => this.socket.send(frames.ping()),
      onSilence: hooks.onSilence,
      onAnswer: hooks.onAnswer,
      onGiveUp: () => this.open(),
      onWake: () => this.#wake(),
    });
    setInterval(() => this.#tick(), TICK_MS);
  }

  open() {
    this.#abandon();
    this.#show({ name: "joining" });
    this.watching = null;
    this.error = "";
    this.heardAt = Date.now();
    const socket = new WebSocket(this.#url());
    socket.binaryType = "arraybuffer";
    this.accepted = false;
    socket.onopen = () => {
      this.accepted = true;
      this.refusals = 0;
      this.obstacle = null;
    };
    socket.onmessage = (message) => this.#received(frames.parse(message.data));
    socket.onclose = (event) => this.#closed(event);
    this.socket = socket;
  }

  /** Sends input of `keys` keys; false when input is not possible now. */
  send(bytes, keys) {
    if (this.state.name !== "watching" || !this.state.mayType) return false;
    for (const frame of frames.data(bytes)) this.socket.send(frame);
    this.liveness.typed(keys, bytes.length);
    return true;
  }

  /** Disconnects, and reconnects later to the screen of that moment. */
  pause(why) {
    this.#abandon();
    this.#wait(why);
  }

  #url() {
    const url = new URL("/ws/shared", location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    // With its id a viewer takes its own place again, even if the server has not noticed the loss yet.
    const former = this.info ? { viewer: this.info.viewer_id } : {};
    url.search = new URLSearchParams({ share: this.token, offset: "tail", ...former });
    return url;
  }

  #received({ type, payload }) {
    this.heardAt = Date.now();
    this.liveness.heard();
    switch (type) {
      case frames.DATA:
      case frames.NOTICE:
        this.hooks.onOutput(payload);
        // Every view begins with the screen. A notice before that says that the server waits for the session.
        if (this.state.name === "watching") this.#tellLostKeys();
        return;
      case frames.RESIZE:
        return this.hooks.onWindow(frames.size(payload));
      case frames.UNOWNED:
        return this.#show(payload[0] ? { name: "unowned" } : this.watching);
      case frames.PING:
        return this.socket.send(frames.pong());
      case frames.ERROR:
        this.error = frames.text(payload);
        return;
      case frames.SESSION_INFO:
        return this.#joined(JSON.parse(frames.text(payload)));
    }
  }

  #joined(info) {
    this.info = info;
    this.attempts = 0;
    this.hooks.onJoined(info);
    this.watching = { name: "watching", mayType: info.permission === "read-write", info };
    this.#show(this.watching);
  }

  #tellLostKeys() {
    if (this.lostKeys) this.hooks.onLostKeys(this.lostKeys);
    this.lostKeys = 0;
  }

  #closed({ code, reason }) {
    const wasWatching = this.watching !== null;
    this.socket = null;
    this.lostKeys += this.liveness.stop();
    switch (code) {
      case ENDED:
        return this.#show({ name: "ended", why: reason });
      case REFUSED:
      case TAKEN_OVER:
        return this.#show({ name: wasWatching ? "stopped" : "refused", why: this.error || reason });
    }
    this.#wait(this.error || (wasWatching ? "Connection lost" : this.obstacle ?? "No connection"));
    if (!this.accepted) this.#explain();
  }

  /** Browsers do not report why an upgrade was refused: a load balancer may be in the way. */
  async #explain() {
    const refusal = this.state;
    if (++this.refusals < 2) return;
    this.obstacle = await this.hooks.findObstacle();
    if (this.obstacle && this.state === refusal) this.#show({ ...refusal, why: this.obstacle });
  }

  #wait(why) {
    const delay = Math.min(FIRST_DELAY_MS * 2 ** this.attempts++, MAX_DELAY_MS);
    this.#show({ name: "waiting", why, until: Date.now() + delay * (1 + Math.random() / 5) });
  }

  #tick() {
    this.liveness.tick();
    if (this.state.name === "waiting" && Date.now() >= this.state.until) this.open();
    else if (this.socket && Date.now() - this.heardAt > SILENT_FOR_MS) this.pause("Connection lost");
  }

  /** The network is back, or the computer has woken up. */
  #wake() {
    if (this.state.name === "waiting") this.open();
    else if (this.state.name === "watching") this.liveness.check();
    // Silence from before the sleep says nothing about the server.
    this.heardAt = Date.now();
  }

  #abandon() {
    if (!this.socket) return;
    this.socket.onopen = this.socket.onmessage = this.socket.onclose = null;
    this.socket.close();
    this.socket = null;
    this.lostKeys += this.liveness.stop();
  }

  #show(state) {
    this.state = state;
    this.hooks.onState(state);
  }
}
