"""Credentials: personal, shared and usable ones (docs/protocol.md, 5.3). Secrets are write-only, except by reveal."""

from typing import Annotated, Any, Literal
from uuid import UUID

from flask import Blueprint, Response, jsonify
from pydantic import BaseModel, BeforeValidator, StringConstraints

from netstacks.store import audit, credentials
from netstacks.store.credentials import Credential, Secrets
from netstacks.store.pool import Transaction
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.changes import changes
from netstacks.web.http.fields import Description, Name, OptionalHost, OptionalPort, OptionalText
from netstacks.web.http.inputs import parse
from netstacks.web.http.outputs import timestamp

blueprint = Blueprint("credentials", __name__)

CredentialType = Literal["ssh_password", "ssh_key", "api_token", "snmp_community", "generic_secret"]
# A form sends an empty text for a secret that stays as it is.
SecretText = Annotated[
    str | None, StringConstraints(max_length=65536), BeforeValidator(lambda text: None if text == "" else text)
]


class CredentialChange(BaseModel):
    """The changeable members of a credential; absent ones keep their value."""

    name: Name = ""
    credential_type: CredentialType = "ssh_password"
    username: OptionalText = None
    host: OptionalHost = None
    port: OptionalPort = None
    description: Description = None
    secret: SecretText = None
    passphrase: SecretText = None
    enable_secret: SecretText = None

    def secrets(self) -> Secrets:
        return Secrets(self.secret, self.passphrase, self.enable_secret)

    def facts(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True, exclude={"secret", "passphrase", "enable_secret"})


class NewCredential(CredentialChange):
    name: Name
    credential_type: CredentialType


class Reveal(BaseModel):
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


@blueprint.get("/api/credentials/accessible")
@guard.requires()
def list_accessible() -> dict[str, Any]:
    """The credentials that the user may log in to devices with."""
    with services().database.transaction() as tx:
        items = credentials.usable(tx, guard.identity().user_id)
    return {"items": [as_json(credential) for credential in items]}


@blueprint.get("/api/credentials/accessible/default")
@guard.requires()
def get_default() -> Response:
    """The credential that Connect uses by default. For null the client lets its user choose."""
    with services().database.transaction() as tx:
        credential = credentials.default_for(tx, guard.identity().user_id)
    return jsonify(as_json(credential) if credential else None)


@blueprint.get("/api/credentials/personal")
@guard.requires()
def list_personal() -> dict[str, Any]:
    with services().database.transaction() as tx:
        items = credentials.personal(tx, guard.identity().user_id)
    return {"items": [as_json(credential) for credential in items]}


@blueprint.post("/api/credentials/personal")
@guard.requires()
def create_personal() -> tuple[dict[str, Any], int]:
    return _create(guard.identity().user_id)


@blueprint.put("/api/credentials/personal/<uuid:credential_id>")
@guard.requires()
def update_personal(credential_id: UUID) -> dict[str, Any]:
    return _update(credential_id, guard.identity().user_id)


@blueprint.delete("/api/credentials/personal/<uuid:credential_id>")
@guard.requires()
def delete_personal(credential_id: UUID) -> dict[str, Any]:
    return _delete(credential_id, guard.identity().user_id)


@blueprint.post("/api/credentials/personal/<uuid:credential_id>/reveal")
@guard.requires()
def reveal_personal(credential_id: UUID) -> dict[str, str]:
    """Shows a secret to its owner. The reason that the owner gives is audited."""
    reason = parse(Reveal).reason
    with guard.transaction() as tx:
        credential = credentials.lock(tx, credential_id, guard.identity().user_id)
        secret = services().vault.open(tx, credential_id, "secret")
        _audit(tx, "credential.revealed", credential, reason=reason)
    return {"secret": secret}


@blueprint.get("/api/credentials")
@guard.requires("credentials.manage")
def list_shared() -> dict[str, Any]:
    with services().database.transaction() as tx:
        items = credentials.shared(tx)
    return {"items": [as_json(credential) for credential in items]}


@blueprint.post("/api/credentials")
@guard.requires("credentials.manage")
def create_shared() -> tuple[dict[str, Any], int]:
    return _create(None)


@blueprint.get("/api/credentials/<uuid:credential_id>")
@guard.requires("credentials.manage")
def get_shared(credential_id: UUID) -> dict[str, Any]:
    with services().database.transaction() as tx:
        return as_json(credentials.lock(tx, credential_id, None))


@blueprint.put("/api/credentials/<uuid:credential_id>")
@guard.requires("credentials.manage")
def update_shared(credential_id: UUID) -> dict[str, Any]:
    return _update(credential_id, None)


@blueprint.delete("/api/credentials/<uuid:credential_id>")
@guard.requires("credentials.manage")
def delete_shared(credential_id: UUID) -> dict[str, Any]:
    return _delete(credential_id, None)


def as_json(credential: Credential) -> dict[str, Any]:
    """A credential in the API."""
    return {
        "id": str(credential.id),
        "name": credential.name,
        "description": credential.description,
        "credential_type": credential.credential_type,
        "username": credential.username,
        "host": credential.host,
        "port": credential.port,
        "vault_type": credential.vault_type,
        "has_enable_secret": credential.has_enable_secret,
        "created_at": timestamp(credential.created_at),
        "updated_at": timestamp(credential.updated_at),
    }


def _create(owner_id: UUID | None) -> tuple[dict[str, Any], int]:
    body = parse(NewCredential)
    with guard.transaction() as tx:
        credential = credentials.create(tx, services().vault, body.secrets(), owner_id=owner_id, **body.facts())
        _audit(tx, "credential.created", credential, credential_type=credential.credential_type)
    return as_json(credential), 201


def _update(credential_id: UUID, owner_id: UUID | None) -> dict[str, Any]:
    body = parse(CredentialChange)
    secrets = body.secrets()
    with guard.transaction() as tx:
        old = credentials.lock(tx, credential_id, owner_id)
        credential = credentials.update(tx, services().vault, old, body.facts(), secrets)
        _audit(tx, "credential.updated", credential, changes=changes(old, credential), secrets=secrets.given())
    return as_json(credential)


def _delete(credential_id: UUID, owner_id: UUID | None) -> dict[str, Any]:
    """Returns the devices whose default credential it was: they have no default any more."""
    with guard.transaction() as tx:
        credential = credentials.lock(tx, credential_id, owner_id)
        devices = credentials.delete(tx, credential)
        _audit(tx, "credential.deleted", credential, devices=devices)
    return {"devices": devices}


def _audit(tx: Transaction, event: str, credential: Credential, **details: Any) -> None:
    facts = {"name": credential.name, "vault_type": credential.vault_type}
    audit.append(tx, guard.actor(), event, f"credential:{credential.id}", **facts, **details)
