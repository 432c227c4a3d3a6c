"""The grant of a request that may open a terminal: handed on in its environment."""

from typing import TYPE_CHECKING

from netstacks.instance.admission import Grant

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_GRANT = "netstacks.grant"


class granted:  # noqa: N801 - used as a function
    """Around a request: one that begins to open a terminal takes the grant out of the environment."""

    def __init__(self, environ: "WSGIEnvironment", grant: Grant) -> None:
        self._environ = environ
        environ[_GRANT] = grant

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        if grant := take_grant(self._environ):
            grant.done()


def take_grant(environ: "WSGIEnvironment") -> Grant | None:
    """The grant of a request that begins to open a terminal, which calls `done` from now on."""
    grant: Grant | None = environ.pop(_GRANT, None)
    return grant
