"""The rules for new passwords; a refusal names the broken rule."""

import pytest
import zxcvbn_rs_py

from netstacks.crypto import password_rules
from netstacks.crypto.passwords import _hasher, hash_password, is_password
from netstacks.errors import InvalidInput

LEE = ("lee", "lee.miller@example.net", "Lee Miller")


def problem(password: str, role: str = "operator") -> str | None:
    return password_rules.problem_of(password, role=role, names=LEE)


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "seven green lamps",
        "wörter, die niemand ahnt",
        "несколько разных слов",
        "\U0001f98a fox and \U0001f409 dragon",
        "only lower case letters here",
        "lee walks to the harbour",
        "q7#Lp0!vZx2m",
    ],
)
@pytest.mark.parametrize("role", ["admin", "operator"])
def test_a_password_needs_no_mixture_of_kinds_of_characters(password: str, role: str) -> None:
    assert problem(password, role) is None


@pytest.mark.parametrize(
    ("role", "password", "said"),
    [
        ("operator", "tr7-kq!", "must have 8 to 1024 characters"),
        ("operator", "x" * 1025, "must have 8 to 1024 characters"),
        ("admin", "tr7-kq!wop#", "must have 12 to 1024 characters for an administrator"),
        ("operator", "aaaaaaaaaaaaaaaa", "must have at least 4 different characters"),
        ("operator", "lee.miller12", "must not be 'lee.miller' with only a few characters more"),
        ("operator", "Lee Miller!", "must not be 'lee miller' with only a few characters more"),
        ("operator", "NetStacks1!", "must not be 'netstacks' with only a few characters more"),
        ("operator", "netstacksnetstacks", "must not be 'netstacks' with only a few characters more"),
        ("operator", "password", "is a common password"),
        ("operator", "Password123", "is a common password"),
        ("operator", "P@ssw0rd", "is a common password"),
        ("operator", "qwertyuiop", "is a common password"),
        ("operator", "iloveyou", "is a common password"),
        ("operator", "12345678", "is a common password"),
        ("operator", "abcdefghij", "is a common password"),
        ("operator", "abcabcabcabcd", "is a common password"),
        ("admin", "administrator", "is a common password"),
        ("admin", "password1234", "is a common password"),
    ],
)
def test_a_refused_password_is_told_which_rule_it_breaks(role: str, password: str, said: str) -> None:
    found = problem(password, role)
    assert found is not None
    assert found.startswith(said)
    with pytest.raises(InvalidInput, match=r"^password: "):
        password_rules.check(password, role=role, names=LEE)


def test_every_character_counts_as_one() -> None:
    assert problem("żółć łąka") is None
    assert problem("\U0001f98a\U0001f409\U0001f419\U0001f40c") is not None


def test_a_password_is_right_in_whichever_form_a_keyboard_sends_it() -> None:
    composed, decomposed, wide = "für élan und spaß", "fu\u0308r e\u0301lan und spaß", "ｆür élan und spaß"
    stored = hash_password(decomposed)
    assert all(is_password(form, stored) for form in (composed, decomposed, wide))
    assert not is_password("fur elan und spaß", stored)


def test_a_hash_from_before_passwords_were_normalised_is_still_good() -> None:
    decomposed = "fu\u0308r e\u0301lan"
    assert is_password(decomposed, _hasher.hash(decomposed))


def test_ascii_stays_as_it_is() -> None:
    ascii_ = "".join(map(chr, range(128)))
    assert password_rules.normalised(ascii_) == ascii_


def test_a_long_password_is_looked_at_in_short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes zxcvbn slow is a long text of signs that may stand for letters."""
    seen: list[str] = []
    zxcvbn = zxcvbn_rs_py.zxcvbn

    def noted(password: str, words: list[str]) -> zxcvbn_rs_py.Entropy:
        seen.append(password)
        return zxcvbn(password, words)

    monkeypatch.setattr(zxcvbn_rs_py, "zxcvbn", noted)
    assert problem("4@8({[<369&#!1|l7+0$52%" * 40) is None
    assert problem("password" * 128) is not None
    assert problem("password" * 6 + "or anything else") is None
    assert max(map(len, seen)) == 16
    assert len(seen) == 1 + 8 + 4
