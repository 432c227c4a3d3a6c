"""What a provider's error means for its circuit, and what of it may be told."""

import json
import time
from email.utils import formatdate

import pytest

from netstacks.llm import error_answers
from netstacks.llm.failures import (
    ProviderBroken,
    ProviderFailure,
    ProviderRefused,
    ProviderTimeout,
    RateLimited,
)
from tests.llm.providers import KEY, provider

ENTRY = provider()


def of(status: int, body: object = None, **headers: str) -> ProviderFailure:
    lower = {name.replace("_", "-"): value for name, value in headers.items()}
    return error_answers.of_status(ENTRY, status, lower, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("status", "kind", "verdict"),
    [
        (500, ProviderBroken, "counts"),
        (503, ProviderBroken, "counts"),
        (529, ProviderBroken, "counts"),
        (409, ProviderBroken, "counts"),
        (302, ProviderBroken, "counts"),
        (204, ProviderBroken, "counts"),
        (408, ProviderTimeout, "counts"),
        (504, ProviderTimeout, "counts"),
        (400, ProviderRefused, "neutral"),
        (401, ProviderRefused, "neutral"),
        (404, ProviderRefused, "neutral"),
        (429, RateLimited, "rate_limited"),
    ],
)
def test_a_status_decides_what_the_circuit_hears(status: int, kind: type[ProviderFailure], verdict: str) -> None:
    failure = of(status)
    assert type(failure) is kind
    assert failure.verdict == verdict
    assert str(status) in str(failure)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "overloaded_error"}, ProviderBroken),
        ({"type": "api_error"}, ProviderBroken),
        ({"type": "rate_limit_error"}, RateLimited),
        ({"type": "invalid_request_error"}, ProviderRefused),
        ({"type": "timeout_error"}, ProviderTimeout),
        ({"code": 429}, RateLimited),
        ({"code": "rate_limit_exceeded"}, RateLimited),
        ({"code": 502, "message": "upstream"}, ProviderBroken),
        ({"code": 401}, ProviderRefused),
        ({"code": True}, ProviderBroken),
        ("overloaded", ProviderBroken),
        (None, ProviderBroken),
    ],
)
def test_an_error_inside_a_stream_means_what_its_status_would_have_meant(
    error: object, kind: type[ProviderFailure]
) -> None:
    assert type(error_answers.of_event(ENTRY, error)) is kind


@pytest.mark.parametrize(
    ("headers", "secs"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7),
        ({"retry-after": formatdate(1_000_090, usegmt=True), "date": formatdate(1_000_000, usegmt=True)}, 90),
        ({"retry-after": formatdate(1_000_000, usegmt=True), "date": formatdate(1_000_090, usegmt=True)}, None),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": "Fri, 31 Dec 99999999999 23:59:59 GMT"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_retry_after_is_in_seconds_or_a_date_and_what_cannot_be_meant_is_nothing(
    headers: dict[str, str], secs: float | None
) -> None:
    assert error_answers.retry_after_secs(headers) == secs


@pytest.mark.parametrize(
    "date", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)
def test_each_form_of_a_date_is_in_utc(date: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        headers = {"retry-after": date, "date": "Sun, 06 Nov 1994 08:49:00 GMT"}
        assert error_answers.retry_after_secs(headers) == 37
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_date_without_the_providers_clock_is_read_by_ours() -> None:
    secs = error_answers.retry_after_secs({"retry-after": formatdate(usegmt=True, timeval=4e9)})
    assert secs is not None
    assert secs > 1e9


@pytest.mark.parametrize(
    "body",
    [{"error": {"message": "no credit"}}, {"error": "no credit"}, {"message": "no credit"}, {"detail": "no credit"}],
)
def test_the_providers_own_sentence_is_told(body: object) -> None:
    assert str(of(402, body)) == "answered 402: no credit"


@pytest.mark.parametrize("body", [None, [], {"error": {"code": 1}}, "x" * 10, {"detail": [{"msg": "x"}]}])
def test_a_body_without_a_sentence_says_the_status_only(body: object) -> None:
    assert str(of(500, body)).startswith("answered 500")


def test_a_sentence_has_no_key_no_control_characters_and_a_limited_length() -> None:
    said = str(of(401, {"error": f"wrong key {KEY} or sk-sc*****789 \x1b[2J\r\nbye\u202e " + "x" * 500}))
    assert said.startswith("answered 401: wrong key *** or *** [2J bye x")
    assert KEY not in said
    assert len(said) < 330
    assert said.isprintable()


@pytest.mark.parametrize(
    "shown", ["sk-Zk3...6789", "…456789", "(sk-Zk3vQxW-)", "sk-Zk3vQxW-\u200b0123456789", "xW-0123"]
)
def test_a_sentence_has_no_six_characters_of_the_key(shown: str) -> None:
    said = str(of(401, {"error": f"no such key: {shown} ."}))
    assert not any(KEY[at : at + 6] in said for at in range(len(KEY) - 5)), said
    assert said.startswith("answered 401: no such key: ")


def test_a_key_of_few_letters_is_not_shown() -> None:
    error = {"error": {"message": "no key ab1 here"}}
    assert str(error_answers.of_event(provider(key="ab1"), error)).endswith(": no key *** here")


def test_a_long_word_of_the_provider_is_a_short_sentence() -> None:
    # The search for stars in a word goes through it from each of its letters.
    assert len(str(of(500, {"error": "x" * 1_000_000}))) < 330


def test_a_body_that_is_nested_too_deeply_is_no_sentence() -> None:
    assert str(error_answers.of_status(ENTRY, 500, {}, b'{"error":' * 100_000)) == "answered 500"


@pytest.mark.parametrize("reason", ["refusal", "content_filter", "max_tokens", "length", "end_turn", "stop", None])
def test_an_empty_answer_is_not_the_providers_failure(reason: str | None) -> None:
    assert error_answers.of_empty(reason).verdict == "neutral"


@pytest.mark.parametrize(
    "words",
    [
        "Request too large for gpt-5 on tokens per min: Limit 30000, Requested 40000.",
        "The prompt is too large for your rate limit.",
        "Please reduce the length of the messages.",
    ],
)
def test_a_request_that_is_larger_than_a_limit_is_refused_for_good(words: str) -> None:
    for failure in (
        of(429, {"error": {"message": words}}),
        error_answers.of_event(ENTRY, {"code": 429, "message": words}),
    ):
        assert isinstance(failure, ProviderRefused)
        assert (failure.status, failure.verdict) == (429, "neutral")
        assert words in str(failure)


@pytest.mark.parametrize("status", [400, 408, 429, 500])
def test_the_kind_has_no_words_of_the_provider(status: int) -> None:
    failure = of(status, {"error": {"message": "cannot read: my question"}})
    assert (failure.kind, str(failure)) == (f"answered {status}", f"answered {status}: cannot read: my question")
    assert "question" not in error_answers.of_event(ENTRY, {"code": status, "message": "my question"}).kind
