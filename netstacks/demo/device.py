"""A simulated Cisco IOS device with SSH: `python -m netstacks.demo.device PORT KEY_FILE`."""

import sys
import threading
from typing import Any

from fakenos import FakeNOS
from fakenos.plugins.servers import ssh_server_paramiko
from fakenos.plugins.shell.cmd_shell import CMDShell

from netstacks.demo import ROUTER_NAME, ROUTER_PASSWORD, ROUTER_USERNAME

_ENABLED = "{base_prompt}#"
_CONFIGURING = "{base_prompt}(config)#"


def _exit(device: Any, base_prompt: str, current_prompt: str, command: str) -> Any:
    """Leaves the configuration mode, or else ends the session."""
    return {"output": None, "new_prompt": _ENABLED} if current_prompt.endswith("(config)#") else True


# In addition to the commands of fakenos, which are about two hundred `show` commands.
_COMMANDS = {
    "configure terminal": {
        "output": "Enter configuration commands, one per line.  End with CNTL/Z.",
        "prompt": _ENABLED,
        "new_prompt": _CONFIGURING,
    },
    "end": {"output": None, "prompt": _CONFIGURING, "new_prompt": _ENABLED},
    "exit": {"output": _exit},
    "logout": {"output": True},
    "enable": {"output": None},
    "write": {"output": "Building configuration...\n[OK]", "prompt": _ENABLED},
    "write memory": {"alias": "write", "prompt": _ENABLED},
}


class IosShell(CMDShell):  # type: ignore[misc]
    """fakenos' shell, closer to IOS: it starts in privileged mode, and commands may be abbreviated."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.prompt = _ENABLED.format(base_prompt=self.base_prompt)

    def stop(self) -> None:
        # Not `exit`, which may only leave the configuration mode.
        self.stdin.write("logout\n")

    def postloop(self) -> None:
        # An exit status before the close, as a real device sends it; fakenos cuts the connection.
        channel = self.stdin.channel
        channel.send_exit_status(0)
        channel.close()
        channel.transport.join(1)

    def precmd(self, line: str) -> str:
        return expand(line, [name for name, it in self.commands.items() if self._check_prompt(it.get("prompt"))])

    def default(self, line: str) -> bool:
        if self.prompt.endswith("(config)#") and line not in self.commands:
            return False  # accept every configuration command, and store none
        return bool(super().default(line))


def expand(line: str, commands: list[str]) -> str:
    """The only command that `line` abbreviates word by word, where a complete word wins; otherwise the line itself."""
    words = line.split()
    candidates = [command.split() for command in commands]
    for position, word in enumerate(words):
        candidates = [known for known in candidates if len(known) > position and known[position].startswith(word)]
        candidates = [known for known in candidates if known[position] == word] or candidates
    matches = [known for known in candidates if len(known) == len(words)]
    return " ".join(matches[0] if len(matches) == 1 else words)


def edit_lines(channel: Any, shell_input: Any, replied: threading.Event, running: threading.Event) -> None:
    """Replaces fakenos' line input, which has no backspace: echoes keys and passes whole lines to the shell."""
    shell_input.channel = channel.channel
    line = b""
    try:
        while running.is_set() and (byte := channel.read(1)):
            replied.wait(10)
            match byte:
                case b"\r" | b"\n":
                    channel.write(b"\r\n")
                    replied.clear()
                    shell_input.write(line.decode(errors="replace") + "\n")
                    line = b""
                case b"\x7f" | b"\b" if line:
                    channel.write(b"\b \b")
                    line = line[:-1]
                case b"\x03" | b"\x15":  # Ctrl-C, Ctrl-U
                    channel.write(b"\b \b" * len(line))
                    line = b""
                case b"\x1b":  # an arrow: ESC [ A
                    channel.read(2)
                case _ if byte >= b" " and byte != b"\x7f":
                    channel.write(byte)
                    line += byte
    except (OSError, EOFError):
        return  # the client has disconnected


def main() -> None:
    """Serves until the process is killed: the threads of fakenos keep it alive."""
    port, key_file = int(sys.argv[1]), sys.argv[2]
    host = {
        "username": ROUTER_USERNAME,
        "password": ROUTER_PASSWORD,
        "port": port,
        "platform": "cisco_ios",
        "server": {
            "plugin": "ParamikoSshServer",
            "configuration": {"address": "127.0.0.1", "ssh_key_file": key_file, "ssh_banner": "A simulated device"},
        },
        "shell": {
            "plugin": "CMDShell",
            "configuration": {"intro": f"{ROUTER_NAME}: try `show version` or `sh ip int br`"},
        },
        "nos": {"plugin": "cisco_ios", "configuration": {"commands": _COMMANDS}},
    }
    network = FakeNOS(inventory={"hosts": {ROUTER_NAME: host}})
    network.shell_plugins["CMDShell"] = IosShell
    ssh_server_paramiko.channel_to_shell_tap = edit_lines
    network.start()


if __name__ == "__main__":
    main()
