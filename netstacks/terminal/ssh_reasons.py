"""Reasons for the end of a connection to a device: the device's texts, extracted from libssh's errors."""

import re

_DISCONNECTED = re.compile(r"Received SSH_MSG_DISCONNECT:? (?P<code>\d+): ?(?P<text>.*)", re.DOTALL)
_NOT_OPENED = re.compile(r"Channel opening failure: channel \d+ error \((?P<code>\d+)\) ?(?P<text>.*)", re.DOTALL)
# RFC 4253, section 11.1, for devices that send a code without a text.
_DISCONNECT_CODES = {
    2: "protocol error",
    3: "key exchange failed",
    7: "service not available",
    8: "protocol version not supported",
    10: "connection lost",
    11: "disconnected by the device",
    12: "too many connections",
    13: "authentication cancelled",
    14: "no more authentication methods available",
    15: "illegal user name",
}
_REFUSING_CODES = (14, 15)
_REFUSING_WORDS = re.compile(r"auth|password|log.?in|credential|denied|locked|fail|attempts", re.IGNORECASE)


def text_of(words: bytes | str | None) -> str:
    """A text of libssh, whatever its type."""
    return words.decode(errors="replace") if isinstance(words, bytes) else words or ""


def words_of(error: Exception, session_error: bytes | str | None) -> str:
    """libssh's text for an error: the exception's, or the session's when the exception has none."""
    for words in (*error.args, session_error):
        text = text_of(words) if isinstance(words, bytes | str | None) else str(words)
        if text and not text.lstrip("-").isdigit():
            return text
    return "no reason was given"


def explain(message: str) -> str:
    """The device's text where it has sent one, else libssh's."""
    for form in (_DISCONNECTED, _NOT_OPENED):
        if found := form.search(message):
            text = found["text"].strip() or _DISCONNECT_CODES.get(int(found["code"]), f"reason {found['code']}")
            return f'the device says "{text}"'
    if "Socket error: disconnected" in message or "Remote host closed connection" in message:
        return "the device closed the connection without a reason"
    return message


def is_refusal(message: str) -> bool:
    """Whether a disconnect is the answer to a log-in, and not from a device that is full or restarts."""
    found = _DISCONNECTED.search(message)
    return found is not None and (int(found["code"]) in _REFUSING_CODES or bool(_REFUSING_WORDS.search(found["text"])))
