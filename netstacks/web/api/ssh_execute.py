"""Read-only commands on devices, for models and for tests of changes (docs/protocol.md, 10.5).

A command runs as its user and like a terminal: with the vault, the host key check, the limits of the device, a
recording and audit rows.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Any, NotRequired
from uuid import UUID

import flask
from flask import Blueprint
from pydantic import BaseModel, Field, StringConstraints
from typing_extensions import TypedDict

from netstacks.errors import DeviceError, InvalidInput, NotFound
from netstacks.hosts import shown_address
from netstacks.instance import targets
from netstacks.instance.command_runner import Batch, CommandRunner, Result, Run
from netstacks.instance.targets import ConnectRequest, Target
from netstacks.llm.failures import NotConfigured, TooManyCalls
from netstacks.llm.limits import Slots
from netstacks.llm.redaction import Redactor
from netstacks.store import audit, credentials, definitions, devices, sanitization, sessions
from netstacks.store.pool import Transaction
from netstacks.web.api import read_only
from netstacks.web.api.ai import refuse
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.declarations import after, answers, takes_body
from netstacks.web.http.hang_up import has_hung_up
from netstacks.web.ws.terminal import check_open

blueprint = Blueprint("ssh_execute", __name__)
for _error in (NotConfigured, TooManyCalls, InvalidInput):
    blueprint.register_error_handler(_error, refuse)

_MAX_COMMANDS = 10
_RUNS_PER_USER = 2
_RETRY_SECS = 5.0
# The client's timeout is the sum of the commands' timeouts plus 15 s, and 600 s at most.
_SPARE_SECS = 13.0
_MAX_SECS = 595.0
# Devices wrap lines at the width of the window, and page after its height.
_COLS, _ROWS = 200, 50

# One per process, which is one instance: the limit applies per instance and user.
_runs = Slots()

Command = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]
Seconds = Annotated[int, Field(ge=1, le=300)]


class Execution(BaseModel):
    """One command or several. `session_definition_id` may be a live session, a definition, or `device-UUID`."""

    session_definition_id: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
    command: Command | None = None
    commands: Annotated[list[Command], Field(min_length=1, max_length=_MAX_COMMANDS)] | None = None
    stop_on_error: bool = False
    timeout_secs: Seconds = 30


class SingleExecution(BaseModel):
    command: Command
    timeout_secs: Seconds = 30


class ResultJson(TypedDict):
    """What a command has printed."""

    command: str
    success: bool
    output: str
    error: str | None
    execution_time_ms: int


class RunJson(TypedDict):
    """What commands have printed. One that fails or is not allowed is not an error of the request."""

    success: bool
    output: str
    error: str | None
    execution_time_ms: int
    results: NotRequired[list[ResultJson]]
    """For a request with several commands."""


@dataclass(frozen=True)
class _Destination:
    """The target of the commands, and the request that logs in to it."""

    connect_request: ConnectRequest
    target: Target


def _check_ai() -> None:
    if not services().llm.directory.may_use(guard.identity().role):
        raise NotConfigured("AI is switched off for you on this controller. An administrator can switch it on.")


@blueprint.post("/api/ai/ssh-execute")
@guard.requires("sessions.connect")
@after(_check_ai)
@takes_body(Execution)
@answers(429)
def ssh_execute(body: Execution) -> RunJson:
    """Runs commands for a model. One that fails or is not allowed is a 200 with `success` false: the model reads it."""
    if (body.command is None) == (body.commands is None):
        raise InvalidInput("command: send either command or commands")
    commands = [body.command] if body.command is not None else body.commands or []
    return _execute(
        "ai",
        "AI commands",
        body.session_definition_id,
        _batch(commands, body.timeout_secs, stop_on_error=body.stop_on_error),
        is_list=body.commands is not None,
    )


@blueprint.post("/api/devices/<device_id>/exec-command")
@guard.requires("sessions.connect")
@takes_body(SingleExecution)
@answers(429)
def exec_command(body: SingleExecution, device_id: str) -> RunJson:
    """Runs one command for the test of a change, by the same rules but without AI."""
    name = device_id if device_id.startswith(targets.DEVICE_PREFIX) else f"{targets.DEVICE_PREFIX}{device_id}"
    return _execute("device", "commands", name, _batch([body.command], body.timeout_secs), is_list=False)


def _batch(commands: list[str], timeout_secs: int, *, stop_on_error: bool = False) -> Batch:
    total_secs = min(len(commands) * timeout_secs + _SPARE_SECS, _MAX_SECS)
    return Batch(commands, timeout_secs, total_secs, stop_on_error)


def _execute(family: str, purpose: str, name: str, batch: Batch, *, is_list: bool) -> RunJson:
    """Runs a batch. `family` is the prefix of the audit events."""
    check_open(services())
    try:
        read_only.check(batch.commands)
        with services().routing_database.transaction() as tx:
            destination = _find(tx, name)
    except (InvalidInput, NotFound, DeviceError) as error:
        _audit(f"{family}.commands_refused", f"target:{name[:100]}", batch, reason=str(error))
        return {"success": False, "output": "", "error": str(error), "execution_time_ms": 0}
    environ = flask.request.environ
    with _slot(guard.identity().user_id):
        runner = CommandRunner(services().opener.open, purpose=purpose)
        run = runner.run(destination.connect_request, batch, lambda: has_hung_up(environ))
    if run.session_id:
        resource = f"session:{run.session_id}"
    else:
        resource = f"device:{destination.target.device_id}" if destination.target.device_id else f"target:{name[:100]}"
    # Without the error: it may quote output of the device.
    _audit(f"{family}.commands_run", resource, batch, device=destination.target.name, success=run.error is None)
    return _as_json(run, is_list=is_list)


@contextmanager
def _slot(user_id: UUID) -> Iterator[None]:
    if _runs.are_full(user_id, _RUNS_PER_USER):
        raise TooManyCalls(
            f"You have {_RUNS_PER_USER} runs of commands in progress. Wait for one of them to end.", _RETRY_SECS
        )
    with _runs.taken(user_id):
        yield


def _find(tx: Transaction, name: str) -> _Destination:
    """The destination of that name. Raises InvalidInput or NotFound, and DeviceError when no line is free."""
    connect_request, credential_id = _connect_request(tx, name)
    target = targets.resolve(tx, connect_request, within=guard.identity().reach)
    if target.lines is not None and target.device_id is not None:
        # A terminal would take the line of a detached session; commands must not end a session.
        used = devices.live_sessions(tx, target.device_id)
        if used >= target.lines:
            raise DeviceError(f"{used} of the {target.lines} lines of {target.name} are in use: try again later")
    user = guard.identity()
    usable = {
        each.id
        for each in credentials.usable(tx, user.user_id, within=user.reach)
        if each.may_be_sent(target.host, target.port, default_id=target.default_credential_id, within=user.reach)
    }
    default = credentials.default_for(tx, user.user_id, within=user.reach)
    candidates = (credential_id, target.default_credential_id, default.id if default else None)
    chosen = next((each for each in candidates if each in usable), None)
    if chosen is None:
        raise NotFound(
            f"You have no credential for {target.name}. On the page Credentials, choose a default one that is for any"
            f" address, or for {shown_address(target.host, target.port)}."
        )
    return _Destination(replace(connect_request, credential_id=chosen), target)


def _connect_request(tx: Transaction, name: str) -> tuple[ConnectRequest, UUID | None]:
    """The request that a terminal would make, and the credential of the session or definition, if it has one."""
    session_id = _uuid(name)
    row = sessions.find(tx, session_id) if session_id else None
    if row is not None:
        if row.user_id != guard.identity().user_id:
            raise NotFound("This session belongs to another user.")
        if row.state == "ended":
            raise NotFound(f"This session has ended: {row.end_reason}")
        if row.device_id is None:
            return _terminal(None, row.host, row.port), row.credential_id
        return _terminal(f"{targets.DEVICE_PREFIX}{row.device_id}"), row.credential_id
    definition = definitions.find(tx, session_id, within=guard.identity().reach) if session_id else None
    return _terminal(name), definition.credential_override_id if definition else None


def _terminal(target: str | None, host: str | None = None, port: int | None = None) -> ConnectRequest:
    return ConnectRequest(guard.actor(), None, target, host, port, term="vt100", cols=_COLS, rows=_ROWS)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _audit(event: str, resource: str, batch: Batch, **details: Any) -> None:
    """Deferred: the commands have run, so the event must be stored even if PostgreSQL is unreachable by now."""
    redactor = Redactor(sanitization.SanitizationConfig(), ())
    commands = redactor.redact_all(list(batch.commands))
    services().deferred_writes.put(audit.append, guard.actor(), event, resource, commands=commands, **details)


def _as_json(run: Run, *, is_list: bool) -> RunJson:
    results = [_result_as_json(each) for each in run.results]
    if is_list:
        heads = (f"=== [{number}] {each.command} ===" for number, each in enumerate(run.results, 1))
        output = "\n\n".join(f"{head}\n{each.output}" for head, each in zip(heads, run.results, strict=True))
    else:
        output = "".join(each.output for each in run.results)
    answer: RunJson = {
        "success": run.error is None,
        "output": output,
        "error": run.error,
        "execution_time_ms": sum(each["execution_time_ms"] for each in results),
    }
    if is_list:
        answer["results"] = results
    return answer


def _result_as_json(result: Result) -> ResultJson:
    return {
        "command": result.command,
        "success": result.error is None,
        "output": result.output,
        "error": result.error,
        "execution_time_ms": round(result.secs * 1000),
    }
