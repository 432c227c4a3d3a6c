"""Classifies a provider's errors: an HTTP status with its body, or an error event inside a stream."""

import json
import math
import re
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from netstacks.llm.failures import (
    ProviderBroken,
    ProviderFailure,
    ProviderRefused,
    ProviderTimeout,
    RateLimited,
)
from netstacks.llm.provider import Provider

_SENTENCE_CHARACTERS = 300
_NESTED = 3
# Keys that the provider has masked still show their first and last characters.
_MASKED = re.compile(r"\S*\*{3,}\S*")
# A provider may also quote a part of the key without stars: the shortest part that counts as a quotation.
_SHOWN_OF_KEY = 6
# A request above a per-minute limit never succeeds, however long it waits.
_TOO_LARGE = re.compile(r"request (is )?too large|too large for|reduce the length", re.IGNORECASE)
# Stop reasons of both dialects.
_FILTERED = ("refusal", "content_filter")
_CONTEXT_FULL = "model_context_window_exceeded"
# The HTTP statuses of named error types in events. Some providers send the status itself as the code.
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "timeout_error": 408,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "invalid_prompt": 400,
    "context_length_exceeded": 400,
}


def of_status(provider: Provider, status: int, headers: Mapping[str, str], body: bytes) -> ProviderFailure:
    """The failure for a response whose status is not 200. `headers` have lower-case names."""
    if 300 <= status < 400:
        return ProviderBroken(f"answered {status}, a redirect: its base URL is not that of the API")
    return _failure(provider, status, f"answered {status}", _parsed(body), retry_after_secs(headers))


def of_event(provider: Provider, error: Any) -> ProviderFailure:
    """The failure for an error event. `error` is the JSON value that describes it."""
    return _failure(provider, _status(error), "broke off with an error", error, None)


def of_empty(stop_reason: str | None) -> ProviderFailure:
    """The failure for an answer without text and tool call. `stop_reason` is the provider's value.

    It does not count against the provider: a request may have an empty answer.
    """
    if stop_reason in _FILTERED:
        return ProviderRefused("withheld its answer: its filter does not allow it", 200)
    if stop_reason in ("max_tokens", "length"):
        return ProviderRefused("used all the tokens that the answer may have before the answer began", 200)
    return ProviderRefused("sent an empty answer", 200)


def why_incomplete(stop_reason: str | None) -> str:
    """Why an answer with this stop reason of the provider is incomplete; empty when it is complete."""
    if stop_reason in _FILTERED:
        return "the provider's filter ended it"
    return "the conversation fills the model's context window" if stop_reason == _CONTEXT_FULL else ""


def retry_after_secs(headers: Mapping[str, str]) -> float | None:
    """The provider's Retry-After in seconds (RFC 9110, section 10.2.3), None when it is missing or invalid."""
    return _seconds(headers.get("retry-after-ms"), 1000) or _seconds(headers.get("retry-after"), 1) or _until(headers)


def _failure(provider: Provider, status: int, kind: str, error: Any, retry_after_secs: float | None) -> ProviderFailure:
    message = _message(error)
    detail = _detail(provider, message)
    if status == 429 and not _TOO_LARGE.search(message):
        return RateLimited(kind, retry_after_secs, detail)
    if status in (408, 504):
        return ProviderTimeout(kind, detail)
    # 409: a conflict inside the provider; the request itself is valid.
    if 400 <= status < 500 and status != 409:
        return ProviderRefused(kind, status, detail)
    return ProviderBroken(kind, detail)


def _status(error: Any) -> int:
    """The HTTP status that the error would have had before the stream began."""
    if isinstance(error, dict):
        for name in ("code", "status", "type"):
            value = error.get(name)
            if isinstance(value, str) and value in _STATUSES:
                return _STATUSES[value]
            if isinstance(value, int | str) and str(value).isdecimal() and 400 <= int(value) < 600:
                return int(value)
    return 500


def _seconds(text: str | None, divisor: int) -> float | None:
    try:
        secs = float(text or "") / divisor
    except ValueError:
        return None
    return secs if math.isfinite(secs) and secs > 0 else None


def _until(headers: Mapping[str, str]) -> float | None:
    at = _time(headers.get("retry-after"))
    if at is None:
        return None
    # Relative to the provider's own clock, if it sends one: this host's clock may differ.
    secs = at - (_time(headers.get("date")) or time.time())
    return secs if secs > 0 else None


def _time(text: str | None) -> float | None:
    try:
        at = parsedate_to_datetime(text or "")
        # The date of C's asctime, which RFC 9110 allows, has no zone: it is in UTC.
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _detail(provider: Provider, text: str) -> str:
    """The provider's own message: one line, of limited length, without the key."""
    # Truncated first, because the next steps are slow for a long text.
    text = text[: 2 * _SENTENCE_CHARACTERS]
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    text = _MASKED.sub("***", _without_key(text, provider.key or ""))
    if not text:
        return ""
    return f": {text[: _SENTENCE_CHARACTERS - 1]}…" if len(text) > _SENTENCE_CHARACTERS else f": {text}"


def _without_key(text: str, key: str) -> str:
    """`text` with stars in place of every part of the key with at least _SHOWN_OF_KEY characters."""
    length = min(len(key), _SHOWN_OF_KEY)
    if not length:
        return text
    shown = list(text)
    runs = {key[at : at + length] for at in range(len(key) - length + 1)}
    for at in range(len(text) - length + 1):
        if text[at : at + length] in runs:
            shown[at : at + length] = "*" * length
    return "".join(shown)


def _message(error: Any) -> str:
    """The message in an error value, most often `{"error": {"message": …}}`."""
    for _ in range(_NESTED):
        if isinstance(error, dict):
            error = next((error[name] for name in ("error", "message", "detail") if error.get(name)), None)
    return error if isinstance(error, str) else ""
