"""Passwords: an unknown user's takes as long to refuse as a known one's."""

from netstacks.crypto import passwords


def test_what_an_unknown_users_password_is_compared_with_has_our_parameters() -> None:
    assert not passwords._hasher.check_needs_rehash(passwords._DUMMY)


def test_no_password_is_that_of_a_user_who_has_none() -> None:
    assert not passwords.is_password("what an unknown user's password is compared with", None)
