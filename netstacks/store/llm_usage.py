"""Usage of the language model providers by day, user and provider; token budgets are checked against it."""

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
        """Input and output tokens together, as budgets count them."""
        return self.input_tokens + self.output_tokens


def add(
    tx: Transaction, *, provider_id: UUID, user_id: UUID | None, failed: bool, input_tokens: int, output_tokens: int
) -> None:
    """Counts a finished call on the current UTC day; `user_id` is None for a call of the controller itself.

    A failed call may have used tokens too. The row is locked until the transaction ends.
    """
    values = {"provider_id": provider_id, "user_id": user_id, "failures": int(failed)}
    tx.execute(_SQL["add"], values | {"input_tokens": input_tokens, "output_tokens": output_tokens})


def today_of_user(tx: Transaction, user_id: UUID) -> Usage:
    """The user's usage of all providers on the current UTC day."""
    with tx.cursor(row_factory=class_row(Usage)) as cursor:
        row = cursor.execute(_SQL["today_of_user"], {"user_id": user_id}).fetchone()
    assert row is not None
    return row


def today_by_provider(tx: Transaction) -> dict[UUID, Usage]:
    """The usage of each provider on the current UTC day; unused providers are absent."""
    return {row.pop("provider_id"): Usage(**row) for row in tx.execute(_SQL["today_by_provider"])}
