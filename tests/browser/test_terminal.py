"""The terminal page in a real browser, on a real device, over a network that fails."""

import hashlib
import re

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.browser import DESKTOP, PHONE, Browser
from tests.browser.silence import connect, pace, stop_clock_at, wait_for_hint, wait_for_state
from tests.controller import ADMIN, Api, until
from tests.sshd import Sshd
from tests.wire import Wire


@pytest.fixture
def terminal(browser: Browser, known_lab: str) -> Browser:
    """The browser with a terminal that is connected, its prompt in sight."""
    return connect(browser, known_lab)


def count_slowly(browser: Browser, lines: int) -> None:
    """Makes the device print numbered lines for some seconds."""
    browser.type(f"for i in $(seq -w {lines}); do echo line-$i; sleep 0.01; done; echo counted-$?", Keys.ENTER)


def keep(browser: Browser) -> None:
    """Sets a variable, by which the shell is known again."""
    browser.type("here=kept; echo no''ted", Keys.ENTER)
    until(lambda: "\nnoted" in browser.screen, "the shell has it")


def test_from_the_log_in_to_the_device(stranger: Browser, lab: str, sshd: Sshd) -> None:
    browser = stranger
    browser.open("/")
    browser.fill(username=ADMIN[0], password="wrong")
    browser.type(Keys.ENTER)
    browser.wait_for("The user name or the password is not correct.")
    browser.screenshot("login-refused")
    assert all("401" in error for error in browser.errors())
    browser.fill(password=ADMIN[1])
    browser.type(Keys.ENTER)
    browser.wait_for("lab-1")
    browser.screenshot("devices")
    browser.click("lab-1")
    browser.switch_to_new_tab()
    browser.wait_for("Is this the right device?")
    browser.wait_for("Waiting for your host key decision")
    browser.screenshot("host-key-first-use")
    browser.click("Trust and connect")
    browser.wait_for("Connected")
    browser.type("echo he''llo from $((40 + 2))", Keys.ENTER)
    until(lambda: "hello from 42" in browser.screen, "the answer of the device")
    browser.screenshot("terminal")
    assert browser.errors() == []


def test_a_cut_network_costs_no_byte_and_repeats_none(terminal: Browser, wire: Wire) -> None:
    count_slowly(terminal, 400)
    until(lambda: "line-100" in terminal.received, "a good part of the output")
    # The countdown does not end before the button is pressed.
    stop_clock_at(terminal, "Connection lost")
    wire.cut()
    terminal.wait_for("Connection lost")
    until(lambda: re.search(r"Reconnecting in \d+ s", terminal.text), "the countdown")
    terminal.type("x")
    wait_for_hint(terminal, "Not sent: the terminal is not connected")
    terminal.screenshot("terminal-lost")
    wire.restore()
    terminal.click("Reconnect now")
    pace(terminal, 1)
    terminal.wait_for("Connected")
    until(lambda: "counted-0" in terminal.screen, "the end of the output")
    printed = re.findall(r"line-(\d+)\r", terminal.received)
    assert printed == [f"{number:03}" for number in range(1, 401)]
    assert "lab> x" not in terminal.screen


def test_the_page_reconnects_by_itself(terminal: Browser, wire: Wire) -> None:
    wire.cut()
    wait_for_state(terminal, "Connection lost")
    wire.restore()
    terminal.wait_for("Connected")
    terminal.type("echo a''live", Keys.ENTER)
    until(lambda: "alive" in terminal.screen, "the same shell")


def test_a_reload_shows_the_newest_output_and_goes_on(terminal: Browser) -> None:
    session = terminal.path
    assert session.startswith("/terminals/")
    terminal.type("here=kept; echo be''fore", Keys.ENTER)
    until(lambda: "before" in terminal.screen, "some output")
    terminal.driver.refresh()
    terminal.wait_for("Connected")
    until(lambda: "before" in terminal.screen, "the output from before")
    assert terminal.path == session
    terminal.type("echo $here-here", Keys.ENTER)
    until(lambda: "kept-here" in terminal.screen, "the same shell")


def test_the_device_gets_the_size_of_the_window(terminal: Browser) -> None:
    terminal.type("stty size", Keys.ENTER)
    size = until(lambda: re.search(r"^(\d+) (\d+)$", terminal.screen, re.MULTILINE), "a size")
    shown = "return document.querySelectorAll('.xterm-rows > div').length"
    before = terminal.run(shown)
    terminal.resize((900, 500))
    until(lambda: terminal.run(shown) < before, "a terminal with fewer rows")
    terminal.type("clear; stty size", Keys.ENTER)
    until(
        lambda: (found := re.search(r"^(\d+) (\d+)$", terminal.screen, re.MULTILINE)) and found[0] != size[0],
        "another size",
    )
    rows, cols = map(int, re.findall(r"^(\d+) (\d+)$", terminal.screen, re.MULTILINE)[-1])
    assert rows < int(size[1])
    assert cols < int(size[2])


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_the_last_line_is_whole(terminal: Browser, size: tuple[int, int]) -> None:
    terminal.resize(size)
    terminal.type("seq 100; echo l''ast", Keys.ENTER)
    until(lambda: "\nlast" in terminal.screen, "the end of the output")
    terminal.screenshot(f"terminal-{size[0]}")
    below = "return document.querySelector('.xterm-screen').getBoundingClientRect().bottom - innerHeight"
    # A terminal takes its new size a moment later.
    until(lambda: terminal.run(below) <= 0, "the last line is whole")


