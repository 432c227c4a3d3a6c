"""The check that a change is based on the newest version: two administrators may edit the same object at once."""

from netstacks.errors import ChangedMeanwhile


def check(what: str, version: int, by: str | None, *, seen: int | None) -> None:
    """Compares the stored version with `seen`, that of a caller; None, from a client that sends none, skips it.

    `by` is the user who has made the last change. Raises ChangedMeanwhile.
    """
    if seen not in (None, version):
        raise ChangedMeanwhile(
            f"{what} was changed meanwhile by {by or 'another administrator'}, so nothing was saved or deleted: load"
            " the newest values and try again"
        )
