"""Password hashes: argon2id, computed in threads so that a log-in does not stall the terminals."""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from netstacks import greenlets
from netstacks.crypto.password_rules import MAX_LENGTH, MIN_LENGTH, normalised
from netstacks.errors import InvalidInput

# OWASP Password Storage Cheat Sheet, argon2id with the least memory: about 25 ms.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# What an unknown user's password is compared with: a hash by the same parameters, so that it takes as long. To compute
# it would take 0.05 s and 19 MB of every start.
_DUMMY = "$argon2id$v=19$m=19456,t=2,p=1$a/s+4h9UpCv3QfXhfPLtWQ$ouZ2vrHGuexd7kcW6Qs5txAaJxthQaZJnw7ztxGEx54"
# A flood of log-ins may take neither all threads (name resolution needs them) nor all processors.
_turns = greenlets.BoundedSemaphore(2)


def hash_password(password: str) -> str:
    """The hash to store; raises InvalidInput when the password is too short or too long for any user."""
    password = normalised(password)
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise InvalidInput(f"password: must have {MIN_LENGTH} to {MAX_LENGTH} characters")
    with _turns:
        return greenlets.in_thread(_hasher.hash, password)


def is_password(password: str, password_hash: str | None) -> bool:
    """Whether the password is the hashed one; takes as long when there is no hash to compare with."""
    with _turns:
        return greenlets.in_thread(_verify, password_hash or _DUMMY, password) and password_hash is not None


def _verify(password_hash: str, password: str) -> bool:
    # A hash that was made before passwords were normalised is of what was typed.
    forms = dict.fromkeys((normalised(password), password))
    return any(_is_of(password_hash, form) for form in forms)


def _is_of(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
