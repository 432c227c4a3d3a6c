"""The user of a log-in by single sign-on: created, refreshed and given the role of the groups, or refused."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from flask import request

from netstacks.errors import Conflict, InvalidInput, NotFound
from netstacks.instance.withdrawals import Scope, Withdrawal
from netstacks.store import (
    access,
    audit,
    external_identities,
    identity_providers,
    logins,
    roles,
    sessions,
    shares,
    users,
)
from netstacks.store.access import WITHDRAWN
from netstacks.store.identity_providers import IdentityProvider
from netstacks.store.pool import Transaction
from netstacks.store.shares import Share
from netstacks.store.users import User
from netstacks.web.api.shares import end_views_of
from netstacks.web.auth.oidc_errors import SsoRefused
from netstacks.web.auth.oidc_profile import ExternalProfile, role_of
from netstacks.web.auth.tokens import Subject
from netstacks.web.context import services


@dataclass
class _Outcome:
    """What a transaction has decided: its result is applied after the commit."""

    subject: Subject | None = None
    refusal: SsoRefused | None = None
    withdrawal: Withdrawal | None = None
    limited_role: str | None = None
    """The new role, if it has a limited scope of devices."""
    revoked: list[Share] = field(default_factory=list)


def log_in(provider: IdentityProvider, profile: ExternalProfile) -> Subject:
    """Stores the log-in of a page, and returns the subject of its cookie.

    Raises SsoRefused, with an audit row: for a deactivated user, for one whose groups give no role, whose former
    log-ins then end, and for a new user whose name or address another user has.
    """
    with services().database.transaction() as tx:
        access.lock_administration(tx)
        outcome = _decide(tx, provider, profile)
        if outcome.refusal is not None:
            note_refusal(tx, provider, outcome.refusal, profile)
    if outcome.withdrawal is not None:
        services().withdrawals.everywhere(outcome.withdrawal)
    if outcome.limited_role is not None:
        services().withdrawals.role_changed(outcome.limited_role)
    for share in outcome.revoked:
        end_views_of(share, "this share was revoked: its creator has lost access")
    if outcome.refusal is not None:
        raise outcome.refusal
    assert outcome.subject is not None
    return outcome.subject


def note_refusal(
    tx: Transaction, provider: IdentityProvider, refusal: SsoRefused, profile: ExternalProfile | None = None
) -> None:
    """Writes the audit row of a refused log-in. The subject is in it, so that an administrator can link the user."""
    user_id = external_identities.user_of(tx, provider.id, profile.subject) if profile else None
    audit.append(
        tx,
        audit.Actor(profile.username if profile else "unknown", None, request.remote_addr),
        "auth.refused",
        f"user:{user_id or 'unknown'}",
        reason=refusal.reason,
        provider=provider.name,
        **({"subject": profile.subject} if profile else {}),
    )


def current_provider(tx: Transaction, provider_id: UUID) -> IdentityProvider:
    """The provider, for a log-in that has begun. Raises SsoRefused when it was removed or switched off since then."""
    try:
        provider = identity_providers.find(tx, provider_id)
    except NotFound as error:
        raise SsoRefused("removed", "The identity provider of this log-in was removed from this controller.") from error
    if not provider.enabled:
        raise SsoRefused("disabled", f"Log-in with {provider.name} was switched off.")
    return provider


def _decide(tx: Transaction, provider: IdentityProvider, profile: ExternalProfile) -> _Outcome:
    try:
        # The lock of `log_in` keeps it so until the end of the transaction.
        provider = current_provider(tx, provider.id)
        role = role_of(provider, identity_providers.mappings_of(tx, provider.id), profile.groups)
        user_id = external_identities.user_of(tx, provider.id, profile.subject)
        if user_id is None:
            user, outcome = _create(tx, provider, profile, role), _Outcome()
        else:
            access.lock(tx, user_id)
            user, outcome = _refresh(tx, users.get(tx, user_id), provider, profile, role)
    except SsoRefused as refusal:
        return _Outcome(refusal=refusal)
    if outcome.refusal is None:
        outcome.subject = _begin(tx, provider, profile, user)
    return outcome


def _create(tx: Transaction, provider: IdentityProvider, profile: ExternalProfile, role: str | None) -> User:
    """A new user. Raises SsoRefused without a role, and when a name or an address would lead to another user.

    An equal name or address links no accounts: any user of the provider may be able to choose them.
    """
    if role is None:
        raise _no_role(provider)
    for text, what in ((profile.username, "user name"), (profile.email, "e-mail address")):
        if text and users.by_login_name(tx, text) is not None:
            raise SsoRefused(
                "name_taken",
                f"Another user of this controller has your {what}, {text}. An administrator can link that user to your"
                f" account at {provider.name}, or rename one of them.",
            )
    try:
        user = users.create(
            tx,
            username=profile.username,
            password_hash=external_identities.NO_PASSWORD,
            role=role,
            email=profile.email,
            display_name=profile.display_name,
        )
    except InvalidInput as error:
        raise SsoRefused("invalid_username", f"{provider.name} sent an unusable user name: {error}.") from error
    external_identities.make_external(tx, user.id)
    external_identities.add(tx, provider.id, profile.subject, user.id, by=provider.name, is_link=False)
    details = {"username": user.username, "role": role, "provider": provider.name}
    audit.append(tx, _actor(user), "user.created", f"user:{user.id}", **details)
    return user


def _refresh(
    tx: Transaction, user: User, provider: IdentityProvider, profile: ExternalProfile, role: str | None
) -> tuple[User, _Outcome]:
    """The user with the role and the profile of this log-in. A linked local user keeps those of this controller."""
    if not user.is_active:
        raise SsoRefused("deactivated", "Your user was deactivated by an administrator of this controller.")
    if user.auth_provider == "local":
        return user, _Outcome()
    if role is None:
        ended = logins.revoke_all(tx, user.id)
        _end_sessions(tx, user)
        withdrawal = Withdrawal(user.id, Scope.ALL_LOGINS, tuple(ended))
        return user, _Outcome(refusal=_no_role(provider), withdrawal=withdrawal)
    email = _free_email(tx, user, profile.email)
    if (email, profile.display_name, role) == (user.email, user.display_name, user.role):
        return user, _Outcome()
    by = f"single sign-on ({provider.name})"
    try:
        new = users.update(
            tx, user.id, email=email, display_name=profile.display_name, role=role, is_active=True, by=by
        )
    except Conflict as error:
        raise SsoRefused("last_administrator", f"Your groups give you the role {role}, but {error}.") from error
    outcome = _Outcome()
    if new.role != user.role:
        outcome = _with_role(tx, new)
        details = {"username": user.username, "role": role, "former_role": user.role, "provider": provider.name}
        audit.append(tx, _actor(user), "user.updated", f"user:{user.id}", **details)
    return new, outcome


def _with_role(tx: Transaction, user: User) -> _Outcome:
    """Ends what the new role does not permit."""
    role = roles.role_named(tx, user.role)
    what = Scope.NOTHING if role.may("sessions.connect") else Scope.TERMINALS
    if what is Scope.TERMINALS:
        _end_sessions(tx, user)
    elif role.reach.is_limited:
        _note_ended(tx, user, roles.end_sessions_beyond(tx, role, WITHDRAWN))
    revoked = [] if role.may("sessions.manage") else shares.revoke_of_others(tx, user.id, user.username)
    for share in revoked:
        audit.append(tx, _actor(user), "session.share_revoked", f"session:{share.session_id}", share=str(share.id))
    limited_role = role.name if role.reach.is_limited else None
    return _Outcome(withdrawal=Withdrawal(user.id, what), limited_role=limited_role, revoked=revoked)


def _end_sessions(tx: Transaction, user: User) -> None:
    ended, owned = sessions.end_all_of(tx, user.id, WITHDRAWN)
    _note_ended(tx, user, (*ended, *owned))


def _note_ended(tx: Transaction, user: User, session_ids: Iterable[UUID]) -> None:
    for session_id in session_ids:
        details = {"owner": user.username, "reason": WITHDRAWN}
        audit.append(tx, _actor(user), "session.ended_by_user", f"session:{session_id}", **details)


def _free_email(tx: Transaction, user: User, email: str | None) -> str | None:
    """The address, or the former one when another user has it."""
    found = users.by_login_name(tx, email) if email else None
    return email if found is None or found[0].id == user.id else user.email


def _begin(tx: Transaction, provider: IdentityProvider, profile: ExternalProfile, user: User) -> Subject:
    access.lock(tx, user.id)
    role = users.note_login(tx, user.id, users.password_hash_of(tx, user.id) or external_identities.NO_PASSWORD)
    assert role is not None, "the user is active and locked"
    max_days = services().settings.login_max_days
    login_id: UUID = logins.begin(tx, user.id, "page", address=request.remote_addr, max_days=max_days)
    external_identities.note_login(tx, provider.id, profile.subject, login_id)
    audit.append(tx, _actor(user), "auth.login", f"user:{user.id}", client_type="page", provider=provider.name)
    return Subject(user.id, user.username, role, login_id)


def _actor(user: User) -> audit.Actor:
    return audit.Actor(user.username, user.id, request.remote_addr)


def _no_role(provider: IdentityProvider) -> SsoRefused:
    return SsoRefused(
        "no_role",
        f"None of your groups at {provider.name} has a role in this controller. Ask an administrator for access.",
    )
