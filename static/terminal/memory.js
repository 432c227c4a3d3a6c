/** The terminal of a tab across a reload: resume point and credential, in sessionStorage. */

const KEY = "netstacks.terminal";

export function remember(resumePoint, credentialId) {
  sessionStorage.setItem(KEY, JSON.stringify({ resumePoint, credentialId }));
}

/** The stored state of this session in this tab, or null. */
export function recall(sessionId) {
  const stored = JSON.parse(sessionStorage.getItem(KEY));
  return stored?.resumePoint?.sessionId === sessionId ? stored : null;
}

export function forget() {
  sessionStorage.removeItem(KEY);
}
