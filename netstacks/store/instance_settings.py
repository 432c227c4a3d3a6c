"""The rows in which instances describe themselves to each other (cluster/instance_rows.py)."""

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from netstacks.cluster.instance_rows import InstanceRow
from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("instance_settings")
# Older rows are deleted: their instances are gone.
KEEP_SECS = 60.0


def put(tx: Transaction, row: InstanceRow) -> None:
    """Writes or renews the row of an instance, and deletes the rows of instances that are long gone."""
    facts = {
        "is_draining": row.is_draining,
        "why_no_registry": row.why_no_registry,
        "settings": dict(row.settings),
        "secrets": row.secrets,
        "reached": row.reached,
        "unreachable": dict(row.unreachable),
        "recorded": list(row.recorded),
    }
    columns = {"id": row.id, "host": row.host, "peer_address": row.peer_address, "version": row.version}
    tx.execute(_SQL["put"], {**columns, "registry": row.registry, "facts": Jsonb(facts)})
    tx.execute(_SQL["forget_old"], {"age_secs": KEEP_SECS})


def read_all(tx: Transaction) -> list[InstanceRow]:
    """All rows, also those of instances that may be gone: judge their age, and their witnesses where possible."""
    return [_row(columns) for columns in tx.execute(_SQL["all"])]


def remove(tx: Transaction, instance_id: str) -> None:
    tx.execute(_SQL["remove"], {"id": instance_id})


def _row(columns: Mapping[str, Any]) -> InstanceRow:
    # Another version may have written other facts, or the same ones in another form.
    facts = columns["facts"] if isinstance(columns["facts"], dict) else {}
    reached, recorded = facts.get("reached"), facts.get("recorded")
    return InstanceRow(
        id=columns["id"],
        host=columns["host"],
        peer_address=columns["peer_address"],
        version=columns["version"],
        registry=columns["registry"],
        seen_at=columns["seen_at"],
        age_secs=columns["age_secs"],
        is_draining=facts.get("is_draining") is True,
        why_no_registry=_text(facts.get("why_no_registry")),
        settings=_texts(facts.get("settings")),
        secrets=_text(facts.get("secrets")),
        reached=reached if isinstance(reached, int) else 0,
        unreachable=_texts(facts.get("unreachable")),
        recorded=tuple(filter(_text, recorded)) if isinstance(recorded, list) else (),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> dict[str, str]:
    return {name: text for name, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else {}
