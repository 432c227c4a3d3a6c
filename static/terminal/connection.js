/**
 * The WebSocket of one terminal: opens it, detects its loss, resumes at the exact byte, and reports its state.
 *
 * The resume point is `{sessionId, token, epoch, offset}` (docs/protocol.md, 6.4). `offset` counts the device's bytes
 * (Data payloads) and is valid only within `epoch`; "tail" requests the current screen.
 */

import * as frames from "./frames.js";
import { LivenessWatch, TICK_MS } from "./liveness.js";

export const NEW_RESUME_POINT = Object.freeze({ sessionId: null, token: null, epoch: 0, offset: 0 });

// Without input; with input, LivenessWatch pings.
const PING_EVERY_MS = 15_000;
const ANSWER_WITHIN_MS = 25_000;
// Longer than nginx takes to leave a frozen instance and an instance to find the owner of a session. A browser would wait
// for minutes.
const ACCEPT_WITHIN_MS = 20_000;
const FIRST_DELAY_MS = 500;
const MAX_DELAY_MS = 15_000;

const ENDED = 4001;
const REFUSED = 4002;
const TAKEN_OVER = 4003;
const MOVED = 4410;

export class Connection {
  /**
   * `query()` returns the parameters for device, credential and size. The callbacks: `onState(state)`,
   * `onResumePoint(resumePoint)`, `onData(bytes)`, `onNotice(bytes)`, `onError(text)`, `onNewEpoch()`, `onSilence(since)`
   * while a connected server does not answer and `onAnswer()` when it does again, `onLostKeys(count)` when keys before
   * the loss of a connection may be lost. After a refusal `isLoggedIn()` is called, and `logIn()` if it returns false;
   * after repeated ones `findObstacle()`, which resolves to a sentence for the user, or null.
   */
  constructor(hooks, resumePoint = NEW_RESUME_POINT) {
    this.hooks = hooks;
    this.resumePoint = { ...resumePoint };
    this.state = { name: "idle" };
    this.attempts = 0;
    // Upgrades in a row that were refused, and what stands in their way, as far as it is known.
    this.refusals = 0;
    this.obstacle = null;
    this.socket = null;
    this.lostKeys = 0;
    // Keeps the place in the admission queue, at any instance.
    this.ticket = null;
    this.liveness = new LivenessWatch({
      ask: () => this.socket.send(frames.ping()),
      onSilence: hooks.onSilence,
      onAnswer: hooks.onAnswer,
      onGiveUp: () => this.open(),
      onWake: () => this.#wake(),
    });
    setInterval(() => this.#tick(), TICK_MS);
  }

  /** Connects now, and abandons the current connection or attempt. */
  open() {
    this.#abandon();
    this.#show({ name: "connecting" });
    this.error = "";
    this.openedAt = this.pingedAt = Date.now();
    this.answerBy = Infinity;
    const socket = new WebSocket(this.#url());
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.accepted = true;
      this.refusals = 0;
      this.obstacle = null;
    };
    socket.onmessage = (message) => this.#received(frames.parse(message.data));
    socket.onclose = (event) => this.#closed(event);
    this.accepted = false;
    this.socket = socket;
  }

  /** Opens a new session. */
  openNew() {
    this.lostKeys = 0;
    this.ticket = null;
    this.#move(NEW_RESUME_POINT);
    this.open();
  }

  /** Stops connecting. */
  cancel() {
    this.#abandon();
    this.#show({ name: "refused", why: "Cancelled" });
  }

  /** Sends input of `keys` keys; false without a connection. */
  send(bytes, keys) {
    if (this.state.name !== "connected" && this.state.name !== "answering") return false;
    for (const frame of frames.data(bytes)) this.socket.send(frame);
    // The answer to a device's question may not be echoed, so silence means nothing then.
    if (this.state.name === "connected") this.liveness.typed(keys, bytes.length);
    return true;
  }

  resize(size) {
    if (this.state.name === "connected") this.socket.send(frames.resize(size));
  }

  /** Disconnects, and resumes later: a browser cannot slow a WebSocket down. */
  pause(why) {
    this.#abandon();
    this.#wait(why);
  }

  #url() {
    const { token, epoch, offset } = this.resumePoint;
    const url = new URL("/ws/ssh", location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    url.search = new URLSearchParams({
      ...this.hooks.query(),
      ...(token ? { reconnect_token: token } : {}),
      ...(this.ticket ? { ticket: this.ticket } : {}),
      epoch,
      offset,
    });
    return url;
  }

  #received({ type, payload }) {
    this.liveness.heard();
    this.answerBy = Infinity;
    switch (type) {
      case frames.DATA:
        this.#tellLostKeys();
        this.resumePoint.offset += payload.length;
        return this.hooks.onData(payload);
      case frames.NOTICE:
        // Before SessionInfo, notices come from the log-in to the device, which may ask questions.
        if (this.state.name === "connecting" || this.state.name === "queued") this.#show({ name: "answering" });
        this.hooks.onNotice(payload);
        if (this.state.name === "connected") this.#tellLostKeys();
        return;
      case frames.ERROR:
        this.error = frames.text(payload);
        return this.hooks.onError(this.error);
      case frames.RECONNECT:
        return this.#move({ ...this.resumePoint, token: frames.uuidText(payload) });
      case frames.WAITING:
        return this.#queued(JSON.parse(frames.text(payload)));
      case frames.SESSION_INFO:
        return this.#arrived(JSON.parse(frames.text(payload)));
    }
  }

