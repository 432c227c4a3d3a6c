/** The terminal page: connects screen, connection and status. */

import { api, isLoggedIn } from "../api.js";
import { ask } from "../dialogs.js";
import { renewLogin } from "../login.js";
import { findObstacle } from "../obstacle.js";
import { Sharing } from "../share/sharing.js";
import { Assistant } from "./assistant.js";
import { PUT, TAKES_KEYS } from "./assistant-words.js";
import { Connection, NEW_RESUME_POINT } from "./connection.js";
import { chooseCredential, findCredential } from "./credentials.js";
import { watchHostKeys } from "./hostkeys.js";
import { forget, recall, remember } from "./memory.js";
import { Screen } from "./screen.js";
import { StatusBar } from "./status.js";
import { NOT_KEPT, NOT_SENT, describe, describeLostKeys } from "./words.js";

const BACKLOG_LIMIT_BYTES = 16 * 1024 * 1024;
const RED = 31;
const DIM = 90;

const { device, session, credential_id: usualCredentialId } = JSON.parse(
  document.getElementById("terminal-data").textContent,
);
const remembered = session && recall(session.id);
const startPoint = { ...NEW_RESUME_POINT, sessionId: session?.id, token: session?.token, ...remembered?.resumePoint };

let credentialId = remembered?.credentialId ?? usualCredentialId;
let isWatching = false;
let isToldNotSent = false;

const status = new StatusBar(device.name, describe, {
  cancel: () => connection.cancel(),
  reconnect: () => connection.open(),
  take: () => connection.open(),
  retry: start,
  new: startNew,
  choose: changeCredential,
  share: () => {
    // The browser restores this focus when the dialog closes.
    screen.focus();
    sharing.open();
  },
  end: endSession,
  replay: () => window.open(`/sessions/${connection.resumePoint.sessionId}/replay`),
});

const sharing = new Sharing((count) => {
  const watching = count ? ` (${count} watching)` : "";
  document.querySelector("[data-offer=share]").textContent = `Share${watching}`;
});

const screen = new Screen(document.getElementById("screen"), {
  onInput: (bytes, keys) => connection.send(bytes, keys) || notSent(keys),
  onResize: (size) => connection.resize(size),
  onLeave: () => status.focus(),
});

const connection = new Connection(
  {
    query: () => ({
      credential_id: credentialId,
      term: "xterm-256color",
      ...screen.size,
      host: device.host,
      port: device.port,
      session_id: `device-${device.id}`,
    }),
    onState: changed,
    onResumePoint: moved,
    onData: draw,
    onNotice: (bytes) => screen.write(bytes),
    onError: (text) => screen.say(text, RED),
    onNewEpoch: () => screen.reset(),
    onSilence: (since) => status.show({ name: "silent", since }),
    onAnswer: () => status.show(connection.state),
    onLostKeys: (count) => tell(describeLostKeys(count)),
    isLoggedIn: () => isLoggedIn().catch(() => true),
    logIn: renewLogin,
    findObstacle,
  },
  session ? { ...startPoint, offset: "tail" } : startPoint,
);

new Assistant(screen, { sessionId: () => connection.resumePoint.sessionId, put: putAtPrompt });

async function start() {
  try {
    if (!credentialId) status.show({ name: "choosing" });
    credentialId ??= await findCredential(device);
  } catch (error) {
    return status.show({ name: "refused", why: error.message });
  }
  if (credentialId) connection.open();
}

async function changeCredential() {
  credentialId = (await chooseCredential(device, credentialId)) ?? credentialId;
  await start();
}

function startNew() {
  screen.say("New session", DIM);
  connection.openNew();
}

async function endSession() {
  if ((await ask(document.getElementById("end-dialog"))) !== "end") return screen.focus();
  try {
    await api(`/api/sessions/${connection.resumePoint.sessionId}`, { method: "DELETE" });
  } catch (error) {
    status.hint(error.message);
  }
}

function changed(state) {
  status.show(state);
  // A queued terminal has no device connection, and so no host key to decide on.
  if (["connecting", "answering"].includes(state.name)) watch();
  if (state.name === "answering") screen.focus();
  if (state.name !== "connected") return;
  isToldNotSent = false;
  sharing.follow(state.sessionId);
  screen.focus();
}

function putAtPrompt(command) {
  if (connection.state.name !== "connected") return NOT_SENT;
  if (screen.takesSingleKeys) return TAKES_KEYS;
  screen.type(command);
  screen.focus();
  status.hint(PUT);
  return "";
}

function notSent(keys) {
  if (!keys) return;
  status.hint(NOT_SENT);
  if (!isToldNotSent) tell(NOT_KEPT);
  isToldNotSent = true;
}

function tell(text) {
  screen.tell(text, (text) => status.tell(text));
}

function moved(resumePoint) {
  if (!resumePoint.sessionId) return;
  history.replaceState(null, "", `/terminals/${resumePoint.sessionId}`);
  if (resumePoint.token) remember(resumePoint, credentialId);
  else forget();
}

async function watch() {
  if (isWatching) return;
  isWatching = true;
  const isConnecting = () => ["connecting", "answering"].includes(connection.state.name);
  await watchHostKeys(device, isConnecting, (isAsking) => {
    status.show(isAsking ? { name: "deciding" } : connection.state);
    if (!isAsking) screen.focus();
  });
  isWatching = false;
}

// xterm.js drops data beyond 50 MB. While the page is disconnected, the server holds the device back.
function draw(bytes) {
  screen.write(bytes);
  if (screen.unwrittenBytes > BACKLOG_LIMIT_BYTES) connection.pause("Output arrives faster than this browser draws it");
}

if (session?.state === "ended") changed({ name: "ended", why: session.end_reason });
else if (session && !startPoint.token) changed({ name: "elsewhere" });
else start();
