"""Password hashes: argon2id, computed in threads so that a log-in does not block the event loop."""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from netstacks import greenlets
from netstacks.crypto.password_rules import MAX_LENGTH, MIN_LENGTH, normalised
from netstacks.errors import InvalidInput

# OWASP Password Storage Cheat Sheet, the argon2id option with the least memory: about 25 ms.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# The hash to verify for an unknown user, with the same parameters, so that both cases take equally long. A constant,
# because computing it would cost 0.05 s and 19 MB at every start.
_DUMMY = "$argon2id$v=19$m=19456,t=2,p=1$a/s+4h9UpCv3QfXhfPLtWQ$ouZ2vrHGuexd7kcW6Qs5txAaJxthQaZJnw7ztxGEx54"
# A flood of log-ins must not occupy all threads of `in_thread` nor all processors.
_turns = greenlets.BoundedSemaphore(2)


def hash_password(password: str) -> str:
    """The hash to store; raises InvalidInput when the password is too short or too long for every role."""
    password = normalised(password)
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise InvalidInput(f"password: must have {MIN_LENGTH} to {MAX_LENGTH} characters")
    with _turns:
        return greenlets.in_thread(_hasher.hash, password)


def is_password(password: str, password_hash: str | None) -> bool:
    """Whether the password matches the hash; takes equally long without a hash, and is then False."""
    with _turns:
        return greenlets.in_thread(_verify, password_hash or _DUMMY, password) and password_hash is not None


def _verify(password_hash: str, password: str) -> bool:
    # Hashes from versions without normalisation are of the unnormalised password.
    forms = dict.fromkeys((normalised(password), password))
    return any(_is_of(password_hash, form) for form in forms)


def _is_of(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
