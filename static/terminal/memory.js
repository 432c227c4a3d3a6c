/** What a tab remembers of its terminal across a reload: the session's place and the credential, in sessionStorage. */

const KEY = "netstacks.terminal";

export function remember(place, credentialId) {
  sessionStorage.setItem(KEY, JSON.stringify({ place, credentialId }));
}

/** What was remembered of this session in this tab, or null. */
export function recall(sessionId) {
  const stored = JSON.parse(sessionStorage.getItem(KEY));
  return stored?.place.sessionId === sessionId ? stored : null;
}

export function forget() {
  sessionStorage.removeItem(KEY);
}
