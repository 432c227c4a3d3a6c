"""The summary of a recording, in a real browser with a scripted provider behind the controller."""

from collections.abc import Callable, Iterator

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.browser import DESKTOP, PHONE, Browser
from tests.controller import Api
from tests.llm.scripted_provider import Behaviour, ScriptedProvider, answer, cut_by_fin, stall, status

TEXT = """## Done
1. Looked at `show version`
2. Left: **logged out** <img src=x onerror="document.title='owned'">

```
exit
```
## Changed
nothing

## Errors
none"""


@pytest.fixture
def page(browser: Browser, recorded: str) -> Callable[[], Browser]:
    """`page()` opens the replay of the recording, or opens it again."""

    def open_page() -> Browser:
        browser.open(f"/sessions/{recorded}/replay")
        browser.wait_for("Summary")
        return browser

    return open_page


@pytest.fixture
def answers(admin: Api) -> Iterator[Callable[[Behaviour], None]]:
    """`answers(behaviour)` is how the only provider, named Main, answers from now on."""
    with ScriptedProvider() as server:
        entry = {"name": "Main", "type": "anthropic", "base_url": server.messages_url, "models": ["m-1"], "key": "k"}
        made = admin.post("/api/v1/llm/providers", entry)
        yield server.always
        admin.call("DELETE", f"/api/v1/llm/providers/{made['id']}")


def look(browser: Browser, name: str) -> None:
    """Takes a picture of the summary in each width and theme; nothing is wider than the page."""
    for size in (DESKTOP, PHONE):
        browser.resize(size)
        browser.run("document.getElementById('summary').scrollIntoView({block: 'end'})")
        for scheme in ("light", "dark"):
            browser.prefer(scheme)
            browser.screenshot(f"summary-{name}-{scheme}-{size[0]}")
        assert browser.run("return document.documentElement.scrollWidth") <= size[0]
    browser.resize(DESKTOP)


def shown(browser: Browser) -> str:
    text: str = browser.find("#summary").text
    return text


def test_without_a_provider_it_says_so(page: Callable[[], Browser]) -> None:
    browser = page()
    assert "AI is not configured on this controller" in shown(browser)
    assert "Summarise" not in shown(browser)
    look(browser, "not-configured")


def test_a_failure_is_told_and_nothing_of_it_is_kept(
    page: Callable[[], Browser], answers: Callable[[Behaviour], None]
) -> None:
    answers(stall(TEXT))
    browser = page()
    browser.click("Summarise")
    browser.wait_for("Looked at")
    browser.wait_for("Main is answering")
    look(browser, "growing")
    browser.click("Stop")
    browser.wait_for("Stopped.")
    assert "Looked at" in shown(browser)

    answers(cut_by_fin(TEXT))
    browser.click("Summarise again")
    browser.wait_for("The answer is incomplete")
    assert "Looked at" in shown(browser)
    assert "Answered by Main (m-1)" in shown(browser)
    look(browser, "incomplete")

    answers(status(429, Retry_After="60"))
    browser.click("Summarise again")
    browser.wait_for("You can ask again at")
    look(browser, "resting")
    assert "Looked at" not in shown(page())


def test_a_summary_grows_and_is_kept(page: Callable[[], Browser], answers: Callable[[Behaviour], None]) -> None:
    answers(answer(TEXT))
    browser = page()
    browser.errors()
    browser.run("document.querySelector('[data-do=summarise]').focus()")
    browser.type(Keys.ENTER)
    browser.wait_for("Written by Main (m-1) for admin, ")
    browser.find("#summary button:focus")
    for _ in range(2):
        text = shown(browser)
        assert "Looked at show version" in text
        assert "<img src=x onerror=" in text
        assert "until then" not in text
        assert browser.run("return document.querySelectorAll('#summary .answer img').length") == 0
        assert browser.run("return document.querySelector('#summary .answer pre').textContent") == "exit"
        assert browser.find("#summary .answer h4").text == "Done"
        page()
    assert browser.errors() == []
    look(browser, "kept")

    answers(cut_by_fin("Something else"))
    browser.click("Summarise again")
    browser.wait_for("The answer is incomplete")
    assert "Looked at show version" in shown(browser)
    assert "Something else" not in shown(browser)
