/** The texts and buttons of the terminal page in each state of the connection. All of its state texts are here. */

export const NOT_SENT = "Not sent: the terminal is not connected";
export const NOT_KEPT = "the terminal is not connected: input is neither sent nor kept for later";

/** Returns `{text, detail, tone, offers}`; `offers` are the names of the buttons shown. */
export function describe(state, now) {
  switch (state.name) {
    case "choosing":
      return { text: "Choose a credential", detail: "", tone: "busy", offers: ["choose"] };
    case "connecting":
      return { text: "Connecting", detail: "", tone: "busy", offers: ["cancel"] };
    case "queued":
      return {
        text: state.isResuming ? "Restoring your session" : "Waiting for a terminal",
        detail: state.isOwnerSilent
          ? `Its instance does not answer: another one takes over in ${about(state.until, now)}`
          : `${about(state.until, now)}, place ${state.place} in the queue`,
        tone: "busy",
        offers: ["cancel"],
      };
    case "answering":
      return { text: "Logging in", detail: "The terminal shows progress and questions of the device", tone: "busy", offers: ["cancel"] };
    case "deciding":
      return { text: "Waiting for your host key decision", detail: "", tone: "busy", offers: ["cancel"] };
    case "connected":
      return {
        text: "Connected",
        detail: `session ${state.sessionId.slice(0, 8)}, since ${clock(state.since)}`,
        tone: "good",
        offers: ["share", "end"],
      };
    case "silent":
      return {
        text: "No answer",
        detail: `for ${secondsFrom(state.since, now)} s: keys may not arrive`,
        tone: "lost",
        offers: ["reconnect"],
      };
    case "waiting":
      return { text: state.why, detail: `Reconnecting in ${secondsTo(state.until, now)} s`, tone: "lost", offers: ["reconnect"] };
    case "logged-out":
      return { text: "Your log-in has expired", detail: "Log in to resume the session", tone: "lost", offers: [] };
    case "ended":
      return { text: "Session ended", detail: state.why, tone: "over", offers: ["new", "replay"] };
    case "refused":
      return { text: "Not connected", detail: state.why, tone: "over", offers: ["retry", "choose"] };
    case "elsewhere":
      return { text: "Cannot be resumed here", detail: "Use the window that opened the session", tone: "over", offers: ["new"] };
    case "taken":
      return { text: "Taken over", detail: "The session is open in another window", tone: "over", offers: ["take"] };
  }
}

/** The notice about lost keys after a reconnection. */
export function describeLostKeys(count) {
  const [keys, them] = count === 1 ? ["1 key", "it"] : [`${count} keys`, "them"];
  return `${keys} typed while the controller did not answer may not have reached the device: look before you type ${them} again`;
}

function about(until, now) {
  const secs = Math.ceil((until - now) / 5000) * 5;
  if (secs <= 5) return "a few seconds";
  return secs <= 90 ? `about ${secs} s` : `about ${Math.ceil(secs / 60)} minutes`;
}

const secondsTo = (until, now) => Math.max(1, Math.ceil((until - now) / 1000));
const secondsFrom = (since, now) => Math.floor((now - since) / 1000);
const clock = (at) => new Date(at).toLocaleTimeString(undefined, { timeStyle: "short" });
