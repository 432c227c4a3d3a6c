"""How long PostgreSQL has been away, by the attempts of all pools."""

from netstacks.store.contact import Contact
from tests.waits import until


def test_an_outage_lasts_from_the_first_failure_to_the_next_answer() -> None:
    contact = Contact()
    assert contact.away_secs == 0.0
    contact.failed()
    until(lambda: contact.away_secs > 0.02, "some time without an answer")
    contact.failed()
    assert contact.away_secs > 0.02
    contact.answered()
    assert contact.away_secs == 0.0
