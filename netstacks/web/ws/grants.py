"""The admission grant of a request that may open a terminal, passed in the WSGI environment."""

from typing import TYPE_CHECKING

from netstacks.instance.admission import Grant

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_GRANT = "netstacks.grant"


class granted:  # noqa: N801 - used as a function
    """Context manager around a request: releases the grant unless the request has taken it with `take_grant`."""

    def __init__(self, environ: "WSGIEnvironment", grant: Grant) -> None:
        self._environ = environ
        environ[_GRANT] = grant

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        if grant := take_grant(self._environ):
            grant.done()


def take_grant(environ: "WSGIEnvironment") -> Grant | None:
    """Takes the grant of the request, if it has one. The caller must call `done` when the terminal is open."""
    grant: Grant | None = environ.pop(_GRANT, None)
    return grant
