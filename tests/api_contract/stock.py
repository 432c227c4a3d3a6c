"""One object of each kind, so that operations are tested on something that exists."""

from typing import Any

from tests.controller import ADMIN, Api

# The name of a parameter in the path, where objects of that kind are made, and one of them.
_OBJECTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("device_id", "/api/devices", {"name": "stocked", "host": "192.0.2.1"}),
    ("definition_id", "/api/session-definitions", {"name": "stocked", "host": "192.0.2.2"}),
    ("folder_id", "/api/session-definitions/folders", {"name": "stocked"}),
    ("item_id", "/api/snippets", {"name": "stocked"}),
    ("user_id", "/api/users", {"username": "stocked", "password": ADMIN[1], "role": "operator"}),
    (
        "credential_id",
        "/api/credentials",
        {"name": "stocked", "credential_type": "ssh_password", "username": "a", "secret": "b"},
    ),
    (
        "target_id",
        "/api/v1/audit/targets",
        # Nothing listens on port 9, the one of the protocol Discard.
        {"name": "stocked", "type": "webhook", "address": "https://127.0.0.1:9/", "is_enabled": False},
    ),
)


def make(api: Api) -> dict[str, str]:
    """Makes the objects; the values of parameters by name."""
    made = {parameter: api.post(path, body)["id"] for parameter, path, body in _OBJECTS}
    api.post("/api/v1/roles", {"name": "stocked", "permissions": ["devices.access"]})
    return made | {"name": "stocked"}


def add_examples(paths: dict[str, Any], values: dict[str, str]) -> None:
    """Makes the values the examples of the parameters, which are tested first."""
    for item in paths.values():
        for operation in item.values():
            for each in operation["parameters"]:
                if each["in"] == "path" and each["name"] in values:
                    each["example"] = values[each["name"]]
