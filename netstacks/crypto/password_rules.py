"""What a new password must be, after NIST SP 800-63B: long enough and not easy to guess, of whatever characters.

Passwords that are in use are not judged by it.
"""

import unicodedata
from collections.abc import Iterable

from netstacks.errors import InvalidInput

MIN_LENGTH = 8
MIN_ADMIN_LENGTH = 12
MAX_LENGTH = 1024
_MIN_DIFFERENT = 4
# What must be left of a password without the names in it.
_MIN_REST = 4
_MIN_NAME = 3
_PRODUCT = ("netstacks", "controller")
# As a power of ten, by zxcvbn's estimate. failed_logins allows a stranger some thousand a day.
_MIN_GUESSES = 6
# zxcvbn holds the interpreter for seconds over a long password with many signs that may stand for letters, and for
# 20 ms over one of this length. A password is as hard to guess as any part of it, or harder.
_PART, _MOST_PARTS = 16, 8
_BETTER = "use several words that others do not expect"


def normalised(password: str) -> str:
    """The one form of a password, in whichever form a keyboard sends it. What is ASCII stays as it is."""
    return unicodedata.normalize("NFKC", password)


def min_length(role: str) -> int:
    """How many characters the password of a user with this role must have."""
    return MIN_ADMIN_LENGTH if role == "admin" else MIN_LENGTH


def is_long(password: str) -> bool:
    """Whether it has as many characters as an administrator's must have."""
    return len(normalised(password)) >= MIN_ADMIN_LENGTH


def check(password: str, *, role: str, names: Iterable[str | None] = ()) -> None:
    """Raises InvalidInput that says which rule a new password breaks. `names` are the user's own."""
    problem = problem_of(password, role=role, names=names)
    if problem:
        raise InvalidInput(f"password: {problem}")


def problem_of(password: str, *, role: str, names: Iterable[str | None] = ()) -> str | None:
    """Which rule a new password breaks, in words that follow a colon; None for a good one."""
    names = list(names)
    return form_problem(password, role=role, names=names) or _guessable(normalised(password), _words(names))


def form_problem(password: str, *, role: str, names: Iterable[str | None] = ()) -> str | None:
    """The same without the look at what is common."""
    password = normalised(password)
    least = min_length(role)
    if not least <= len(password) <= MAX_LENGTH:
        of_role = " for an administrator" if least > MIN_LENGTH else ""
        return f"must have {least} to {MAX_LENGTH} characters{of_role}"
    if len(set(password)) < _MIN_DIFFERENT:
        return f"must have at least {_MIN_DIFFERENT} different characters"
    if named := _name_in(password.casefold(), _words(names)):
        return f"must not be {named!r} with only a few characters more: {_BETTER}"
    return None


def _words(names: Iterable[str | None]) -> list[str]:
    """The user's names, of an e-mail address what stands before the @, and the product's."""
    own = [name.casefold().partition("@")[0] for name in names if name]
    return [word for word in dict.fromkeys([*own, *_PRODUCT]) if len(word) >= _MIN_NAME]


def _name_in(password: str, words: list[str]) -> str | None:
    return next((word for word in words if word in password and len(password.replace(word, "")) < _MIN_REST), None)


def _guessable(password: str, words: list[str]) -> str | None:
    # Not at the start: only a new password needs it, and its tables take 9 MB.
    from zxcvbn_rs_py import zxcvbn

    starts = range(0, len(password), _PART)[:_MOST_PARTS]
    if any(zxcvbn(password[start : start + _PART], words).guesses_log10 >= _MIN_GUESSES for start in starts):
        return None
    return f"is one of the common ones, or too much like one: {_BETTER}"
