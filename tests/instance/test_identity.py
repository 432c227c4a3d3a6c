import re

from netstacks.instance.identity import differing_secrets, new_instance_id, secrets_fingerprint

KEY, OTHER_KEY = bytes(range(32)).hex(), bytes(32).hex()
MINE = secrets_fingerprint([KEY], ["a secret"])


def test_an_instance_id_is_the_prefix_and_eight_hex_digits() -> None:
    assert re.fullmatch(r"ctrl-[0-9a-f]{8}", new_instance_id())
    assert re.fullmatch(r"blue-[0-9a-f]{8}", new_instance_id("blue"))


def test_no_two_processes_share_an_id() -> None:
    assert len({new_instance_id() for _ in range(100)}) == 100


def test_the_same_secrets_have_the_same_fingerprint() -> None:
    assert secrets_fingerprint([KEY], ["a secret"]) == MINE


def test_a_fingerprint_contains_no_secret() -> None:
    assert KEY not in MINE
    assert "a secret" not in MINE


def test_a_jwt_secret_cannot_be_guessed_without_the_vaults_key() -> None:
    """The same weak secret looks different in every installation."""
    assert MINE.split()[1] != secrets_fingerprint([OTHER_KEY], ["a secret"]).split()[1]


def test_the_secret_that_differs_is_named() -> None:
    assert differing_secrets(MINE, [secrets_fingerprint([KEY], ["another"])]) == ("JWT_SECRET",)
    assert differing_secrets(MINE, [secrets_fingerprint([OTHER_KEY], ["a secret"])]) == ("VAULT_MASTER_KEY",)


def test_one_accepted_fingerprint_is_enough() -> None:
    assert differing_secrets(MINE, [secrets_fingerprint([OTHER_KEY], ["another"]), MINE]) == ()


def test_the_first_instance_differs_from_no_other() -> None:
    assert differing_secrets(MINE, []) == ()


def test_a_malformed_fingerprint_says_nothing() -> None:
    for text in ("", " ", ", ,", "none", "vault:", "jwt:1 vault:2"):
        assert differing_secrets(MINE, [text]) == ()
        assert differing_secrets(MINE, [text, secrets_fingerprint([KEY], ["another"])]) == ("JWT_SECRET",)


def test_while_the_master_key_changes_one_of_two_in_common_is_enough() -> None:
    """In whichever order the instances are restarted, and when the old key is left out again."""
    old, both, new = (secrets_fingerprint(keys, ["a secret"]) for keys in ([KEY], [OTHER_KEY, KEY], [OTHER_KEY]))
    for mine, theirs in ((both, old), (old, both), (new, both), (both, new)):
        assert differing_secrets(mine, [theirs]) == ()
    assert differing_secrets(old, [new]) == ("VAULT_MASTER_KEY",)
    assert differing_secrets(old, [secrets_fingerprint([OTHER_KEY, KEY], ["another"])]) == ("JWT_SECRET",)


def test_while_the_jwt_secret_changes_one_of_two_in_common_is_enough() -> None:
    """Both master keys may change at the same time."""
    old, both, new = (secrets_fingerprint([KEY], each) for each in (["old", None], ["old", "new"], ["new", None]))
    for mine, theirs in ((both, old), (old, both), (new, both), (both, new)):
        assert differing_secrets(mine, [theirs]) == ()
    assert differing_secrets(old, [new]) == ("JWT_SECRET",)
    everything = secrets_fingerprint([OTHER_KEY, KEY], ["new", "old"])
    for pair in (old, new, secrets_fingerprint([OTHER_KEY], ["new"])):
        assert differing_secrets(pair, [everything]) == ()
