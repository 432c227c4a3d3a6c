/** Passkeys: calls of the browser's WebAuthn functions with options and answers as JSON. */

const CANCELLED = "No passkey was used: it was cancelled, it took too long, or this device has none for this site.";
const WORDS = {
  InvalidStateError: "This device has a passkey for your account already.",
  NotAllowedError: CANCELLED,
  NotSupportedError: "This device cannot make a passkey for this site.",
  SecurityError: "Passkeys work only where the address of this site is a host name, over https.",
};

/** Whether this browser can use passkeys on this page: only over https, and on localhost. */
export const arePossible = window.isSecureContext && "PublicKeyCredential" in window;

/** Whether the browser can offer passkeys in the list of a field for the user name. */
export async function areOfferedInFields() {
  return arePossible && ((await PublicKeyCredential.isConditionalMediationAvailable?.()) ?? false);
}

/** Makes a passkey; throws an Error with a sentence for the user. */
export async function createPasskey(options) {
  const { challenge, user, excludeCredentials } = options;
  const publicKey = {
    ...options,
    challenge: decoded(challenge),
    user: { ...user, id: decoded(user.id) },
    excludeCredentials: excludeCredentials.map(withBytes),
  };
  const { response, ...credential } = await asked(() => navigator.credentials.create({ publicKey }));
  return answer(credential, {
    clientDataJSON: encoded(response.clientDataJSON),
    attestationObject: encoded(response.attestationObject),
    transports: response.getTransports?.() ?? [],
  });
}

/**
 * Has a passkey sign; throws an Error with a sentence for the user. With `inField` the browser offers passkeys in the
 * field for the user name and this waits, until `signal` ends it.
 */
export async function usePasskey(options, { inField = false, signal } = {}) {
  const { challenge, allowCredentials } = options;
  const publicKey = { ...options, challenge: decoded(challenge), allowCredentials: allowCredentials.map(withBytes) };
  const request = { publicKey, signal, ...(inField && { mediation: "conditional" }) };
  const { response, ...credential } = await asked(() => navigator.credentials.get(request));
  return answer(credential, {
    clientDataJSON: encoded(response.clientDataJSON),
    authenticatorData: encoded(response.authenticatorData),
    signature: encoded(response.signature),
    userHandle: response.userHandle && encoded(response.userHandle),
  });
}

async function asked(call) {
  try {
    const credential = await call();
    // The members of a credential are getters of its prototype.
    return { rawId: credential.rawId, type: credential.type, response: credential.response };
  } catch (error) {
    throw error.name === "AbortError" ? error : new Error(WORDS[error.name] ?? `The passkey failed: ${error.message}`);
  }
}

function answer({ rawId, type }, response) {
  return { id: encoded(rawId), rawId: encoded(rawId), type, response, clientExtensionResults: {} };
}

function withBytes(credential) {
  return { ...credential, id: decoded(credential.id) };
}

function decoded(text) {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (letter) => letter.charCodeAt(0));
}

function encoded(buffer) {
  const plain = String.fromCharCode(...new Uint8Array(buffer));
  return btoa(plain).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
