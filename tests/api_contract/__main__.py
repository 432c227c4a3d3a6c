"""`python -m tests.api_contract BIN`: a controller on a database of its own, tested as two users.

BIN is the folder of the programs of schemathesis and openapi-spec-validator, in an environment of their own.
Ends with 1 when an answer is a 500, or has a status, content type or form that the document does not name.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.api_contract import closed, stock
from tests.controller import ADMIN, Controller
from tests.postgres import Postgres

# No operation documents 500, so that one is a status that is not documented; some document 501 and 503.
_CHECKS = "status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance"
# At most 75 s for each user. Examples are those of tests/api_contract/stock.py.
_OPTIONS = (
    *("--checks", _CHECKS, "--phases", "examples,coverage,fuzzing", "--max-examples", "20", "--max-time", "75"),
    *("--seed", "20261130", "--continue-on-failure", "--no-shrink", "--generation-database", "none"),
    *("--request-timeout", "20", "--suppress-health-check", "all", "--warnings", "off", "--no-color"),
)
# Each would end the run or its log-in, or have effects outside of the controller: schemathesis takes ids from answers,
# among them that of its own user.
_LEFT_OUT = (
    "delete_api_auth_logins_login_id",
    "delete_api_users_user_id",
    "delete_api_users_user_id_logins",
    "delete_api_v1_users_user_id_logins_login_id",
    "delete_api_v1_users_user_id_second_factors",
    "put_api_users_user_id",
    "put_api_users_user_id_password",
    "post_api_auth_logout",
    "put_api_auth_password",
    "post_api_v1_ha_instances_instance_id_drain",
    "post_api_v1_settings_mail_test",
    "post_api_v1_llm_providers_provider_id_test",
    "post_api_v1_identity_providers_provider_id_test",
    "post_api_v1_audit_targets_target_id_test",
)


def main(programs: Path) -> int:
    postgres = Postgres().start()
    controller = Controller(postgres.create_database())
    try:
        controller.start()
        return _examine(programs, controller)
    finally:
        controller.stop()
        postgres.destroy()


def _examine(programs: Path, controller: Controller) -> int:
    admin = controller.login()
    admin.post("/api/users", {"username": "viewer", "password": ADMIN[1], "role": "viewer"})
    values = stock.make(admin)
    found = 0
    for username in ("viewer", ADMIN[0]):
        print(f"== as {username}", flush=True)
        api = controller.login(username)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "openapi.json"
            document = api.get("/api/v1/openapi.json")
            file.write_text(json.dumps(document))
            subprocess.run([programs / "openapi-spec-validator", file], check=True)
            file.write_text(json.dumps(_testable(document, values)))
            found |= _run(programs, file, controller.url, api.token, folder)
            api.get("/api/v1/me")  # The log-in has lasted: the answers were not all 401.
    tracebacks = [line for line in controller.log().splitlines() if "request.failed" in line]
    print(*tracebacks, sep="\n")
    return found or bool(tracebacks)


def _run(programs: Path, file: Path, url: str, token: str, folder: str) -> int:
    command = [programs / "st", "run", file, "--url", url, "--header", f"Authorization: Bearer {token}", *_OPTIONS]
    return subprocess.run(command, cwd=folder, check=False).returncode


def _testable(document: dict[str, Any], values: dict[str, str]) -> dict[str, Any]:
    """The document with the operations that can be called at any time, and that end."""
    paths: dict[str, Any] = {}
    for path, method, operation in _operations(document):
        if operation["operationId"] not in _LEFT_OUT and not _is_stream(operation):
            paths.setdefault(path, {})[method] = operation
    stock.add_examples(paths, values)
    tested = document | {"paths": {path: dict(sorted(paths[path].items(), key=_is_deletion)) for path in paths}}
    closed.close_answers(tested)
    return tested


def _is_deletion(item: tuple[str, Any]) -> bool:
    """Sorts deletions behind the other operations on an object."""
    return item[0] == "delete"


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def _is_stream(operation: dict[str, Any]) -> bool:
    return any("text/event-stream" in each.get("content", {}) for each in operation["responses"].values())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
