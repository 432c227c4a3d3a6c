/** The texts of the assistant. All of its state texts are here. */

export const CUT = "The answer is incomplete: the connection broke off.";
export const STOPPED = "Stopped. The text so far may be incomplete.";
export const TOO_LONG = "The answer was cut at the maximum length. Ask it to continue.";
export const UNCONFIGURED = "AI is not configured on this controller, or it is switched off for you.";
export const PUT = "The command is at the prompt. It runs when you press Enter.";
export const PUT_HINT = "Types the command at the prompt. Nothing runs until you press Enter.";
export const TAKES_KEYS =
  "Not typed: a pager or a full-screen program is running and would act on each letter. Leave it first.";

/** `about` is `{isSelection, lines, isCut}`. */
export function describeAbout({ isSelection, lines, isCut }) {
  const count = lines === 1 ? "1 line" : `${lines} lines`;
  if (isSelection) return isCut ? `the last ${count} of the selection` : `the selection, ${count}`;
  return lines === 1 ? "the last line" : `the last ${count}`;
}

/** The answering providers: the first of `origins`, and those that continued after a failure. */
export function describeOrigin([first, ...others]) {
  const named = ({ provider, model }) => `${provider} (${model})`;
  const answered = [`Answered by ${named(first)}`, ...others.map((each) => `continued by ${named(each)}`)].join(", ");
  const skipped = first.skipped.map(({ provider, reason }) => `${provider} ${reason}`).join("; ");
  return skipped ? `${answered}; skipped: ${skipped}` : answered;
}

/** When the question may be repeated; `at` is a time of `Date.now()`. */
export const describeMoment = (at) => `You can ask again at ${new Date(at).toLocaleTimeString(undefined, { timeStyle: "medium" })}.`;

/** The label of the button that repeats the question, which is disabled until `at`. */
export function describeWait(at, now) {
  const secs = Math.ceil((at - now) / 1000);
  if (secs <= 0) return "Ask again";
  if (secs < 120) return `Ask again in ${secs} s`;
  return secs < 7200 ? `Ask again in ${Math.ceil(secs / 60)} min` : `Ask again in ${Math.ceil(secs / 3600)} h`;
}
