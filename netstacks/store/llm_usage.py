"""How much was asked of the providers of language models, by day, user and provider: what budgets are held against."""

from dataclasses import dataclass
from uuid import UUID

from psycopg.rows import class_row

from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("llm_usage")


@dataclass(frozen=True)
class Usage:
    """Calls, how many of them failed, and the tokens that the providers counted."""

    requests: int
    failures: int
    input_tokens: int
    output_tokens: int

    @property
    def tokens(self) -> int:
        """Both kinds together, which is what a budget limits."""
        return self.input_tokens + self.output_tokens


def add(
    tx: Transaction, *, provider_id: UUID, user_id: UUID | None, failed: bool, input_tokens: int, output_tokens: int
) -> None:
    """Counts one call that has ended, on the present day of UTC; `user_id` is None for a call of the controller's own.

    A call that failed may have used tokens all the same. The row is locked until the end of the transaction.
    """
    values = {"provider_id": provider_id, "user_id": user_id, "failures": int(failed)}
    tx.execute(_SQL["add"], values | {"input_tokens": input_tokens, "output_tokens": output_tokens})


def today_of_user(tx: Transaction, user_id: UUID) -> Usage:
    """What the user has asked of all providers on the present day of UTC."""
    with tx.cursor(row_factory=class_row(Usage)) as cursor:
        row = cursor.execute(_SQL["today_of_user"], {"user_id": user_id}).fetchone()
    assert row is not None
    return row


def today_by_provider(tx: Transaction) -> dict[UUID, Usage]:
    """What was asked of each provider on the present day of UTC; those that were not asked are absent."""
    return {row.pop("provider_id"): Usage(**row) for row in tx.execute(_SQL["today_by_provider"])}
