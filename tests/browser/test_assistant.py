"""The assistant's panel in a real browser, with a real controller and a scripted provider behind it."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.browser.browser import DESKTOP, PHONE, Browser
from tests.browser.silence import note_states, wait_for_hint
from tests.controller import Api, Controller, until
from tests.llm.scripted_provider import (
    Behaviour,
    Exchange,
    ScriptedProvider,
    answer,
    cut_by_fin,
    event,
    messages_events,
    stall,
    status,
)
from tests.postgres import Postgres

OPEN_KEY = Keys.CONTROL + Keys.SHIFT + "a"
WIDE = (1440, 900)
RICH = """The interface is **down**, because it is not enabled. *Look* at `show ip int brief` first:

1. Find the interface:
   ```
   echo the-only-command
   ```
2. Enable it:

   ```
   echo first-of-two

   echo second-of-two
   ```
3. Then check:
   - the line protocol
   - the counters

## Attention
This changes the configuration."""


@pytest.fixture(scope="module")
def controller(postgres: Postgres, chromium: object) -> Iterator[Controller]:
    controller = Controller(
        postgres.create_database(),
        SESSION_DETACH_TTL_SECS="60",
        LLM_BREAKER_FAILURES="1",
        # Long enough to be seen, and to ask once more meanwhile.
        LLM_BREAKER_COOLDOWN_SECS="12",
        HA_HEARTBEAT_INTERVAL_SECS="1",
    ).start()
    yield controller
    controller.stop()


@pytest.fixture
def add_provider(admin: Api) -> Iterator[Callable[..., None]]:
    """Adds a provider to the end of the list, for the time of the test."""
    ids = []

    def add(server: ScriptedProvider, name: str = "Main", **members: Any) -> None:
        entry = {
            "name": name,
            "type": "anthropic",
            "base_url": server.messages_url,
            "models": ["scripted-1"],
            "key": "sk-0a1b2c3d4e5f6071",
        }
        ids.append(admin.post("/api/v1/llm/providers", entry | members)["id"])

    yield add
    for each in ids:
        admin.call("DELETE", f"/api/v1/llm/providers/{each}")


@pytest.fixture
def server() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as server:
        yield server


@pytest.fixture
def provider(server: ScriptedProvider, add_provider: Callable[..., None]) -> ScriptedProvider:
    """The only provider, named Main."""
    add_provider(server)
    return server


@pytest.fixture
def terminal(browser: Browser, known_lab: str) -> Browser:
    """The browser with a terminal that is connected, its prompt in sight."""
    browser.open(f"/terminals/new?device={known_lab}")
    browser.wait_for("Connected")
    browser.type("PS1='lab> '; clear; echo on-the-scr''een", Keys.ENTER)
    until(lambda: browser.screen.strip() == "on-the-screen\nlab>", "a clear screen")
    note_states(browser)
    return browser


@pytest.fixture
def panel(terminal: Browser, provider: ScriptedProvider) -> Browser:
    """The same, with the panel open and the keyboard in it."""
    terminal.click("Assistant")
    terminal.wait_for("About: the last 2 lines")
    return terminal


class Held:
    """An answer whose second half comes when it is released."""

    def __init__(self, text: str) -> None:
        self._released = threading.Event()
        self._text = text

    def release(self) -> None:
        self._released.set()

    def __call__(self, exchange: Exchange) -> None:
        events = messages_events(self._text)
        half = next(number for number, each in enumerate(events) if b"text_delta" in each) + 1
        exchange.head()
        exchange.send(b"".join(events[:half]))
        while not self._released.is_set():
            exchange.wait(0.1)
        exchange.send(b"".join(events[half:]))
        exchange.end()


def letter_by_letter(text: str) -> Behaviour:
    """Answers well, one delta for each character."""

    def behave(exchange: Exchange) -> None:
        events = messages_events(text)
        deltas = [number for number, each in enumerate(events) if b"text_delta" in each]
        exchange.head()
        exchange.send(b"".join(events[: deltas[0]]))
        for letter in text:
            delta = {"type": "text_delta", "text": letter}
            exchange.send(event({"type": "content_block_delta", "index": 0, "delta": delta}, "content_block_delta"))
        exchange.send(b"".join(events[deltas[-1] + 1 :]))
        exchange.end()

    return behave


def ask(browser: Browser, question: str) -> None:
    """Asks when what was asked before is answered: one question at a time."""
    until(lambda: browser.run("return document.querySelector('#assistant .progress').hidden"), "the end of an answer")
    browser.find("[name=question]").send_keys(question, Keys.ENTER)


def answers(browser: Browser) -> list[str]:
    """The answers in the panel as they are read."""
    found: list[str] = browser.run(
        "return [...document.querySelectorAll('#assistant .answer')].map((each) => each.innerText)"
    )
    return found


def markup(browser: Browser) -> str:
    """The last answer's elements."""
    found: str = browser.run("return [...document.querySelectorAll('#assistant .answer')].at(-1).innerHTML")
    return found


