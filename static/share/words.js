/** The texts and buttons of the share page in each state. All of its state texts are here. */

/** Returns `{text, detail, tone, offers}`; `offers` are the names of the buttons shown. */
export function describe(state, now) {
  switch (state.name) {
    case "watching":
      return { text: state.mayType ? "Collaborating" : "Viewing", detail: about(state.info), tone: "good", offers: [] };
    case "unowned":
      return { text: "Waiting", detail: "The session has no instance. It continues when its user reconnects", tone: "lost", offers: [] };
    case "silent":
      return {
        text: "No answer",
        detail: `for ${secondsFrom(state.since, now)} s${state.mayType ? ": keys may not arrive" : ""}`,
        tone: "lost",
        offers: ["retry"],
      };
    case "waiting":
      return { text: sentence(state.why), detail: `Trying again in ${secondsTo(state.until, now)} s`, tone: "lost", offers: ["retry"] };
    case "refused":
      return { text: "Unable to join", detail: sentence(state.why), tone: "over", offers: ["retry"] };
    case "stopped":
      return { text: "No longer shared with you", detail: sentence(state.why), tone: "over", offers: [] };
    case "ended":
      return { text: "Session ended", detail: sentence(state.why), tone: "over", offers: [] };
    default:
      return { text: "Joining", detail: "", tone: "busy", offers: [] };
  }
}

const about = ({ username, expires_at: expiresAt }) => `a session of ${username}, shared until ${clock(expiresAt * 1000)}`;
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const secondsTo = (until, now) => Math.max(1, Math.ceil((until - now) / 1000));
const secondsFrom = (since, now) => Math.floor((now - since) / 1000);
const clock = (at) => new Date(at).toLocaleTimeString(undefined, { timeStyle: "short" });
