/**
 * Watches whether the server answers while somebody types: asks when it is silent, reports the silence, then gives up.
 *
 * Every frame is an answer. A page on which nobody types asks only when it wakes up, and costs nothing otherwise.
 */

// How often the owner of a watch calls its `tick`.
export const TICK_MS = 500;
const ASK_AFTER_MS = 1_000;
const SAY_AFTER_MS = 3_000;
const GIVE_UP_AFTER_MS = 5_500;
// The watch goes on for so long after the last key: its user waits for what the key does.
const ATTENTIVE_MS = 5_000;
const LONGEST_ROUND_TRIP_MS = 500;
const ASLEEP_MS = 10_000;
// A paste may take as long as this on its way, and every question takes its turn behind it.
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

  /** So many keys were sent, in so many bytes. */
  typed(count, bytes) {
    if (!count) return;
    const now = Date.now();
    const transferMs = bytes / SLOWEST_LINE_BYTES_PER_MS;
    this.arrivedAt = Math.max(now, this.arrivedAt) + transferMs;
    this.keys.push({ count, at: this.arrivedAt });
    this.attentiveUntil = this.arrivedAt + ATTENTIVE_MS;
    this.since = (this.since ?? now) + transferMs;
  }

  /** Asks once, whether somebody types or not. */
  check() {
    this.since ??= Date.now();
    if (!this.hasAsked) this.#ask();
  }

  /** A frame has come. */
  heard() {
    const now = Date.now();
    if (this.hasAsked) this.roundTripMs = Math.min(now - this.askedAt, LONGEST_ROUND_TRIP_MS);
    // A frame that comes sooner after a key was sent before the key arrived.
    this.keys = this.keys.filter((key) => now - key.at < this.roundTripMs);
    this.since = now < this.attentiveUntil ? Math.max(now, this.arrivedAt) : null;
    this.hasAsked = false;
    if (this.isSilent) this.hooks.onAnswer();
    this.isSilent = false;
  }

  /** The connection is over: returns how many keys had no answer yet. */
  stop() {
    const unanswered = (this.keys ?? []).reduce((sum, key) => sum + key.count, 0);
    this.keys = [];
    // When the silence began; null while nobody waits for an answer.
    this.since = null;
    // When the server has everything, even over the slowest line.
    this.arrivedAt = 0;
    this.attentiveUntil = 0;
    this.hasAsked = this.isSilent = false;
    return unanswered;
  }

  tick() {
    const now = Date.now();
    const late = now - this.tickedAt - TICK_MS;
    this.tickedAt = now;
    // A page that stood still did not listen either: it reads what came meanwhile after this.
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
