"""The other pages in a real browser: forms, replay, looks."""

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.browser import DESKTOP, PHONE, TABLET, Browser
from tests.controller import ADMIN, Api, until

PAGES = {
    "devices": "/",
    "sessions": "/sessions",
    "credentials": "/credentials",
    "host-keys": "/admin/host-keys",
    "audit": "/admin/audit",
    "users": "/admin/users",
    "roles": "/admin/roles",
    "account": "/account",
}
LONG_NAME = "core-router-1.a-point-of-presence-with-a-rather-long-name.frankfurt"


@pytest.fixture(scope="module")
def inhabited(admin: Api, recorded: str) -> str:
    """The session of `recorded`; the other lists have something in them too, with names as long as they come."""
    credential = admin.add_credential("netops", "secret", name=LONG_NAME, description="TACACS+ of the whole backbone")
    admin.add_device(
        f"{LONG_NAME}.example.net",
        2222,
        name=LONG_NAME,
        site="Frankfurt",
        manufacturer="Cisco",
        model="ASR 1001-X",
        description="Upstream A",
        default_credential_id=credential["id"],
        algorithms="legacy",
    )
    admin.add_device("2001:db8::12", 22, name="edge-2", site="Berlin", device_type="juniper_junos")
    admin.post(
        "/api/credentials/personal",
        {"name": "Mine", "credential_type": "ssh_password", "username": "lee", "secret": "x"},
    )
    admin.post(
        "/api/users",
        {
            "username": "j.w.vandermeer-operations",
            "display_name": "Johanna van der Meer",
            "email": f"{LONG_NAME}@example.net",
            "role": "operator",
            "password": "a password of hers",
        },
    )
    return recorded


def show(browser: Browser, path: str) -> None:
    """Opens a page and waits until it is whole."""
    browser.open(path)
    browser.wait_for("Log out")
    if path.endswith("/replay"):
        wait_for_replay(browser)


def wait_for_replay(browser: Browser) -> None:
    until(lambda: "recorded" in browser.run("return document.querySelector('.ap-term')?.innerText ?? ''"), "the replay")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_whole(browser: Browser, inhabited: str, scheme: str) -> None:
    browser.prefer(scheme)
    for name, path in (PAGES | {"replay": f"/sessions/{inhabited}/replay"}).items():
        show(browser, path)
        browser.screenshot(f"{name}-{scheme}")
        assert browser.errors() == [], name


@pytest.mark.parametrize(("device", "size"), [("phone", PHONE), ("tablet", TABLET)])
def test_every_page_fits_a_smaller_screen(browser: Browser, inhabited: str, device: str, size: tuple[int, int]) -> None:
    browser.resize(size)
    for name, path in (PAGES | {"replay": f"/sessions/{inhabited}/replay"}).items():
        show(browser, path)
        browser.screenshot(f"{name}-{device}")
        assert browser.run("return document.documentElement.scrollWidth") <= size[0], name


def test_everything_that_can_be_used_has_a_name(browser: Browser, inhabited: str) -> None:
    for name, path in PAGES.items():
        show(browser, path)
        for element in browser.driver.find_elements("css selector", "a, button, input, select, textarea"):
            assert not element.is_displayed() or element.accessible_name, (name, element.get_attribute("outerHTML"))


def test_a_recording_is_replayed(browser: Browser, recorded: str) -> None:
    browser.open("/sessions")
    browser.click_on(f'a[href="/sessions/{recorded}/replay"]')
    wait_for_replay(browser)
    browser.find("[name=speed]").send_keys("4")
    wait_for_replay(browser)
    assert browser.errors() == []


def test_a_device_is_added_changed_and_deleted(browser: Browser) -> None:
    browser.open("/")
    browser.click("Add device")
    browser.fill(name="edge-7", host="not a host!")
    browser.type(Keys.ENTER)
    browser.wait_for("Address: 'not a host!' is neither")
    browser.fill(host="192.0.2.7")
    browser.type(Keys.ENTER)
    browser.wait_for("The device was added.")
    browser.click("Edit edge-7")
    browser.fill(site="Berlin")
    browser.screenshot("device-form")
    browser.type(Keys.ENTER)
    browser.wait_for("edge-7 was saved.")
    browser.wait_for("Berlin")
    browser.click("Delete edge-7")
    browser.wait_for("Delete edge-7?")
    browser.click_on("dialog[open] [type=submit]")
    browser.wait_for("edge-7 was deleted.")
    browser.wait_for("192.0.2.7", gone=True)


