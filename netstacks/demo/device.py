"""A Cisco IOS device to type into, simulated over SSH: `python -m netstacks.demo.device PORT KEY_FILE`."""

import signal
import sys

from fakenos import FakeNOS

NAME = "demo-router"
USERNAME = "demo"
PASSWORD = "demo"  # noqa: S105 - it protects nothing


def main() -> None:
    """Serves until it is told to end."""
    port, key_file = int(sys.argv[1]), sys.argv[2]
    host = {
        "username": USERNAME,
        "password": PASSWORD,
        "port": port,
        "platform": "cisco_ios",
        "server": {"plugin": "ParamikoSshServer", "configuration": {"address": "127.0.0.1", "ssh_key_file": key_file}},
    }
    network = FakeNOS(inventory={"hosts": {NAME: host}})
    network.start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pause()


if __name__ == "__main__":
    main()
