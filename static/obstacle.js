/** Finds out what keeps WebSockets from this page: browsers hide why an upgrade was refused (docs/protocol.md, 6.6). */

const NO_UPGRADE = "The load balancer does not forward WebSocket upgrades";
const WITHIN_MS = 5_000;
const REFUSED = 4002;

/** Resolves to a sentence for the user; to null when WebSockets work, or when the controller cannot be reached at all. */
export async function findObstacle() {
  if (!(await isReached())) return null;
  const obstacle = await tryUpgrade();
  // An instance may have stopped in between.
  return obstacle && (await isReached()) ? obstacle : null;
}

async function isReached() {
  return fetch("/api/v1/health/live", { cache: "no-store" }).then(({ ok }) => ok, () => false);
}

function tryUpgrade() {
  const url = new URL("/ws/check", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(url);
  let isAccepted = false;
  return new Promise((resolve) => {
    // Silence is not a refusal.
    setTimeout(() => resolve(null), WITHIN_MS);
    socket.onopen = () => (isAccepted = true);
    socket.onclose = ({ code, reason }) => {
      if (!isAccepted) resolve(NO_UPGRADE);
      else resolve(code === REFUSED ? reason : null);
    };
  }).finally(() => socket.close());
}
