"""Commands for AI from end to end: gunicorn, a device by real OpenSSH, and devices that want a person."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netstacks.demo import ROUTER_PASSWORD, ROUTER_USERNAME
from netstacks.demo.folder import Folder
from netstacks.demo.seed import public_key
from tests.acceptance.lab import Lab, make_lab
from tests.controller import Api, until
from tests.ports import free_port
from tests.sshd import SSHD, Sshd
from tests.zoo.animals import SECRET, USER, asked, usual
from tests.zoo.server import ScriptedServer

# A device of commands that show something, with the pager of util-linux.
_DEVICE = r"""
PS1='edge-1#'
# A pipe that says nothing: to read from it is a pause without a process, at whose end the shell misses a Ctrl-C.
exec {silence}<> <(:)
PROMPT_COMMAND=
unset HISTFILE
echo 'Authorised staff only'
show() {
    case "$*" in
        version) printf 'Version \033[1m15.2\033[0m\nUptime 3 weeks\n' ;;
        lines) seq 300 | more ;;
        flood) seq 100000 ;;
        size) stty size ;;
        forever) while :; do echo tick; read -rt 0.2 -u "$silence"; done ;;
        deaf) trap '' INT; while :; do sleep 0.2; done ;;
        reload) kill -9 $PPID ;;
        *) echo "% Invalid input detected at '^' marker." ;;
    esac
}
"""


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    if SSHD is None:
        pytest.skip("needs Debian's openssh-server")
    folder = tmp_path_factory.mktemp("device")
    # The folders above belong to pytest's user.
    script = Path("/tmp") / f"netstacks-{folder.parent.name}-{folder.name}.bash"
    script.write_text(_DEVICE)
    with Sshd(command=f"exec /bin/bash --noprofile --rcfile {script} -i") as server:
        yield server
    script.unlink()


@pytest.fixture(scope="module")
def edge(admin: Api, device: Sshd) -> Lab:
    return make_lab(admin, device)


def execute(lab: Lab, *commands: str, target: str | None = None, **body: Any) -> Any:
    body = {"session_definition_id": target or f"device-{lab.device['id']}", "commands": list(commands), **body}
    return lab.api.post("/api/ai/ssh-execute", body)


def newest_session(api: Api) -> Any:
    return api.get("/api/sessions")["items"][0]


def test_commands_run_in_a_session_that_is_recorded_and_audited_like_a_terminals(edge: Lab) -> None:
    answer = execute(edge, "show version", "show size")
    assert answer["success"], answer
    assert answer["output"] == (
        "=== [1] show version ===\nVersion 15.2\nUptime 3 weeks\n\n=== [2] show size ===\n50 200"
    )
    assert [each["output"] for each in answer["results"]] == ["Version 15.2\nUptime 3 weeks", "50 200"]
    session = newest_session(edge.api)
    until(lambda: newest_session(edge.api)["state"] == "ended", "the end of the session")
    assert newest_session(edge.api)["end_reason"] == "AI commands done"
    recording = edge.api.get(f"/api/recordings/{session['id']}/data")
    assert "edge-1#show version" in "".join(
        event[2] for event in map(json.loads, recording.splitlines()[1:]) if event[1] == "o"
    )
    assert "opened for AI commands of admin" in recording

    def run() -> Any:
        rows = edge.api.get("/api/audit?event=ai.commands_run")["items"]
        return next((row for row in rows if row["resource"] == f"session:{session['id']}"), None)

    row = until(run, "the audit row")
    assert row["details"] == {
        "device": edge.device["name"],
        "commands": ["show version", "show size"],
        "success": True,
    }

    def opened() -> Any:
        return edge.api.get("/api/audit?event=session.opened")["items"]

    until(lambda: row["resource"] in [each["resource"] for each in opened()], "the audit row of the opening")


def test_a_live_session_a_definition_and_a_device_are_all_named(edge: Lab) -> None:
    body = {"name": "edge", "host": edge.device["host"], "port": edge.device["port"]}
    definition = edge.api.post("/api/session-definitions", body | {"credential_override_id": edge.credential["id"]})
    terminal = edge.open()
    for target in (terminal.info["session_id"], definition["id"]):
        assert execute(edge, "show size", target=target)["success"], target
    # The user's terminal has seen nothing of it.
    assert b"size" not in terminal.output
    terminal.type("show version\r")
    terminal.expect("Uptime")
    terminal.leave()
    path = f"/api/devices/{edge.device['id']}/exec-command"
    answer = edge.api.post(path, {"command": "show size", "timeout_secs": 20})
    assert (answer["success"], answer["output"], "results" in answer) == (True, "50 200", False)


def test_a_pagers_output_comes_whole(edge: Lab) -> None:
    answer = execute(edge, "show lines")
    assert answer["results"][0]["output"].split("\n") == [str(number) for number in range(1, 301)]


def test_a_flood_is_cut_with_a_sentence_and_the_next_command_runs(edge: Lab) -> None:
    flood, size = execute(edge, "show flood", "show size")["results"]
    assert flood["success"]
    assert 190_000 < len(flood["output"]) < 201_000
    assert flood["output"].startswith("1\n2\n3\n")
    assert "the rest was left out" in flood["output"]
    assert size["output"] == "50 200"


def test_a_command_that_never_ends_is_interrupted_at_its_time(edge: Lab) -> None:
    answer = execute(edge, "show forever", "show size", timeout_secs=5)
    forever, size = answer["results"]
    assert answer["error"] == forever["error"] == "it was interrupted after 5 s"
    assert (answer["success"], forever["success"], size["success"]) == (False, False, True)
    assert forever["output"].startswith("tick\ntick\n")
    stopped = execute(edge, "show forever", "show size", timeout_secs=2, stop_on_error=True)
    assert len(stopped["results"]) == 1


def test_a_command_that_nothing_interrupts_ends_with_its_session(edge: Lab) -> None:
    # The shell is deaf by then.
    answer = execute(edge, "show deaf", "show size", timeout_secs=4)
    assert len(answer["results"]) == 1
    assert "it did not end within 4 s, nor at Ctrl-C" in answer["error"]
    until(lambda: newest_session(edge.api)["state"] == "ended", "the end of the session")


def test_an_error_of_the_device_and_its_end_are_told(edge: Lab) -> None:
    answer = execute(edge, "show nonsense", "show reload", "show size")
    assert [each["success"] for each in answer["results"]] == [False, False]
    assert answer["error"] == "the device did not accept the command: % Invalid input detected at '^' marker."
    assert "the device closed the connection" in answer["results"][1]["error"]


def test_a_client_that_leaves_stops_it(edge: Lab) -> None:
    body = json.dumps(
        {"session_definition_id": f"device-{edge.device['id']}", "command": "show forever", "timeout_secs": 300}
    )
    request = (
        f"POST /api/ai/ssh-execute HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {edge.api.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    before = newest_session(edge.api)["id"]
    client = socket.create_connection(("127.0.0.1", edge.api.controller.port))
    client.sendall(request.encode())
    until(lambda: newest_session(edge.api)["id"] != before, "the session")
    session = newest_session(edge.api)
    assert session["state"] != "ended"
    client.close()
    until(lambda: newest_session(edge.api)["state"] == "ended", "the end of the session")
    assert newest_session(edge.api)["id"] == session["id"]


def test_an_open_terminal_keeps_its_line(edge: Lab) -> None:
    terminal = edge.open()
    path = f"/api/devices/{edge.device['id']}"
    edge.api.call("PUT", path, json={"lines": 1})
    terminal.vanish()
    answer = execute(edge, "show size")
    edge.api.call("PUT", path, json={"lines": None})
    assert "1 of the 1 lines" in answer["error"]
    again = terminal.again().connected()
    again.type("show version\r")
    again.expect("Uptime")
    again.leave()


@pytest.fixture(scope="module")
def router(admin: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """IOS, simulated."""
    key_file = Folder(tmp_path_factory.mktemp("router") / "var").host_key()
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "netstacks.demo.device", str(port), str(key_file)])
    try:
        until(lambda: _listens(port), "the router's start")
        key_type, base64 = public_key(key_file).split()
        device = admin.add_device("127.0.0.1", port, host_key=(key_type, base64), name="router")
        yield Lab(admin, device, credential_of(admin, device, ROUTER_USERNAME, ROUTER_PASSWORD))
    finally:
        process.terminate()
        process.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_ios_answers_commands_that_it_knows(router: Lab) -> None:
    version, interfaces, nonsense = execute(router, "show version", "show ip interface brief", "show nonsense")[
        "results"
    ]
    assert version["success"]
    assert version["output"].startswith("Cisco IOS")
    assert interfaces["output"].startswith("Interface ")
    assert "#" not in interfaces["output"]
    assert not nonsense["success"], nonsense


def test_a_question_at_the_log_in_wants_a_person(admin: Api) -> None:
    codes = asked((("Password: ", False, SECRET),), (("Enter PASSCODE: ", False, "123456"),))
    with ScriptedServer(codes) as server:
        device = admin.add_device(server.host, server.port, host_key=server.host_key)
        lab = Lab(admin, device, credential_of(admin, device, USER, SECRET))
        answer = execute(lab, "show version")
        assert (answer["success"], answer["results"]) == (False, [])
        assert answer["error"] == (
            "the device asks 'Enter PASSCODE:', which needs a person: open a terminal to this device first"
        )
        assert len(server.visits) == 1


def test_an_unknown_host_key_is_refused_without_a_prompt(admin: Api) -> None:
    with ScriptedServer(usual()) as server:
        device = admin.add_device(server.host, server.port)
        lab = Lab(admin, device, credential_of(admin, device, USER, SECRET))
        prompts: list[Any] = []
        stopping = threading.Event()

        def look() -> None:
            while not stopping.wait(0.1):
                prompts.extend(admin.get("/api/host-keys/prompts")["prompts"])

        looking = threading.Thread(target=look)
        looking.start()
        answer = execute(lab, "show version")
        stopping.set()
        looking.join()
        assert "the host key of" in answer["error"]
        assert "is new, which needs a person: open a terminal to this device first" in answer["error"]
        assert not prompts
        assert not server.attempts


def credential_of(api: Api, device: Any, username: str, secret: str) -> Any:
    """The device's default one: the user has several."""
    credential = api.add_credential(username, secret, name=f"of {device['name']}")
    api.call("PUT", f"/api/devices/{device['id']}", json={"default_credential_id": credential["id"]})
    return credential
