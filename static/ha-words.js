/** Forecasts of HA status in words; `action` is "drain", "move" or "end". */

/** What would happen, as sentences. */
export function inWords(action, forecast) {
  if (action === "drain") return drain(forecast);
  if (action === "move" && forecast.targets.length) return [`It goes to ${either(forecast.targets.map(name))}.`];
  return [];
}

/** What would be interrupted, one text per session. */
export function atRisk(forecast) {
  return forecast.at_risk.map(({ username, device_name: device, text }) => `${username} on ${device}: ${text}`);
}

/** Whether the instance is the last that can hold its sessions. */
export function needsForce(action, forecast) {
  return action === "drain" && forecast.targets.length === 0;
}

function drain({ sessions, attached, detached, targets, needs_secs: needs, has_secs: has, is_too_short: isTooShort }) {
  if (!sessions) return ["The instance has no sessions and stops at once."];
  const uses = [attached && `${attached} in use now`, detached && `${detached} waiting for ${detached === 1 ? "its user" : "their users"}`];
  const sentences = [`${count(sessions, "session")}: ${uses.filter(Boolean).join(", ")}.`];
  if (attached === 1 && targets.length) sentences.push(`The one in use moves to ${list(targets.filter(hasShare).map(name))}.`);
  else if (attached && targets.length) sentences.push(`Those in use move: ${list(targets.filter(hasShare).map(share))}.`);
  if (detached) sentences.push(detached === 1 ? "The waiting one moves when its user comes back." : "The waiting ones move when their users come back.");
  if (attached && targets.length && !isTooShort) sentences.push(`That takes about ${seconds(needs)}; the instance has ${seconds(has)}.`);
  return sentences;
}

function hasShare({ sessions }) {
  return sessions > 0;
}

function share(target) {
  return `${target.sessions} to ${name(target)}`;
}

function name({ instance_id: id, host }) {
  return `${id} on ${host}`;
}

function count(number, word) {
  return `${number} ${word}${number === 1 ? "" : "s"}`;
}

function seconds(number) {
  const rounded = Math.max(1, Math.round(number));
  return rounded < 120 ? `${rounded} s` : `${Math.round(rounded / 60)} min`;
}

function list(words, last = "and") {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} ${last} ${words.at(-1)}`;
}

function either(words) {
  return list(words, "or");
}
