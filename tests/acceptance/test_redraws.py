"""A device whose screen is costly to redraw delays its own viewers for a moment, and no other user."""

from tests.acceptance.lab import Lab
from tests.acceptance.sharing import Viewer, opened, share, told
from tests.controller import Controller, until

# The alignment pattern (DECALN) writes every cell. It is all that a redraw looks back on, which begins with a line if
# there is one.
FLOOD = r"printf '\033#8%.0s' $(seq 12000); printf floo''ded" + "\r"
GUESTS = 12


def test_viewers_of_a_flooded_screen_delay_no_other_client(controller: Controller, lab: Lab) -> None:
    other = opened(lab)
    terminal = opened(lab)
    terminal.type(FLOOD)
    terminal.expect("flooded", 90)
    token = share(terminal, max_viewers=GUESTS)
    guests = [Viewer(controller, token) for _ in range(GUESTS)]
    controller.login()
    other.type("echo still ty''ping\r")
    other.expect("still typing")
    for guest in guests:
        guest.joined()
        told(guest, b"this screen costs too much to redraw")
    terminal.type("echo goes o''n\r")
    for guest in guests:
        guest.expect("goes on")


def test_a_flooded_terminal_comes_back_at_the_largest_size(controller: Controller, lab: Lab) -> None:
    terminal = opened(lab)
    terminal.type(FLOOD)
    terminal.expect("flooded", 90)
    back = terminal.again(epoch=1, offset="tail", cols=1000, rows=1000).connected()
    until(lambda: b"this screen costs too much to redraw" in back.notices, "what was sent instead of the screen")
    back.type("stty size; echo do''ne\r")
    back.expect("done")
    assert b"300 500" in back.output
