"""Known secrets are found as a search for each of them would find them."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from netstacks.llm.known_secrets import KnownSecrets


def found(secrets: Iterable[str], text: str) -> list[str]:
    known = KnownSecrets(dict.fromkeys(secrets, "name"))
    return [text[start:end] for start, end, _ in known.find(text, lambda start, end: True)]


def covered(secrets: Iterable[str], text: str) -> set[int]:
    """The places of all characters that are part of a secret."""
    starts = ((at, secret) for secret in secrets for at in range(len(text)) if text.startswith(secret, at))
    return {place for at, secret in starts for place in range(at, at + len(secret))}


@given(
    st.lists(st.text("ab", min_size=1, max_size=6) | st.text("ab", min_size=65, max_size=70), max_size=8),
    st.text("abc", max_size=200),
)
def test_all_is_found_that_a_search_for_each_would_find(secrets: list[str], text: str) -> None:
    text = "".join([text, *secrets[:2], text])
    known = KnownSecrets(dict.fromkeys(secrets, "name"))
    spans = [(start, end) for start, end, _ in known.find(text, lambda start, end: True)]
    assert all(text[start:end] in secrets for start, end in spans)
    short = [secret for secret in secrets if len(secret) <= 64]
    places = {place for start, end in spans for place in range(start, end)}
    assert places >= covered(short, text)
    assert all(
        secret in {text[start:end] for start, end in spans} for secret in secrets if len(secret) > 64 and secret in text
    )


def test_the_longest_secret_that_begins_at_one_place_is_found() -> None:
    assert found(["secret", "secret-of-all"], "the secret-of-all, a secret") == ["secret-of-all", "secret"]


def test_one_that_is_not_wanted_does_not_hide_another() -> None:
    known = KnownSecrets({"Passw0": "a", "ssw0rd12": "b"})
    spans = known.find("Passw0rd12", lambda start, end: end - start >= 8)
    assert list(spans) == [(2, 10, "b")]


def test_without_secrets_nothing_is_found() -> None:
    assert found([], "text") == []
    assert found([""], "text") == []
