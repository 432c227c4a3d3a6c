/**
 * Watches whether the server answers while the user types: pings a silent server, reports the silence, then gives up.
 *
 * Every frame counts as an answer. Without input the page pings only when it wakes up.
 */

// How often the owner of a watch calls its `tick`.
export const TICK_MS = 500;
const ASK_AFTER_MS = 1_000;
const SAY_AFTER_MS = 3_000;
const GIVE_UP_AFTER_MS = 5_500;
// How long the watch continues after the last key, because the user waits for its effect.
const ATTENTIVE_MS = 5_000;
const MAX_ROUND_TRIP_MS = 500;
const ASLEEP_MS = 10_000;
// The slowest line that a paste is expected on; a Ping waits behind the paste.
const SLOWEST_LINE_BYTES_PER_MS = 8;

export class LivenessWatch {
  /**
   * The hooks: `ask()` sends a Ping, `onSilence(since)` and `onAnswer()` tell the user, `onGiveUp()` makes another
   * connection, `onWake()` is called when the page or the network is back.
   */
  constructor(hooks) {
    this.hooks = hooks;
    this.roundTripMs = 0;
    this.tickedAt = Date.now();
    this.stop();
    addEventListener("online", () => hooks.onWake());
    document.addEventListener("visibilitychange", () => document.hidden || hooks.onWake());
  }

  /** `count` keys were sent, in `bytes` bytes. */
  typed(count, bytes) {
    if (!count) return;
    const now = Date.now();
    const transferMs = bytes / SLOWEST_LINE_BYTES_PER_MS;
    this.arrivedAt = Math.max(now, this.arrivedAt) + transferMs;
    this.keys.push({ count, at: this.arrivedAt });
    this.attentiveUntil = this.arrivedAt + ATTENTIVE_MS;
    this.since = (this.since ?? now) + transferMs;
  }

  /** Pings once, with or without input. */
  check() {
    this.since ??= Date.now();
    if (!this.hasAsked) this.#ask();
  }

  /** A frame has arrived. */
  heard() {
    const now = Date.now();
    if (this.hasAsked) this.roundTripMs = Math.min(now - this.askedAt, MAX_ROUND_TRIP_MS);
    // A frame that arrives sooner than a round trip after a key was sent before the key arrived.
    this.keys = this.keys.filter((key) => now - key.at < this.roundTripMs);
    this.since = now < this.attentiveUntil ? Math.max(now, this.arrivedAt) : null;
    this.hasAsked = false;
    if (this.isSilent) this.hooks.onAnswer();
    this.isSilent = false;
  }

  /** The connection has ended: returns the number of keys without an answer. */
  stop() {
    const unanswered = (this.keys ?? []).reduce((sum, key) => sum + key.count, 0);
    this.keys = [];
    // When the silence began; null while no answer is expected.
    this.since = null;
    // When the server has all input, even over the slowest line.
    this.arrivedAt = 0;
    this.attentiveUntil = 0;
    this.hasAsked = this.isSilent = false;
    return unanswered;
  }

  tick() {
    const now = Date.now();
    const late = now - this.tickedAt - TICK_MS;
    this.tickedAt = now;
    // A page that was suspended has not read either: frames that have arrived are read after this.
    if (late > TICK_MS && this.since !== null) this.since += late;
    if (late > ASLEEP_MS && !document.hidden) this.hooks.onWake();
    if (this.since !== null) this.#judge(now);
  }

  #judge(now) {
    const silentMs = now - this.since;
    if (silentMs >= GIVE_UP_AFTER_MS) return this.hooks.onGiveUp();
    if (silentMs >= ASK_AFTER_MS && !this.hasAsked) this.#ask();
    if (silentMs < SAY_AFTER_MS || this.isSilent) return;
    this.isSilent = true;
    this.hooks.onSilence(this.since);
  }

  #ask() {
    this.hasAsked = true;
    this.askedAt = Date.now();
    this.hooks.ask();
  }
}
