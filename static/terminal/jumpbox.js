/** The jump box page: a screen, its WebSocket, and the state of both. The user reconnects by a button. */

import { isLoggedIn } from "../api.js";
import { renewLogin } from "../login.js";
import { findObstacle } from "../obstacle.js";
import * as frames from "./frames.js";
import { watchHostKeys } from "./hostkeys.js";
import { Screen } from "./screen.js";
import { StatusBar } from "./status.js";

const PING_EVERY_MS = 15_000;
const ANSWER_WITHIN_MS = 25_000;
const TICK_MS = 1_000;
const DIM = 90;
const LEFT = 1000;
const NOT_SENT = "Not sent: the jump box is not connected";

let socket = null;
let boxId = null;
let pingedAt = 0;
let answerBy = Infinity;
let isWatching = false;

const status = new StatusBar("Jump box", describe, {
  connect,
  sessions: () => location.assign("/sessions?state=live"),
});
const screen = new Screen(document.getElementById("screen"), {
  onInput: (bytes, keys) => send(bytes) || (keys && status.hint(NOT_SENT)),
  onResize: (size) => isOpen() && socket.send(frames.resize(size)),
  onLeave: () => status.focus(),
});

connect();
setInterval(tick, TICK_MS);

function connect() {
  boxId = null;
  const url = new URL("/ws/jumpbox", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.search = new URLSearchParams(screen.size);
  socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  socket.onmessage = (message) => received(frames.parse(message.data));
  socket.onclose = ({ code, reason }) => closed(code, reason);
  pingedAt = Date.now();
  answerBy = pingedAt + ANSWER_WITHIN_MS;
  show({ name: "connecting" });
  screen.focus();
}

function received({ type, payload }) {
  answerBy = Infinity;
  switch (type) {
    case frames.DATA:
      return screen.write(payload);
    case frames.SESSION_INFO:
      return moved(JSON.parse(frames.text(payload)).session_id);
    case frames.RECONNECT:
      return show({ ...status.state, name: "connected" });
  }
}

/** The first id is the jump box's own. Any other id is that of a session that is being opened. */
function moved(sessionId) {
  boxId ??= sessionId;
  if (sessionId === boxId) return show({ name: "ready" });
  show({ name: "opening", sessionId });
  watch();
}

async function watch() {
  if (isWatching) return;
  isWatching = true;
  const { sessionId } = status.state;
  const isOpening = () => status.state.sessionId === sessionId && ["opening", "deciding"].includes(status.state.name);
  await watchHostKeys(null, isOpening, (isAsking) => {
    if (isOpening()) show({ name: isAsking ? "deciding" : "opening", sessionId });
    if (!isAsking) screen.focus();
  });
  isWatching = false;
  if (status.state.name === "opening") watch();
}

function closed(code, reason) {
  socket = null;
  const hadSession = ["opening", "deciding", "connected"].includes(status.state.name);
  if (code === LEFT) show({ name: "left" });
  else show({ name: "lost", why: reason || "The connection was lost", hadSession });
  screen.say(code === LEFT ? "You have left the jump box" : reason || "The connection was lost", DIM);
  if (code !== LEFT) explain();
}

/** Browsers do not report why an upgrade was refused: the log-in may have expired, or a load balancer be in the way. */
async function explain() {
  const loss = status.state;
  if (await isLoggedIn().catch(() => true)) {
    const obstacle = await findObstacle();
    if (obstacle && status.state === loss) show({ ...loss, why: obstacle });
    return;
  }
  if (status.state !== loss) return;
  try {
    await renewLogin();
    connect();
  } catch (error) {
    show({ ...loss, why: error.message });
  }
}

function tick() {
  const now = Date.now();
  if (!socket) return;
  if (now >= answerBy) giveUp();
  else if (isOpen() && now - pingedAt >= PING_EVERY_MS) {
    pingedAt = now;
    answerBy = Math.min(answerBy, now + ANSWER_WITHIN_MS);
    socket.send(frames.ping());
  }
}

// Without waiting for the closing handshake, which a silent server does not answer.
function giveUp() {
  socket.onmessage = socket.onclose = null;
  socket.close();
  closed(1006, "The controller does not answer");
}

function send(bytes) {
  if (!isOpen()) return false;
  for (const frame of frames.data(bytes)) socket.send(frame);
  return true;
}

function isOpen() {
  return socket?.readyState === WebSocket.OPEN;
}

function show(state) {
  status.show(state);
}

function describe(state) {
  switch (state.name) {
    case "connecting":
      return { text: "Connecting", tone: "busy", offers: [] };
    case "ready":
      return { text: "Ready", tone: "good", offers: [] };
    case "opening":
      return { text: "Logging in", detail: "The terminal shows progress and questions of the device", tone: "busy", offers: [] };
    case "deciding":
      return { text: "Waiting for your host key decision", tone: "busy", offers: [] };
    case "connected":
      return { text: "Connected", detail: `session ${state.sessionId.slice(0, 8)}`, tone: "good", offers: [] };
    case "left":
      return { text: "Closed", detail: "You have left the jump box", tone: "over", offers: ["connect"] };
    case "lost":
      return {
        text: "Disconnected",
        detail: state.hadSession ? `${state.why}. The device's session is kept for some minutes` : state.why,
        tone: "lost",
        offers: state.hadSession ? ["connect", "sessions"] : ["connect"],
      };
  }
}
