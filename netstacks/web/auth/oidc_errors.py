"""Why a log-in by single sign-on is refused. The texts are sentences for the user, and contain no secret."""

from netstacks.errors import NetstacksError


class SsoRefused(NetstacksError):
    """The log-in is refused; `reason` is a word for the audit log."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class ProviderUnavailable(SsoRefused):
    """The identity provider does not answer, or not as OpenID Connect requires."""

    def __init__(self, text: str) -> None:
        super().__init__("provider_unavailable", text)


class UnknownKey(SsoRefused):
    """The provider has signed with a key that its key set does not have: it may have changed its keys."""

    def __init__(self) -> None:
        super().__init__("unknown_key", "The identity provider has signed with a key that it does not publish.")