def sent(server: ScriptedProvider) -> list[tuple[str, str]]:
    """The conversation of the last request as (role, text)."""
    messages = server.requests[-1].body["messages"]
    return [
        (
            each["role"],
            each["content"] if isinstance(each["content"], str) else "".join(b["text"] for b in each["content"]),
        )
        for each in messages
    ]


def focused(browser: Browser) -> str:
    name: str = browser.driver.switch_to.active_element.accessible_name
    return name


def test_an_answer_is_read_while_it_comes_and_says_where_it_comes_from(
    panel: Browser, provider: ScriptedProvider
) -> None:
    held = Held("The first half is here, the second half is there.")
    provider.next(held)
    panel.screenshot("assistant-empty")
    ask(panel, "And the other half?")
    until(lambda: answers(panel) == ["The first half is here, "], "the first half")
    panel.wait_for("Main is answering")
    panel.screenshot("assistant-answering")
    held.release()
    panel.wait_for("Answered by Main (scripted-1)")
    assert answers(panel) == ["The first half is here, the second half is there."]
    panel.wait_for("is answering", gone=True)
    [(_, text)] = sent(provider)
    assert "On the screen of the terminal" in text
    assert "on-the-screen\nlab>" in text
    assert text.endswith("And the other half?")
    assert focused(panel) == "Question"
    assert panel.errors() == []


def test_a_follow_up_has_the_conversation_before_it_until_a_new_one_begins(
    panel: Browser, provider: ScriptedProvider
) -> None:
    provider.next(answer("first answer"), answer("second answer"), answer("third answer"))
    panel.click("Explain what is on the screen")
    panel.wait_for("first answer")
    ask(panel, "And then?")
    panel.wait_for("second answer")
    (_, first), second, (_, third) = sent(provider)
    assert first == "Explain what is on the screen"
    assert second == ("assistant", "first answer")
    assert third.endswith("And then?")
    panel.click("New conversation")
    panel.wait_for("first answer", gone=True)
    panel.wait_for("What is wrong here?")
    ask(panel, "Afresh?")
    panel.wait_for("third answer")
    assert len(sent(provider)) == 1


def test_at_most_20_messages_are_sent(panel: Browser, provider: ScriptedProvider) -> None:
    for number in range(12):
        provider.next(answer(f"answer-{number}."))
        ask(panel, f"question-{number}?")
        panel.wait_for(f"answer-{number}.")
    conversation = sent(provider)
    assert len(conversation) <= 20
    assert conversation[0] == ("user", "question-2?")
    assert conversation[-2] == ("assistant", "answer-10.")


def test_the_selection_is_asked_about_rather_than_the_screen(terminal: Browser, provider: ScriptedProvider) -> None:
    word = terminal.find(".xterm-rows > div")
    ActionChains(terminal.driver).move_to_element_with_offset(
        word, 20 - word.size["width"] // 2, 0
    ).double_click().perform()
    terminal.type(OPEN_KEY)
    terminal.wait_for("About: the selection, 1 line")
    terminal.wait_for("Explain what is selected")
    terminal.screenshot("assistant-selection")
    # A terminal that gets another height forgets what is selected in it.
    rows = "return document.querySelectorAll('.xterm-rows > div').length"
    before = terminal.run(rows)
    terminal.resize((DESKTOP[0], DESKTOP[1] - 200))
    until(lambda: terminal.run(rows) < before, "a terminal with fewer rows")
    is_forgotten = "return document.querySelector('.xterm-selection').childElementCount === 0"
    until(lambda: terminal.run(is_forgotten), "a terminal in which nothing is selected")
    assert "About: the selection, 1 line" in terminal.text
    ask(terminal, "What is this?")
    terminal.wait_for("Answered by Main")
    terminal.find(".xterm-screen").click()
    terminal.wait_for("About: the last 2 lines")
    assert terminal.find("#assistant .question small").text == "About: the selection, 1 line"
    [(_, text)] = sent(provider)
    assert "Selected in the terminal" in text
    assert "lab>" not in text


