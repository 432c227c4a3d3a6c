"""The load balancer of the demo: deploy/nginx.conf with local addresses."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

PROGRAM = shutil.which("nginx")

_SERVER = re.compile(r"^( +server )controller-api-\d+:8080( max_fails=.*;)$\n", re.MULTILINE)
_LISTEN = re.compile(r"^( +listen )80\b", re.MULTILINE)


def configuration(text: str, port: int, instances: Sequence[int], folder: Path) -> str:
    """The configuration for loopback: listens on `port`, and balances over the ports `instances`.

    Temporary files are in `folder`, so that nginx needs no rights of a system service.
    """
    found = list(_SERVER.finditer(text))
    if not found or not _LISTEN.search(text):
        raise ValueError("deploy/nginx.conf has no `listen 80` or no `server controller-api-1:8080 ...;`")
    before, after = found[0].groups()
    servers = "".join(f"{before}127.0.0.1:{each}{after}\n" for each in instances)
    text = text[: found[0].start()] + servers + text[found[-1].end() :]
    text = _LISTEN.sub(rf"\g<1>127.0.0.1:{port}", text)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"    {kind}_temp_path {folder / 'nginx'};\n" for kind in kinds)
    return text.replace("http {\n", f"http {{\n{paths}", 1)


def command(file: Path, folder: Path) -> list[str]:
    """The command that runs nginx in the foreground."""
    return ["nginx", "-c", str(file), "-g", f"daemon off; pid {folder / 'nginx.pid'}; error_log stderr warn;"]
