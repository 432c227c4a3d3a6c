/** Replays a recording with asciinema-player; a changed option takes effect at the current position. */

import { api } from "./api.js";

const container = document.getElementById("player");
const options = document.getElementById("replay-options");
const recording = await load();
let player = null;

if (recording) {
  show();
  options.addEventListener("change", () => show(player.getCurrentTime()));
}

async function load() {
  try {
    return await api(container.dataset.url, { as: "text" });
  } catch (error) {
    container.hidden = options.hidden = true;
    document.getElementById("player-error").textContent = error.message;
    return null;
  }
}

function show(startAt = 0) {
  player?.dispose();
  container.replaceChildren();
  player = AsciinemaPlayer.create({ data: recording }, container, {
    speed: Number(options.elements.speed.value),
    idleTimeLimit: Number(options.elements.idle.value) || undefined,
    startAt,
    autoPlay: true,
    fit: "both",
    theme: "netstacks",
    terminalFontFamily: 'ui-monospace, "Cascadia Mono", "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace',
  });
}
