"""The second step of a log-in: tickets for it, and codes, which are throttled like passwords."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import structlog
from flask import request
from werkzeug.exceptions import Unauthorized

from netstacks.crypto import one_time_codes
from netstacks.hosts import network
from netstacks.store import audit, failed_logins, second_factors, users
from netstacks.store.failed_logins import Attempt
from netstacks.store.pool import Transaction
from netstacks.store.second_factors import Held
from netstacks.store.users import User
from netstacks.web.auth import known_devices, signed_texts
from netstacks.web.auth.authenticate import Authenticated, too_many
from netstacks.web.auth.parts import auth_parts
from netstacks.web.auth.signed_texts import SignedText

log = structlog.get_logger()

_PURPOSE = "second step of a log-in"
_WRONG_CODE = "The code is not correct, or it was used already. Wait for the next code, or use a recovery code."
_EXPIRED = "This log-in has taken too long, or your password was changed. Start again with your password."

Method = Literal["passkey", "totp", "recovery_code"]


@dataclass(frozen=True)
class SecondStep:
    """What a user with a correct password has to add: one of `methods`. The ticket stands for the password."""

    methods: list[Method]
    ticket: str


def step_after(proof: Authenticated, rp_id: str | None) -> SecondStep | None:
    """The second step for a user with a correct password; None for a user without a second factor.

    `rp_id` is the host name of the page, by which the browser chooses passkeys; None for other programs.
    """
    with auth_parts().database.transaction() as tx:
        held = second_factors.of_user(tx, proof.user.id)
    return None if held.is_empty else SecondStep(_methods(held, rp_id), _ticket(proof))


def _methods(held: Held, rp_id: str | None) -> list[Method]:
    methods: dict[Method, bool] = {
        "passkey": any(passkey.rp_id == rp_id for passkey in held.passkeys),
        "totp": held.totp is not None,
        "recovery_code": held.recovery_codes > 0,
    }
    return [name for name, is_possible in methods.items() if is_possible]


def _ticket(proof: Authenticated) -> str:
    content = {
        "user_id": str(proof.user.id),
        "password": auth_parts().tokens.sign(_marked(proof.password_hash)),
        "address": network(request.remote_addr),
    }
    return signed_texts.issue(auth_parts().tokens, _PURPOSE, content)


def read_ticket(ticket: str) -> tuple[Authenticated, SignedText]:
    """The user who has given the password for this ticket, at this address.

    Raises Unauthorized after `signed_texts.TTL_SECS`, for another address, and after a change of password or access.
    """
    signed = signed_texts.read(auth_parts().tokens, _PURPOSE, ticket)
    if signed is None or signed.content["address"] != network(request.remote_addr):
        raise Unauthorized(_EXPIRED)
    proof = proof_of(UUID(signed.content["user_id"]))
    if proof is None or not auth_parts().tokens.is_signed(_marked(proof.password_hash), signed.content["password"]):
        raise Unauthorized(_EXPIRED)
    return proof, signed


def proof_of(user_id: UUID) -> Authenticated | None:
    """An active user who has proven to be this one, with the current password; None for any other user."""
    with auth_parts().database.transaction() as tx:
        password_hash = users.password_hash_of(tx, user_id)
        user = users.get(tx, user_id) if password_hash is not None else None
    return Authenticated(user, password_hash) if user and user.is_active and password_hash else None


def spend(tx: Transaction, ticket: str, signed: SignedText) -> None:
    """Makes the ticket or the challenge unusable, on every instance. Raises Unauthorized when it was used before."""
    if not second_factors.spend(tx, ticket, signed.expires_at):
        raise Unauthorized(_EXPIRED)


def _marked(password_hash: str) -> str:
    return f"password of a ticket: {password_hash}"


def check_code(user: User, code: str, also: Callable[[Transaction], None] = lambda _: None) -> None:
    """Checks the code of an authenticator app, or a recovery code; either is accepted once, by one instance.

    `also` is called in the transaction that uses the code up: when it raises, the code stays unused.

    Raises Unauthorized for a wrong code, TooManyRequests after too many of them, RetryLater when too many checks wait.
    """
    code = code.strip().replace(" ", "")
    attempt = _attempt(user.id)
    checks = auth_parts().password_checks
    with (
        checks.slot(f"second step {user.id}", is_known=True),
        checks.lock(attempt),
        auth_parts().database.transaction() as tx,
    ):
        # The checks of all instances take turns: each sees the failures before it.
        second_factors.lock(tx, user.id)
        wait_secs = failed_logins.reserve(tx, attempt, auth_parts().lockout()).wait_secs
        is_right = not wait_secs and _use(tx, user, code)
        if is_right:
            also(tx)
            failed_logins.forgive(tx, attempt)
        elif not wait_secs:
            failed_logins.note_pair(tx, attempt)
            audit.append(tx, _actor(user), "auth.second_factor_failed", f"user:{user.id}")
    if wait_secs:
        raise too_many(wait_secs, "wrong codes")
    if not is_right:
        raise Unauthorized(_WRONG_CODE)


def _attempt(user_id: UUID) -> Attempt:
    """One count for a user, from any address: the clients know the password, and guess 6 digits.

    A browser in which the user has completed a log-in before has a count of its own, so that they cannot keep the user
    out. A correct password resets neither.
    """
    marks = known_devices.marks(auth_parts().tokens)
    device = next((mark.device for mark in marks if mark.user_id == user_id), None)
    return Attempt(f"second step of {user_id}", "", device, is_known=True)


def _use(tx: Transaction, user: User, code: str) -> bool:
    if one_time_codes.is_code(code):
        return _use_totp(tx, user, code)
    if not second_factors.use_recovery_code(tx, user.id, one_time_codes.recovery_hash(code)):
        return False
    left = second_factors.recovery_codes_left(tx, user.id)
    audit.append(tx, _actor(user), "auth.recovery_code_used", f"user:{user.id}", left=left)
    return True


def _use_totp(tx: Transaction, user: User, code: str) -> bool:
    secret = second_factors.totp_secret(tx, auth_parts().vault, user.id)
    if secret is None:
        return False
    now = time.time()
    step = one_time_codes.matching_step(secret, code, now)
    if step is None:
        explain_clock(user.username, secret, code, now)
        return False
    return second_factors.spend_step(tx, user.id, step)


def explain_clock(username: str, secret: str, code: str, now: float) -> None:
    """Logs that a clock is wrong when the refused code is one of the minutes before or after `now`."""
    ahead_secs = one_time_codes.clock_difference_secs(secret, code, now)
    if ahead_secs is not None:
        log.warning(
            "auth.totp_clock",
            user=username,
            app_ahead_secs=ahead_secs,
            problem="the code is right for another time: the clock of the authenticator app or of this host is wrong",
        )


def _actor(user: User) -> audit.Actor:
    return audit.Actor(user.username, user.id, request.remote_addr)
