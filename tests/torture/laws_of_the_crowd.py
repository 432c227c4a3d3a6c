"""Laws on the standing crowd, checked in the calm after the last fault."""

from collections.abc import Iterator, Sequence

from netstacks.terminal.frames import CloseCode
from tests.torture.history import CrowdMember


def the_crowd_is_whole(crowd: Sequence[CrowdMember]) -> Iterator[str]:
    """Each member is at the terminal that it opened first, and one instance owns it; or its session has ended.

    When and why sessions may end is in the laws of ends.
    """
    for each in crowd:
        if each.refusal and not (each.has_ended and each.refusal.startswith(f"{CloseCode.ENDED.value}:")):
            yield f"{each.session}: refused for good: {each.refusal}"
        elif not each.has_ended and not each.is_connected:
            yield f"{each.session}: lives, and its client is not connected to it in the calm"
        elif not each.has_ended and not each.echoes:
            yield f"{each.session}: a key is not echoed"
        if len(each.holders) != (0 if each.has_ended else 1):
            state = "ended" if each.has_ended else "live"
            yield f"{each.session}: connections to the device of a session that is {state}: {each.holders}"