def test_the_text_of_the_terminal_can_be_left_out(panel: Browser, provider: ScriptedProvider) -> None:
    panel.click("Leave this out of the question")
    panel.wait_for("About: the last", gone=True)
    ask(panel, "What is BGP?")
    panel.wait_for("Answered by Main")
    assert sent(provider) == [("user", "What is BGP?")]
    panel.click("Ask about the terminal's text")
    panel.wait_for("About: the last 2 lines")


def test_a_command_is_put_at_the_prompt_and_waits_for_enter(panel: Browser, provider: ScriptedProvider) -> None:
    provider.next(answer(RICH))
    ask(panel, "How do I enable it?")
    panel.wait_for("Answered by Main")
    panel.screenshot("assistant-answer")
    panel.click("Put at the prompt: echo the-only-command")
    until(lambda: panel.screen.rstrip().endswith("lab> echo the-only-command"), "the command at the prompt")
    wait_for_hint(panel, "It runs when you press Enter")
    panel.type(Keys.ENTER)
    until(lambda: "\nthe-only-command" in panel.screen, "the command's output")
    panel.click("Put at the prompt: echo second-of-two")
    until(lambda: panel.screen.rstrip().endswith("lab> echo second-of-two"), "the second line at the prompt")
    assert "first-of-two" not in panel.screen
    assert panel.button("Put at the prompt: echo first-of-two")
    assert panel.errors() == []


def test_signs_that_are_not_seen_are_not_typed(panel: Browser, provider: ScriptedProvider) -> None:
    provider.next(answer("```\necho a\u202eb\u200bc\x1b\x03\x7f\td\u00a0e\n```"))
    ask(panel, "What now?")
    panel.click("Put at the prompt: echo abc d e")
    until(lambda: panel.screen.rstrip().endswith("lab> echo abc d e"), "the command at the prompt")


@pytest.mark.parametrize(("start", "shown"), [("\\033[?1049h", "an editor"), ("", "--More--")])
def test_no_command_is_put_where_single_keys_act(
    panel: Browser, provider: ScriptedProvider, start: str, shown: str
) -> None:
    provider.next(answer("```\nreload\n```"))
    ask(panel, "What now?")
    put = panel.button("Put at the prompt: reload")
    panel.run("document.querySelector('.xterm-helper-textarea').focus()")
    panel.type(f"clear; printf -- '{start}{shown}'; read -r line", Keys.ENTER)
    until(lambda: panel.screen.strip() == shown, "what the device shows")
    put.click()
    panel.wait_for("Not typed: a pager")
    assert "reload" not in panel.screen


def test_no_command_is_put_into_a_terminal_that_is_not_connected(panel: Browser, provider: ScriptedProvider) -> None:
    provider.next(answer("```\nreload\n```"))
    ask(panel, "What now?")
    put = panel.button("Put at the prompt: reload")
    panel.run("document.querySelector('.xterm-helper-textarea').focus()")
    panel.type("exit", Keys.ENTER)
    panel.wait_for("Session ended")
    put.click()
    panel.wait_for("Not sent: the terminal is not connected")


def test_text_that_is_no_markdown_stays_text(panel: Browser, provider: ScriptedProvider) -> None:
    hostile = "<img src=x onerror=alert(1)> [click](javascript:alert(1)) **<b>bold</b>** `<i>`"
    provider.next(answer(f"{hostile}\n\n```\n<script>alert(1)</script>\n```"))
    ask(panel, "What now?")
    panel.wait_for("Answered by Main")
    assert "<img src=x onerror=alert(1)> [click](javascript:alert(1)) <b>bold</b> <i>" in answers(panel)[0]
    assert not panel.driver.find_elements("css selector", "#assistant .answer :is(img, a, b, i, script)")
    assert panel.errors() == []


def test_letter_by_letter_an_answer_becomes_what_it_is_at_once(panel: Browser, provider: ScriptedProvider) -> None:
    # Before its dot has come, the second number is a paragraph.
    text = RICH + "\n\n1. a\n\n2. b"
    provider.next(answer(text), letter_by_letter(text))
    ask(panel, "At once")
    panel.wait_for("Answered by Main")
    at_once = markup(panel)
    panel.click("New conversation")
    ask(panel, "By letters")
    panel.wait_for("Answered by Main")
    panel.wait_for("is answering", gone=True)
    assert markup(panel) == at_once


def test_half_a_command_cannot_be_put_at_the_prompt(panel: Browser, provider: ScriptedProvider) -> None:
    provider.next(answer("```\nno shutdown vlan 1", stop="max_tokens"))
    ask(panel, "What now?")
    panel.wait_for("The answer was cut at the maximum length")
    assert "no shutdown vlan 1" in answers(panel)[0]
    assert not panel.driver.find_elements("css selector", "#assistant .fenced button")


