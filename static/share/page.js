/** The share page: shows the terminal to anyone with the link, and lets them type if the share allows it. No log-in. */

import { findObstacle } from "../obstacle.js";
import { StatusBar } from "../terminal/status.js";
import { NOT_KEPT, NOT_SENT, describeLostKeys } from "../terminal/words.js";
import { Mirror } from "./mirror.js";
import { Viewing } from "./viewing.js";
import { describe } from "./words.js";

const BACKLOG_LIMIT_BYTES = 16 * 1024 * 1024;

const curtain = document.getElementById("curtain");
// In the fragment, so that it is in no server's log.
const token = location.hash.slice(1);
let isToldNotSent = false;

const status = new StatusBar("Shared terminal", describe, { retry: () => viewing.open() });

const screen = new Mirror(document.getElementById("screen"), {
  onInput: (bytes, keys) => viewing.send(bytes, keys) || notSent(keys),
  onLeave: () => status.focus(),
});

const viewing = new Viewing(token, {
  onState: changed,
  onJoined: joined,
  onOutput: draw,
  onWindow: (size) => screen.become(size),
  onSilence: (since) => status.show({ ...viewing.state, name: "silent", since }),
  onAnswer: () => status.show(viewing.state),
  onLostKeys: (count) => tell(describeLostKeys(count)),
  findObstacle,
});

function joined(info) {
  document.getElementById("device").textContent = info.device;
  status.title = info.device;
  screen.reset();
  screen.become(info);
  isToldNotSent = false;
}

function notSent(keys) {
  if (!keys) return;
  if (viewing.info?.permission !== "read-write") return status.hint("This link allows watching only");
  status.hint(NOT_SENT);
  if (!isToldNotSent) tell(NOT_KEPT);
  isToldNotSent = true;
}

function tell(text) {
  screen.tell(text, (text) => status.tell(text));
}

/** While there is no screen to show, the curtain in its place shows the state. */
function changed(state) {
  const { text, detail, tone } = describe(state, Date.now());
  curtain.hidden = viewing?.info != null || tone !== "over";
  curtain.querySelector("h2").textContent = text;
  curtain.querySelector("p").textContent = detail;
  status.show(state);
  if (state.name === "watching") screen.focus();
}

function draw(bytes) {
  screen.write(bytes);
  if (screen.unwrittenBytes > BACKLOG_LIMIT_BYTES) viewing.pause("Output arrives faster than this browser draws it");
}

addEventListener("hashchange", () => location.reload());
viewing.open();