def test_a_large_paste_arrives_whole(terminal: Browser) -> None:
    terminal.type("stty -echo -icanon; echo re''ady; head -c 200000 | sha256sum; stty sane", Keys.ENTER)
    until(lambda: "\nready" in terminal.screen, "the reader of the paste")
    terminal.paste("0123456789" * 20_000)
    digest = hashlib.sha256(b"0123456789" * 20_000).hexdigest()
    until(lambda: digest in terminal.screen, "the checksum of what was pasted")


def test_the_end_of_the_session_is_told_and_not_fought(terminal: Browser) -> None:
    terminal.type("exit", Keys.ENTER)
    terminal.wait_for("Session ended")
    terminal.screenshot("terminal-ended")
    terminal.click("New session")
    terminal.wait_for("Connected")


def test_a_session_is_ended_after_asking(terminal: Browser) -> None:
    terminal.click("End session")
    terminal.wait_for("End this session?")
    terminal.find("dialog[open] button[value=end]").click()
    terminal.wait_for("Session ended")
    terminal.driver.refresh()
    terminal.wait_for("Session ended")
    assert terminal.button("Replay")


def test_a_second_window_takes_over_and_the_first_takes_it_back(terminal: Browser) -> None:
    first = terminal.driver.current_window_handle
    keep(terminal)
    path = terminal.path
    terminal.new_tab()
    terminal.open(path)
    terminal.wait_for("Connected")
    terminal.driver.switch_to.window(first)
    terminal.wait_for("Taken over")
    terminal.screenshot("terminal-taken")
    terminal.click("Resume here")
    terminal.wait_for("Connected")
    terminal.type("echo $here-here", Keys.ENTER)
    until(lambda: "kept-here" in terminal.screen, "the same shell")


def test_an_expired_log_in_is_renewed_over_the_terminal(terminal: Browser, wire: Wire) -> None:
    keep(terminal)
    terminal.driver.delete_cookie("netstacks_page")
    wire.cut()
    wait_for_state(terminal, "Connection lost")
    wire.restore()
    terminal.wait_for("Your log-in has expired")
    terminal.screenshot("terminal-log-in-expired")
    terminal.fill(password=ADMIN[1])
    terminal.type(Keys.ENTER)
    terminal.wait_for("Connected")
    terminal.type("echo $here-here", Keys.ENTER)
    until(lambda: "kept-here" in terminal.screen, "the same shell")


def test_a_refused_log_in_to_the_device_is_told_and_not_repeated(
    browser: Browser, admin: Api, known_lab: str, sshd: Sshd
) -> None:
    wrong = admin.add_credential(sshd.user, "not the password", name="Wrong password")
    device = admin.add_device(sshd.host, sshd.port, name="lab-wrong", default_credential_id=wrong["id"])
    browser.open(f"/terminals/new?device={device['id']}")
    browser.wait_for("Not connected")
    browser.screenshot("terminal-refused")
    assert "Try again" in browser.text
    browser.click("Choose a credential")
    browser.wait_for("Log in to lab-wrong with")
    browser.screenshot("terminal-credentials")
    browser.choose("Lab key")
    browser.click("Connect")
    browser.wait_for("Connected")


def test_a_changed_host_key_needs_more_than_one_click(browser: Browser, admin: Api, lab: str, sshd: Sshd) -> None:
    other = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
    admin.post("/api/host-keys", {"host": sshd.host, "port": sshd.port, "public_key": f"ssh-ed25519 {other}"})
    browser.open(f"/terminals/new?device={lab}")
    browser.wait_for("The host key has CHANGED")
    assert f"{ADMIN[0]}, 20" in browser.text
    browser.screenshot("host-key-changed")
    replace = browser.button("Replace the key and connect")
    assert not replace.is_enabled()
    browser.find("dialog[open] input[type=checkbox]").click()
    assert replace.is_enabled()
    browser.click("Refuse")
    browser.wait_for("Not connected")


def test_the_keyboard_leads_into_the_terminal_and_out_again(browser: Browser, known_lab: str) -> None:
    browser.find("input[type=search]").click()
    browser.type("lab-1")
    browser.wait_for("1 device found")
    browser.type(Keys.ARROW_DOWN)
    browser.type(Keys.ENTER)
    browser.switch_to_new_tab()
    browser.wait_for("Connected")
    browser.type("ec''ho typed", Keys.ENTER)
    until(lambda: "\ntyped" in browser.screen, "what was typed")
    browser.type(Keys.CONTROL + Keys.SHIFT + Keys.ARROW_UP)
    assert browser.driver.switch_to.active_element.accessible_name == "Share"
