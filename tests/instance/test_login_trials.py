"""A stored secret is tried once at a device, by one connection at a time, whatever instances they come from."""

import pytest

from netstacks import greenlets
from netstacks.errors import DeviceLoginRefused, DeviceUnreachable
from netstacks.instance.login_trials import Trial
from netstacks.store import credentials
from netstacks.store.credentials import Secrets
from netstacks.store.login_trials import HOLD_OFFS_SECS, CredentialAddress
from netstacks.store.pool import Database
from netstacks.store.vault import Vault
from netstacks.terminal.dialogue import Dialogue


@pytest.fixture
def place(database: Database) -> CredentialAddress:
    vault = Vault(database, "5e" * 32)
    vault.unlock()
    with database.transaction() as tx:
        credential = credentials.create(
            tx, vault, Secrets("s3cret"), name="lab", credential_type="ssh_password", username="ada"
        )
    return CredentialAddress(credential.id, "192.0.2.1", 22, "1")


def trial_at(database: Database, place: CredentialAddress) -> Trial:
    """A trial with the facts that were known before it began."""
    trial = Trial(database, place, Dialogue())
    with database.transaction() as tx:
        trial.read(tx)
    return trial


def tried(database: Database, place: CredentialAddress, *, outcome: Exception | None = None) -> bool:
    """Whether the secret is sent."""
    trial, sent = trial_at(database, place), False
    try:
        with trial.outcome():
            trial.begin()
            sent = True
            if outcome is not None:
                raise outcome
    except (DeviceLoginRefused, DeviceUnreachable):
        pass
    return sent


def refusal() -> DeviceLoginRefused:
    return DeviceLoginRefused("192.0.2.1:22 refused the password of ada", refused_secret=True)


def set_back(database: Database, secs: float) -> None:
    with database.transaction() as tx:
        tx.execute("UPDATE login_trials SET refused_until = refused_until - make_interval(secs => %s)", [secs])


def test_a_refused_secret_is_not_sent_again_for_a_while_that_grows(
    database: Database, place: CredentialAddress
) -> None:
    for hold_off_secs in (*HOLD_OFFS_SECS, HOLD_OFFS_SECS[-1]):
        assert tried(database, place, outcome=refusal())
        set_back(database, hold_off_secs - 30)
        assert not tried(database, place)
        set_back(database, 30)


def test_a_change_of_the_credential_or_the_device_ends_the_wait(database: Database, place: CredentialAddress) -> None:
    assert tried(database, place, outcome=refusal())
    changed = CredentialAddress(place.credential_id, place.host, place.port, "2")
    assert tried(database, changed, outcome=refusal())
    assert not tried(database, changed)
    # And begins anew.
    set_back(database, HOLD_OFFS_SECS[0])
    assert tried(database, changed)


def test_other_devices_and_credentials_are_free(database: Database, place: CredentialAddress) -> None:
    assert tried(database, place, outcome=refusal())
    assert tried(database, CredentialAddress(place.credential_id, "192.0.2.2", 22, "1"))
    assert tried(database, CredentialAddress(place.credential_id, "192.0.2.1", 2222, "1"))


def test_a_device_that_did_not_answer_has_refused_nothing(database: Database, place: CredentialAddress) -> None:
    assert tried(database, place, outcome=DeviceUnreachable("no answer"))
    assert tried(database, place)


def test_a_typed_answer_that_is_refused_says_nothing_of_the_stored_secret(
    database: Database, place: CredentialAddress
) -> None:
    assert tried(database, place, outcome=DeviceLoginRefused("wrong code"))
    assert tried(database, place)


def test_a_secret_that_was_refused_on_the_way_to_a_success_is_not_known_to_be_good(
    database: Database, place: CredentialAddress
) -> None:
    assert tried(database, place)
    trial = trial_at(database, place)
    with trial.outcome():
        trial.begin()
        trial.refused("192.0.2.1:22 refused the password of ada")
    assert not tried(database, place)
    set_back(database, HOLD_OFFS_SECS[0])
    assert race(database, place, refusal()) == (1, 1)


def race(database: Database, place: CredentialAddress, outcome: Exception | None) -> tuple[int, int]:
    """Ten connections at once: how many sent the secret in all, and the most at a time."""
    sending, most, sent = 0, 0, 0

    def log_in() -> None:
        nonlocal sending, most, sent
        trial = trial_at(database, place)
        try:
            with trial.outcome():
                trial.begin()
                sending, sent = sending + 1, sent + 1
                most = max(most, sending)
                greenlets.sleep(0.1)
                sending -= 1
                if outcome is not None:
                    raise outcome
        except DeviceLoginRefused:
            pass

    greenlets.joinall([greenlets.spawn("log-in", log_in) for _ in range(10)])
    return sent, most


def test_concurrent_log_ins_try_a_wrong_secret_once(database: Database, place: CredentialAddress) -> None:
    assert race(database, place, refusal()) == (1, 1)


def test_a_secret_that_is_known_to_be_right_is_sent_by_all_at_once(
    database: Database, place: CredentialAddress
) -> None:
    assert tried(database, place)
    sent, most = race(database, place, None)
    assert sent == 10
    assert most > 1


def test_a_trial_of_an_instance_that_died_is_over_with_its_lease(database: Database, place: CredentialAddress) -> None:
    dead = Trial(database, place, Dialogue())
    dead.begin()
    with database.transaction() as tx:
        tx.execute("UPDATE login_trials SET trying_until = now() - interval '1 second'")
    assert tried(database, place)


def test_a_secret_that_is_refused_is_looked_up_before_it_is_sent_again(
    database: Database, place: CredentialAddress
) -> None:
    assert tried(database, place)
    trial = trial_at(database, place)
    with trial.outcome():
        trial.begin()
        trial.refused("192.0.2.1:22 refused the password of ada")
        with pytest.raises(DeviceLoginRefused):
            trial.begin()


def test_a_released_trial_blocks_no_other(database: Database, place: CredentialAddress) -> None:
    asked = Trial(database, place, Dialogue())
    asked.begin()
    asked.release()
    assert tried(database, place)
