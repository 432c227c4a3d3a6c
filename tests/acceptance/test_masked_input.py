"""Recorded input of a real shell, and the masking of a secret that the shell prints next."""

import json

from tests.acceptance.lab import Lab
from tests.controller import Terminal, until


def press(terminal: Terminal, line: str) -> None:
    """Types as a person does: Enter when the line stands on the screen."""
    shown = len(terminal.output)
    terminal.type(line)
    until(lambda: line.encode() in terminal.output[shown:], "the echo")
    terminal.type("\r")


def ready(terminal: Terminal) -> None:
    until(lambda: terminal.output.endswith(b"ready> "), "the prompt")


def test_commands_stand_as_they_were_typed_and_a_hidden_secret_that_is_printed_next_is_masked(lab: Lab) -> None:
    terminal = lab.open()
    terminal.type("exec bash --norc\r")
    terminal.type("PS1='re''ady> '\r")
    ready(terminal)
    press(terminal, 'read -s -p "ke""y> " x; echo "$x"')
    terminal.expect("key> ")
    terminal.type("Cisco\r")
    terminal.expect("Cisco")
    ready(terminal)
    press(terminal, "echo do''ne")
    terminal.expect("done\r\n")
    ready(terminal)
    terminal.type("echo pa''sted\r")
    terminal.expect("pasted")
    session_id = terminal.info["session_id"]
    lab.api.call("DELETE", f"/api/sessions/{session_id}", expect=204)
    terminal.leave()
    until(lambda: lab.api.get(f"/api/recordings/{session_id}")["state"] == "ended", "the end of the recording")
    lines = lab.api.get(f"/api/recordings/{session_id}/data?input=1").splitlines()[1:]
    events = [event[1:] for event in map(json.loads, lines)]
    typed = "".join(text for kind, text in events if kind == "i")
    assert typed.endswith("x; echo \"$x\"\r*****\recho do''ne\recho pa''sted\r"), typed
    assert any(kind == "m" and text.startswith("input is masked from here") for kind, text in events)