@pytest.mark.parametrize(("device", "size"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_how_a_device_is_spoken_to_is_folded_away_and_kept(
    browser: Browser, admin: Api, device: str, size: tuple[int, int]
) -> None:
    as_it_is = {"algorithms": "antique", "encoding": "koi8-u", "lines": 5, "patience_secs": 90}
    name = f"old-on-{device}"
    path = f"/api/devices/{admin.add_device('192.0.2.8', 22, name=name, **as_it_is)['id']}"
    browser.resize(size)
    browser.open(f"/?q={name}")
    browser.wait_for("antique SSH")
    browser.click(f"Edit {name}")
    is_folded = "return !document.querySelector('dialog[open] [name=lines]').checkVisibility()"
    assert browser.run(is_folded)
    browser.screenshot(f"device-form-folded-{device}")

    browser.run("document.querySelector('dialog[open] summary').focus()")
    browser.type(Keys.ENTER)
    until(lambda: not browser.run(is_folded), "the part unfolds")
    browser.run("document.querySelector('dialog[open] summary').scrollIntoView()")
    browser.screenshot(f"device-form-unfolded-{device}")
    assert browser.run("return document.querySelector('dialog[open]').scrollWidth") <= size[0]
    assert browser.find("dialog[open] [name=encoding]").get_attribute("value") == "koi8-u"
    browser.type(Keys.TAB, "Legacy", Keys.TAB, Keys.TAB)
    browser.type(Keys.BACKSPACE, "7")
    browser.type(Keys.ENTER)
    browser.wait_for(f"{name} was saved.")
    saved = admin.get(path)
    assert {key: saved[key] for key in as_it_is} == as_it_is | {"algorithms": "legacy", "lines": 7}

    # A wrong value in the folded part is shown.
    browser.click(f"Edit {name}")
    assert browser.run(is_folded)
    browser.run("document.querySelector('dialog[open] [name=lines]').value = 1001")
    browser.fill(name=name)
    browser.type(Keys.ENTER)
    until(lambda: not browser.run(is_folded), "the wrong field is shown")
    until(lambda: browser.run("return document.activeElement.name") == "lines", "the focus is there")
    browser.click("Cancel")

    # So is one that only the controller finds wrong.
    browser.click(f"Edit {name}")
    assert browser.run(is_folded)
    browser.run("document.querySelector('dialog[open] [name=encoding]').selectedOptions[0].value = 'utf-16'")
    browser.fill(name=name)
    browser.type(Keys.ENTER)
    browser.wait_for("Character set: 'utf-16' cannot be used")
    until(lambda: not browser.run(is_folded), "the wrong field is shown")

    browser.open("/")
    browser.click("Add device")
    assert browser.run(is_folded)
    fields = "const {algorithms, encoding} = document.querySelector('dialog[open] form').elements;"
    assert browser.run(f"{fields} return [algorithms.value, encoding.value, encoding.length]") == [
        "modern",
        "utf-8",
        12,
    ]


def test_a_form_survives_an_expired_log_in(browser: Browser) -> None:
    browser.open("/credentials")
    browser.click("Add credential")
    browser.fill(name="My TACACS", username="lee", secret="s3cret")
    browser.driver.delete_cookie("netstacks_page")
    browser.type(Keys.ENTER)
    browser.wait_for("Your log-in has expired")
    browser.screenshot("log-in-expired")
    browser.type(ADMIN[1], Keys.ENTER)
    browser.wait_for("The credential was added.")
    browser.wait_for("My TACACS")


def test_a_form_survives_a_log_in_in_another_window(browser: Browser) -> None:
    first = browser.driver.current_window_handle
    browser.open("/")
    browser.new_tab()
    browser.open("/")
    browser.driver.delete_cookie("netstacks_page")
    browser.log_in(*ADMIN)
    browser.driver.switch_to.window(first)
    browser.click("Add device")
    browser.fill(name="edge-8", host="192.0.2.8")
    browser.type(Keys.ENTER)
    browser.wait_for("The device was added.")


def test_a_secret_is_revealed_for_a_reason(browser: Browser, admin: Api) -> None:
    admin.post(
        "/api/credentials/personal",
        {"name": "Revealed", "credential_type": "generic_secret", "secret": "the secret itself"},
    )
    browser.open("/credentials")
    browser.click("Reveal Revealed")
    browser.type("ticket 4711", Keys.ENTER)
    browser.wait_for("the secret itself")
    browser.type(Keys.ESCAPE)
    browser.wait_for("the secret itself", gone=True)
    browser.open("/admin/audit?event=credential.revealed")
    browser.wait_for("ticket 4711")


def test_lists_that_are_empty_say_what_to_do(browser: Browser) -> None:
    browser.open("/?q=no-such-device")
    browser.wait_for("No device matches")
    browser.screenshot("devices-no-match")
    browser.click("Show all devices")
    until(lambda: browser.path == "/", "the whole list")


def test_the_pages_stay_usable_in_a_small_window(browser: Browser) -> None:
    browser.resize((DESKTOP[0], 400))
    browser.open("/")
    browser.click("Add device")
    submit = browser.find("dialog[open] [type=submit]")
    browser.run("arguments[0].scrollIntoView()", submit)
    assert submit.is_displayed()
