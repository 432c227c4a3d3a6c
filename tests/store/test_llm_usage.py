"""The account of calls: one row per day, user and provider, however many calls end at once."""

import threading
from uuid import UUID, uuid4

from netstacks.store import llm_usage
from netstacks.store.llm_usage import Usage
from netstacks.store.pool import Database

ANN, BOB = uuid4(), uuid4()
CLAUDE, LLAMA = uuid4(), uuid4()


def add(database: Database, user_id: UUID | None, provider_id: UUID, *tokens: int, failed: bool = False) -> None:
    input_tokens, output_tokens = tokens
    with database.transaction() as tx:
        llm_usage.add(
            tx,
            user_id=user_id,
            provider_id=provider_id,
            failed=failed,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
        )


def test_calls_are_summed_by_user_and_by_provider(database: Database) -> None:
    add(database, ANN, CLAUDE, 10, 1)
    add(database, ANN, CLAUDE, 20, 2)
    add(database, ANN, LLAMA, 100, 50, failed=True)
    add(database, BOB, CLAUDE, 5, 5)
    with database.transaction() as tx:
        assert llm_usage.today_of_user(tx, ANN) == Usage(3, 1, 130, 53)
        assert llm_usage.today_of_user(tx, uuid4()) == Usage(0, 0, 0, 0)
        assert llm_usage.today_by_provider(tx) == {CLAUDE: Usage(3, 0, 35, 8), LLAMA: Usage(1, 1, 100, 50)}
    assert Usage(3, 1, 130, 53).tokens == 183


def test_calls_of_no_user_have_one_row_too(database: Database) -> None:
    for _ in range(3):
        add(database, None, CLAUDE, 1, 1)
    with database.transaction() as tx:
        assert tx.execute("SELECT user_id, requests FROM llm_usage").fetchall() == [{"user_id": None, "requests": 3}]
        assert llm_usage.today_by_provider(tx) == {CLAUDE: Usage(3, 0, 3, 3)}


def test_yesterday_does_not_count(database: Database) -> None:
    add(database, ANN, CLAUDE, 10, 1)
    with database.transaction() as tx:
        tx.execute("UPDATE llm_usage SET day = day - 1")
        assert llm_usage.today_of_user(tx, ANN) == Usage(0, 0, 0, 0)
        assert llm_usage.today_by_provider(tx) == {}
    add(database, ANN, CLAUDE, 3, 4)
    with database.transaction() as tx:
        assert llm_usage.today_of_user(tx, ANN) == Usage(1, 0, 3, 4)


def test_the_day_is_that_of_utc_whatever_the_time_zone_of_the_connection(database: Database) -> None:
    days = set()
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        # These two are a day apart at any time.
        with database.transaction() as tx:
            tx.execute(f"SET LOCAL TIME ZONE '{zone}'".encode())
            llm_usage.add(tx, user_id=ANN, provider_id=CLAUDE, failed=False, input_tokens=1, output_tokens=1)
            days |= {row["day"] for row in tx.execute("SELECT day FROM llm_usage")}
    with database.transaction() as tx:
        assert days == {row["day"] for row in tx.execute("SELECT (now() AT TIME ZONE 'UTC')::date AS day")}


def test_no_call_is_lost_when_many_end_at_once(database: Database) -> None:
    def work() -> None:
        for _ in range(10):
            add(database, ANN, CLAUDE, 1, 1)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    with database.transaction() as tx:
        assert llm_usage.today_of_user(tx, ANN) == Usage(60, 0, 60, 60)
