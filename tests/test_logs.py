"""What a log may look like when those who are logged are hostile."""

import subprocess
import sys

import pytest

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
def test_what_a_client_sent_begins_no_line_and_commands_no_terminal(log_format: str) -> None:
    program = PROGRAM.replace("{format}", log_format)
    log = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr
    assert not [line for line in log.splitlines() if line.startswith("forged")]
    assert not {each for each in log if each != "\n" and not each.isprintable()}
    assert "Traceback" in log
