"""A user whose access is withdrawn has no terminal any more, at once."""

from tests.acceptance.conftest import Lab
from tests.controller import Controller


def test_a_deactivated_users_terminal_ends_with_the_reason(controller: Controller, lab: Lab) -> None:
    name, password = "lee", "a password of lee"
    user = lab.api.post("/api/users", {"username": name, "password": password, "role": "operator"})
    theirs = Lab(controller.login(name, password), lab.device, lab.credential)
    terminal = theirs.open()
    own = lab.open()
    terminal.type("echo al''ive\r")
    terminal.expect("alive")

    lab.api.call("PUT", f"/api/users/{user['id']}", json={"role": "operator", "is_active": False})
    assert terminal.closed()[0] == 4001
    assert "access was withdrawn" in terminal.errors[-1]
    own.type("echo un''touched\r")
    own.expect("untouched")
    own.leave()
