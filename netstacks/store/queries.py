"""Named SQL: each `sql/NAME.sql` holds statements headed by `-- name: ...`, loaded once at import."""

import re
from importlib import resources
from typing import LiteralString, cast

_HEAD = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def load(name: str) -> dict[str, LiteralString]:
    """Returns the statements of `sql/{name}.sql` by their names."""
    text = (resources.files("netstacks.store") / "sql" / f"{name}.sql").read_text()
    _, *parts = _HEAD.split(text)
    # Literal, as far as injection goes: it is a file of this package.
    return {key: cast(LiteralString, statement.strip()) for key, statement in zip(parts[::2], parts[1::2], strict=True)}
