"""The log's lines when the logged values come from an attacker, and what must not stand in them."""

import subprocess
import sys

import pytest

from netstacks import logs

PROGRAM = """
import logging, structlog
from netstacks import logs
logs.configure("{format}")
structlog.get_logger().info("request.refused", path="/a\\x00\\x1b[2J\\x9b\\rforged\\nforged")
logging.getLogger("library").warning("a library's\\nforged")
try:
    raise ValueError("\\x1b[2J")
except ValueError:
    structlog.get_logger().exception("request.failed")
"""


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_client_values_begin_no_line_and_control_no_terminal(log_format: str) -> None:
    program = PROGRAM.replace("{format}", log_format)
    log = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr
    assert not [line for line in log.splitlines() if line.startswith("forged")]
    assert not {each for each in log if each != "\n" and not each.isprintable()}
    assert "Traceback" in log


SECRETS = """
import logging, structlog
from netstacks import logs
logs.configure("{format}")
structlog.get_logger().info("request.refused", path="/ws/ssh?token=secret-1&cols=80", url="redis://u:secret-2@h:1/0")
structlog.get_logger().info("request.refused", password="secret-3", cookie="secret-4", authorization="secret-5")
logging.getLogger("library").warning("sent Authorization: Bearer secret-6")
try:
    raise ValueError("no answer from postgresql://netstacks:secret-7@db/netstacks")
except ValueError:
    structlog.get_logger().exception("request.failed")
"""


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_log_holds_no_secret(log_format: str) -> None:
    program = SECRETS.replace("{format}", log_format)
    log = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr
    assert "secret-" not in log
    # The rest of each text is still readable.
    for readable in ("/ws/ssh?token=***&cols=80", "redis://u:***@h:1/0", "Bearer ***", "//netstacks:***@db/netstacks"):
        assert readable in log


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("/ws/ssh?token=aaaa&cols=80", "/ws/ssh?token=***&cols=80"),
        ("/ws/ssh?cols=80&reconnect_token=aaaa", "/ws/ssh?cols=80&reconnect_token=***"),
        ("access_token=aaaa refresh_token=bbbb", "access_token=*** refresh_token=***"),
        ("'password=aaaa' SECRET=bbbb", "'password=***' SECRET=***"),
        ("Authorization: Bearer aaaa.bbbb", "Authorization: Bearer ***"),
        ("the token eyJhbGciOiJI.eyJzdWIi.c2ln-_ was", "the token *** was"),
        ("redis://:aaaa@valkey:6379/0", "redis://:***@valkey:6379/0"),
        ("postgresql://netstacks:a:a@db/netstacks", "postgresql://netstacks:***@db/netstacks"),
        (
            "a -----BEGIN OPENSSH PRIVATE KEY-----\naaaa\nbbbb\n-----END OPENSSH PRIVATE KEY----- b",
            "a *** b",
        ),
        ("a -----BEGIN PRIVATE KEY-----\naaaa\nbbbb", "a ***"),
        ("https://docs.example/tokens?page=2", "https://docs.example/tokens?page=2"),
    ],
)
def test_text_that_looks_like_a_secret_is_replaced_and_nothing_else(text: str, scrubbed: str) -> None:
    assert logs.scrub(text) == scrubbed


@pytest.mark.parametrize(
    "name", ["password", "secret", "token", "private_key", "passphrase", "authorization", "cookie"]
)
def test_a_log_member_with_a_secret_name_is_scrubbed(name: str) -> None:
    program = f"""
import structlog
from netstacks import logs
logs.configure("json")
structlog.get_logger().info("event", {name}="plain words", other="plain words")
"""
    log = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr
    assert f'"{name}": "***"' in log
    assert '"other": "plain words"' in log