def test_a_provider_that_was_passed_over_is_named(
    terminal: Browser, provider: ScriptedProvider, add_provider: Callable[..., None]
) -> None:
    with ScriptedProvider() as spare:
        add_provider(spare, "Spare")
        provider.next(status(500))
        spare.next(answer("from the spare"))
        terminal.click("Assistant")
        ask(terminal, "Anybody?")
        terminal.wait_for("Answered by Spare (scripted-1); skipped: Main answered 500")
        assert answers(terminal) == ["from the spare"]


def test_an_answer_that_another_provider_continues_shows_the_seam(
    terminal: Browser, provider: ScriptedProvider, add_provider: Callable[..., None]
) -> None:
    with ScriptedProvider() as spare:
        add_provider(spare, "Spare")
        provider.next(cut_by_fin("The beginning"))
        spare.next(answer("and the end."))
        terminal.click("Assistant")
        ask(terminal, "Anybody?")
        terminal.wait_for("Answered by Main (scripted-1), continued by Spare (scripted-1)")
        assert "Spare continues.]" in answers(terminal)[0]
        assert terminal.find("#assistant .answer em")


def test_all_are_resting_until_a_moment_that_is_counted_down_to(panel: Browser, provider: ScriptedProvider) -> None:
    provider.next(status(500))
    ask(panel, "Anybody?")
    panel.wait_for("No AI provider answered: Main answered 500")
    panel.click("Ask again")
    panel.wait_for("You can ask again at")
    panel.wait_for("Ask again in")
    panel.screenshot("assistant-resting")
    again = panel.find("#assistant [data-do=again]")
    assert not again.is_enabled()
    until(again.is_enabled, "the end of the countdown")
    provider.always(answer("here again"))

    def answered() -> bool:
        if again.is_displayed() and again.is_enabled():
            again.click()
        return answers(panel) == ["here again"]

    until(answered, "an answer")
    assert "You can ask again" not in panel.text


def test_an_incomplete_answer_stays_and_says_so(panel: Browser, provider: ScriptedProvider) -> None:
    provider.next(cut_by_fin("Half of an answer"))
    ask(panel, "And?")
    panel.wait_for("The answer is incomplete")
    assert answers(panel) == ["Half of an answer"]
    panel.screenshot("assistant-incomplete")
    assert panel.find("#assistant article .error")
    assert panel.button("Ask again").is_enabled()


def test_the_controller_is_lost_in_the_middle(panel: Browser, provider: ScriptedProvider, wire: Any) -> None:
    provider.next(stall("Half of an answer"))
    ask(panel, "And?")
    until(lambda: answers(panel) == ["Half of an answer"], "the half")
    wire.cut()
    panel.wait_for("The answer is incomplete: the connection broke off.")
    panel.click("Ask again")
    panel.wait_for("The controller cannot be reached")
    wire.restore()
    panel.click("Ask again")
    panel.wait_for("Answered by Main")


@pytest.mark.parametrize(
    ("content_type", "body", "told"),
    [
        ("text/html", "<p>Please log in</p>", "The answer is not from the controller"),
        ("text/event-stream", "", "The answer is incomplete: the connection broke off."),
        (
            "text/event-stream",
            'data: {"type": "provider", "provider": "Main", "model": "m", "skipped": []}\n\n'
            'data: {"type": "content_delta", "text": "Half"}\n\ndata: {"ty',
            "The answer is incomplete: the connection broke off.",
        ),
    ],
)
def test_an_answer_that_a_proxy_replaced_is_no_answer(panel: Browser, content_type: str, body: str, told: str) -> None:
    script = """
        const [contentType, body] = arguments;
        const real = window.fetch;
        window.fetch = (path, options) => path === "/api/v1/ai/ask"
          ? Promise.resolve(new Response(body, { headers: { "Content-Type": contentType } }))
          : real(path, options);
    """
    panel.run(script, content_type, body)
    ask(panel, "And?")
    panel.wait_for(told)
    assert panel.button("Ask again").is_enabled()


def test_an_answer_is_stopped(panel: Browser, provider: ScriptedProvider) -> None:
    provider.next(stall("So far"))
    ask(panel, "And?")
    until(lambda: answers(panel) == ["So far"], "a beginning")
    panel.click("Stop")
    panel.wait_for("Stopped.")
    assert answers(panel) == ["So far"]
    until(lambda: provider.open_connections == 0, "the end of the call to the provider")


