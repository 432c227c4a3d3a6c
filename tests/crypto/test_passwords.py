"""Passwords: an unknown user's takes as long to refuse as a known one's."""

from netstacks.crypto import passwords


def test_the_dummy_hash_of_unknown_users_has_our_parameters() -> None:
    assert not passwords._hasher.check_needs_rehash(passwords._DUMMY)


def test_no_password_fits_a_user_without_one() -> None:
    assert not passwords.is_password("what an unknown user's password is compared with", None)