  #queued({ place, wait_secs: waitSecs, ticket, why }) {
    this.ticket = ticket;
    this.attempts = 0;
    const until = Date.now() + waitSecs * 1000;
    this.#show({ name: "queued", isResuming: Boolean(this.resumePoint.token), isOwnerSilent: why === "owner", place, until });
  }

  #arrived({ session_id: sessionId, epoch, offset }) {
    const isNewEpoch = this.resumePoint.epoch !== 0 && this.resumePoint.epoch !== epoch;
    if (isNewEpoch) this.hooks.onNewEpoch();
    this.#move({ ...this.resumePoint, sessionId, epoch, offset });
    this.attempts = 0;
    this.ticket = null;
    this.#show({ name: "connected", sessionId, since: Date.now() });
    // A new epoch begins with a notice that draws the screen; lost keys are reported after it.
    if (!isNewEpoch) this.#tellLostKeys();
  }

  #tellLostKeys() {
    if (this.lostKeys) this.hooks.onLostKeys(this.lostKeys);
    this.lostKeys = 0;
  }

  #closed({ code, reason }) {
    this.socket = null;
    const unanswered = this.liveness.stop();
    // The key that ends a session is answered by the end only.
    if (code === ENDED) this.#tellLostKeys();
    else this.lostKeys += unanswered;
    switch (code) {
      case ENDED:
        this.#move({ ...this.resumePoint, token: null });
        return this.#show({ name: "ended", why: reason });
      case REFUSED:
        this.#show({ name: "refused", why: this.error || reason });
        return this.#checkLogin();
      case TAKEN_OVER:
        return this.#show({ name: "taken" });
      case MOVED:
        if (this.attempts++ === 0) return this.open();
    }
    this.#wait(this.accepted ? "Connection lost" : this.obstacle ?? "No connection");
    if (!this.accepted) this.#explain();
  }

  /** Browsers do not report why an upgrade was refused: the log-in may have expired, or a load balancer be in the way. */
  async #explain() {
    const refusal = this.state;
    if (!(await this.#checkLogin()) || ++this.refusals < 2 || this.state !== refusal) return;
    this.obstacle = await this.hooks.findObstacle();
    if (this.obstacle && this.state === refusal) this.#show({ ...refusal, why: this.obstacle });
  }

  /** False when the log-in has expired; then asks the user to renew it. */
  async #checkLogin() {
    const refusal = this.state;
    if (await this.hooks.isLoggedIn()) return true;
    if (this.state !== refusal) return false;
    this.#show({ name: "logged-out" });
    this.#renewLogin();
    return false;
  }

  async #renewLogin() {
    try {
      await this.hooks.logIn();
      this.open();
    } catch (error) {
      this.#show({ name: "refused", why: error.message });
    }
  }

  #wait(why) {
    const delay = Math.min(FIRST_DELAY_MS * 2 ** this.attempts++, MAX_DELAY_MS);
    this.#show({ name: "waiting", why, until: Date.now() + delay * (1 + Math.random() / 5) });
  }

  #tick() {
    this.liveness.tick();
    const now = Date.now();
    if (this.state.name === "waiting" && now >= this.state.until) this.open();
    switch (this.socket?.readyState) {
      case WebSocket.CONNECTING:
        if (now - this.openedAt >= ACCEPT_WITHIN_MS) this.pause("No answer");
        break;
      case WebSocket.OPEN:
        if (now >= this.answerBy) this.pause("Connection lost");
        else if (now - this.pingedAt >= PING_EVERY_MS) this.#ping();
    }
  }

  /** The network is back, or the computer has woken up: checks the connection without waiting for a timer. */
  #wake() {
    if (this.state.name === "waiting") this.open();
    if (this.state.name !== "connected") return;
    this.liveness.check();
    // A deadline from before the sleep says nothing about the server.
    this.answerBy = Infinity;
  }

  // The deadline runs from the ping, not from the last frame: a background page ticks once a minute.
  #ping() {
    this.pingedAt = Date.now();
    this.answerBy = Math.min(this.answerBy, this.pingedAt + ANSWER_WITHIN_MS);
    this.socket.send(frames.ping());
  }

  // Without waiting for the closing handshake, which a silent server does not answer.
  #abandon() {
    if (!this.socket) return;
    this.socket.onmessage = this.socket.onclose = null;
    this.socket.close();
    this.socket = null;
    this.lostKeys += this.liveness.stop();
  }

  #move(resumePoint) {
    this.resumePoint = { ...resumePoint };
    this.hooks.onResumePoint(resumePoint);
  }

  #show(state) {
    this.state = state;
    this.hooks.onState(state);
  }
}