def test_too_many_questions_at_once_are_refused_with_a_time(
    panel: Browser, provider: ScriptedProvider, admin: Api
) -> None:
    provider.next(*[stall("x")] * 4)
    headers = {"Authorization": f"Bearer {admin.token}"}
    url = f"{admin.controller.url}/api/v1/ai/ask"
    others = [requests.post(url, json={"question": "x"}, headers=headers, stream=True, timeout=30) for _ in range(4)]
    ask(panel, "And I?")
    panel.wait_for("You can ask again at")
    assert len(provider.requests) == 4
    for each in others:
        each.close()


def test_that_nothing_is_configured_is_told_and_looked_at_again(
    terminal: Browser, server: ScriptedProvider, add_provider: Callable[..., None]
) -> None:
    terminal.click("Assistant")
    terminal.wait_for("AI is not configured on this controller")
    terminal.wait_for("POST /api/v1/llm/providers")
    assert not terminal.find("[name=question]").is_enabled()
    terminal.screenshot("assistant-not-configured")
    add_provider(server)
    terminal.click("Check again")
    until(terminal.find("[name=question]").is_enabled, "a field that takes a question")
    ask(terminal, "Now?")
    terminal.wait_for("Answered by Main")


def test_only_an_administrator_is_told_how_to_add_a_provider(stranger: Browser, admin: Api, known_lab: str) -> None:
    password = "a password of hers"
    admin.post("/api/users", {"username": "lee", "display_name": "Lee", "role": "operator", "password": password})
    stranger.log_in("lee", password)
    stranger.open(f"/terminals/new?device={known_lab}")
    stranger.wait_for("Connected")
    stranger.click("Assistant")
    stranger.wait_for("An administrator can add a provider")
    assert "/api/v1/llm" not in stranger.text


def test_ai_that_is_switched_off_meanwhile_keeps_the_question(
    panel: Browser, provider: ScriptedProvider, admin: Api
) -> None:
    admin.call("PUT", "/api/v1/llm/settings", json={"enabled": False})
    try:
        ask(panel, "A question that took a while")
        panel.wait_for("AI is switched off")
    finally:
        admin.call("PUT", "/api/v1/llm/settings", json={"enabled": True})
    assert panel.find("[name=question]").get_attribute("value") == "A question that took a while"
    assert provider.requests == []


def test_the_keyboard_leads_into_the_panel_and_back(terminal: Browser, provider: ScriptedProvider) -> None:
    terminal.type(OPEN_KEY)
    until(lambda: focused(terminal) == "Question", "the keyboard in the panel")
    terminal.type(Keys.ESCAPE)
    terminal.type("echo ty''ped", Keys.ENTER)
    until(lambda: "\ntyped" in terminal.screen, "what was typed in the terminal")
    terminal.type(OPEN_KEY)
    until(lambda: focused(terminal) == "Question", "the keyboard in the panel")
    terminal.type("a line", Keys.SHIFT + Keys.ENTER + Keys.NULL, "another")
    assert terminal.find("[name=question]").get_attribute("value") == "a line\nanother"
    terminal.type(OPEN_KEY)
    until(lambda: not terminal.driver.find_element("id", "assistant").is_displayed(), "the panel is closed")
    for element in terminal.driver.find_elements("css selector", "#assistant :is(button, textarea)"):
        assert not element.is_displayed() or element.accessible_name


@pytest.mark.parametrize("size", [WIDE, DESKTOP, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_panel_fits(terminal: Browser, provider: ScriptedProvider, size: tuple[int, int], scheme: str) -> None:
    provider.next(answer(RICH))
    terminal.prefer(scheme)
    terminal.resize(size)
    terminal.click("Assistant")
    terminal.screenshot(f"assistant-{size[0]}-{scheme}-empty")
    ask(terminal, "How do I enable the interface?")
    terminal.wait_for("Answered by Main")
    terminal.screenshot(f"assistant-{size[0]}-{scheme}")
    assert terminal.run("return document.documentElement.scrollWidth") <= size[0]
    sides = terminal.run(
        "const box = document.getElementById('assistant').getBoundingClientRect(); return [box.left, box.right]"
    )
    assert sides[1] == size[0]
    assert (sides[0] == 0) == (size == PHONE)
    assert terminal.run("return document.getElementById('screen').inert") == (size == PHONE)
    below = terminal.run(
        "return document.querySelector('#assistant form').getBoundingClientRect().bottom - innerHeight"
    )
    assert below <= 0
    terminal.click("Put at the prompt: echo the-only-command")
    until(lambda: terminal.screen.rstrip().endswith("echo the-only-command"), "the command at the prompt")
    assert terminal.driver.find_element("id", "assistant").is_displayed() == (size != PHONE)
