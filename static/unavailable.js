/** A page that could not be rendered: it is loaded again as soon as that is possible. */

const RETRY_MS = 3000;

setInterval(async () => {
  if (document.hidden) return;
  const answer = await fetch(location.href, { method: "HEAD" }).catch(() => null);
  if (answer && answer.status !== 503) location.reload();
}, RETRY_MS);
