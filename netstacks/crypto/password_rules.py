"""Rules for new passwords after NIST SP 800-63B: minimum length and resistance to guessing, no character classes.

They do not apply to existing passwords.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from netstacks.errors import InvalidInput

MIN_LENGTH = 8
MIN_ADMIN_LENGTH = 12
MAX_LENGTH = 1024
_MIN_DIFFERENT = 4
# How many characters must remain of a password without the names in it.
_MIN_REST = 4
_MIN_NAME = 3
_PRODUCT = ("netstacks", "controller")
# log10 of the number of guesses that zxcvbn estimates. `failed_logins` allows an attacker some thousand a day.
_MIN_GUESSES = 6
# zxcvbn holds the GIL for seconds on a long password with many letter substitutions, and for 20 ms on one of this
# length. A password is at least as hard to guess as any part of it, so one strong part is enough.
_PART, _MAX_PARTS = 16, 8
_BETTER = "use several words that others do not expect"


def normalised(password: str) -> str:
    """The password in Unicode NFKC, because keyboards send different forms. ASCII is unchanged."""
    return unicodedata.normalize("NFKC", password)


@dataclass(frozen=True)
class Lengths:
    """The minimum lengths of passwords, in characters. An administrator can raise them."""

    user: int = MIN_LENGTH
    admin: int = MIN_ADMIN_LENGTH

    def of_role(self, role: str) -> int:
        """The minimum length of the password of a user with this role."""
        return max(self.user, self.admin) if role == "admin" else self.user


BUILT_IN = Lengths()


def is_long(password: str, lengths: Lengths = BUILT_IN) -> bool:
    """Whether it has the minimum length of an administrator's password."""
    return len(normalised(password)) >= lengths.of_role("admin")


def check(password: str, *, role: str, names: Iterable[str | None] = (), lengths: Lengths = BUILT_IN) -> None:
    """Raises InvalidInput with the rule that a new password breaks. `names` are the user's own names."""
    problem = problem_of(password, role=role, names=names, lengths=lengths)
    if problem:
        raise InvalidInput(f"password: {problem}")


def problem_of(
    password: str, *, role: str, names: Iterable[str | None] = (), lengths: Lengths = BUILT_IN
) -> str | None:
    """The rule that a new password breaks, worded to follow a colon; None for a valid password."""
    names = list(names)
    return form_problem(password, role=role, names=names, lengths=lengths) or _guessable(
        normalised(password), _words(names)
    )


def form_problem(
    password: str, *, role: str, names: Iterable[str | None] = (), lengths: Lengths = BUILT_IN
) -> str | None:
    """The same without the check for common passwords, which is slow."""
    password = normalised(password)
    least = lengths.of_role(role)
    if not least <= len(password) <= MAX_LENGTH:
        of_role = " for an administrator" if least > lengths.user else ""
        return f"must have {least} to {MAX_LENGTH} characters{of_role}"
    if len(set(password)) < _MIN_DIFFERENT:
        return f"must have at least {_MIN_DIFFERENT} different characters"
    if named := _name_in(password.casefold(), _words(names)):
        return f"must not be {named!r} with only a few characters more: {_BETTER}"
    return None


def _words(names: Iterable[str | None]) -> list[str]:
    """The user's names, the local part of an e-mail address, and the product's names."""
    own = [name.casefold().partition("@")[0] for name in names if name]
    return [word for word in dict.fromkeys([*own, *_PRODUCT]) if len(word) >= _MIN_NAME]


def _name_in(password: str, words: list[str]) -> str | None:
    return next((word for word in words if word in password and len(password.replace(word, "")) < _MIN_REST), None)


def _guessable(password: str, words: list[str]) -> str | None:
    # Imported here: only a new password needs it, and its tables take 9 MB.
    from zxcvbn_rs_py import zxcvbn

    starts = range(0, len(password), _PART)[:_MAX_PARTS]
    if any(zxcvbn(password[start : start + _PART], words).guesses_log10 >= _MIN_GUESSES for start in starts):
        return None
    return f"is a common password, or too similar to one: {_BETTER}"
