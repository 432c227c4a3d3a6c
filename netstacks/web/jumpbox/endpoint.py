"""`/ws/jumpbox`: a shell of the controller, which lists devices and opens terminals to them (docs/protocol.md, 11).

It gives no access to the host: it starts no process and reads no file.
"""

import contextlib
from collections.abc import Iterable
from dataclasses import replace

from flask import Blueprint

from netstacks import greenlets
from netstacks.errors import ConnectionClosed, InvalidInput, NetstacksError, StoreUnavailable
from netstacks.hosts import shown_address
from netstacks.instance.targets import ConnectRequest
from netstacks.store.credentials import Credential
from netstacks.store.devices import Device
from netstacks.terminal import frames
from netstacks.terminal.dialogue import notice_line
from netstacks.terminal.frames import CloseCode
from netstacks.terminal.line_editor import LineEditor, Outcome
from netstacks.terminal.plain_text import plain
from netstacks.terminal.resume import SOFT_RESET
from netstacks.web.jumpbox.commands import Action, Ask, Clear, Commands, Connect, Leave, Say
from netstacks.web.jumpbox.completion import Completion
from netstacks.web.jumpbox.visit import Visit, authorise
from netstacks.web.ws.routes import Sock, WebSocket
from netstacks.web.ws.session_client import SessionClient
from netstacks.web.ws.terminal_client import refuse

blueprint = Blueprint("jumpbox", __name__)
sock = Sock()

_PROMPT = "jump> "
_GREETING = (
    "NetStacks jump box",
    "Type devices for a list, connect NAME for a terminal, help for the rest. The Tab key completes.",
)
_TERM = "xterm-256color"
_KEPT_LINES = 200
# The part of a paste that is processed before other greenlets run.
_PIECE_BYTES = 4096
_CLEAR_SCREEN = b"\x1b[H\x1b[2J"


@sock.route("/ws/jumpbox", bp=blueprint, authorise=authorise)
def jump_box(ws: WebSocket, visit: Visit) -> None:
    JumpBox(ws, visit).run()


class JumpBox(SessionClient):
    """One connection: a prompt, and between two prompts a normal session.

    SessionInfo has the id of the receiver of keys: the session, also while it is being opened, else the jump box.
    Commands run one at a time, in the receiving greenlet.
    """

    _check_secs = 10.0

    def __init__(self, ws: WebSocket, visit: Visit) -> None:
        super().__init__(ws, visit.request)
        self._visit = visit
        self._id = visit.request.session_id
        self._commands = Commands(visit.parts.database, visit.request.actor)
        self._completion = Completion(visit.parts.database, visit.request.actor, visit.check)
        self._history: list[str] = []
        self._editor = LineEditor(_PROMPT)
        self._question: Ask | None = None

    def _begin(self) -> None:
        if not self._turn_away():
            self._send_session_info()
            self._prompt(self._size_question() + _lines([*self._visit.banner, *_GREETING]))

    def _may_stay(self) -> bool:
        return self._session is not None or not self._turn_away()

    def _turn_away(self) -> bool:
        """Closes the connection, with the reason, if the user has lost access or the instance drains; True if so."""
        try:
            self._visit.check()
        except StoreUnavailable:
            return False  # The next command or check tries again.
        except NetstacksError as error:
            with contextlib.suppress(ConnectionClosed):
                refuse(self._ws, error)
            return True
        return False

    # The prompt.

    def _prompt(self, before: bytes, question: Ask | None = None) -> None:
        """Shows `before`, then the prompt for a command, or for the answer to `question`."""
        self._question = question
        if question is None:
            complete = self._completion.complete
            self._editor = LineEditor(_PROMPT, history=self._history, complete=complete, cols=self._size[0])
        else:
            self._editor = LineEditor(question.question, cols=self._size[0])
        self._type = self._edit
        self._send(before + self._editor.start())

    def _send(self, data: bytes) -> None:
        """Like `show`, but raises ConnectionClosed: the pasted commands of a client that has gone must not run."""
        if data:
            self._ws.send(frames.data(data))

    def _resize(self, cols: int, rows: int) -> None:
        super()._resize(cols, rows)
        if self._type == self._edit and self._editor.cols != cols:
            self._send(self._editor.resize(cols))

    def _edit(self, data: bytes) -> None:
        for start in range(0, len(data), _PIECE_BYTES):
            self._edit_piece(data[start : start + _PIECE_BYTES])
            greenlets.sleep(0)

    def _edit_piece(self, data: bytes) -> None:
        """Processes input; each line of a paste is a command."""
        while data:
            if self._type != self._edit:
                # The device could take it for the answer to a password prompt.
                self._send(notice_line("The text pasted after connect was discarded."))
                return
            editor = self._editor
            self._send(editor.feed(data))
            if editor.outcome is None:
                return
            data = editor.unread
            if self._turn_away():
                raise ConnectionClosed(None, "")
            self._end_line(editor)

    def _end_line(self, editor: LineEditor) -> None:
        question = self._question
        if editor.outcome is Outcome.ENTERED:
            if question is None:
                self._remember(editor.text)
            self._run(editor.text, question)
        elif editor.outcome is Outcome.CLOSED and question is None:
            self._do(Leave())
        else:
            self._prompt(b"")

    def _remember(self, line: str) -> None:
        if line.strip() and self._history[-1:] != [line]:
            self._history.append(line)
            del self._history[:-_KEPT_LINES]

    def _run(self, line: str, question: Ask | None) -> None:
        try:
            action = question.then(line) if question else self._commands.run(line)
        except InvalidInput as error:
            self._prompt(_lines([_sentence(error)]), question)
        except NetstacksError as error:
            self._prompt(_lines([_sentence(error)]))
        else:
            self._do(action)

    def _do(self, action: Action) -> None:
        match action:
            case Say(lines):
                self._prompt(_lines(lines))
            case Ask(lines):
                self._prompt(_lines(lines), action)
            case Clear():
                self._prompt(_CLEAR_SCREEN)
            case Connect(device, credential):
                self._connect(device, credential)
            case Leave():
                self._ws.close(CloseCode.NORMAL, "you have left the jump box")
                raise ConnectionClosed(None, "")

    # Sessions.

    def _connect(self, device: Device, credential: Credential) -> None:
        address = shown_address(device.host, device.port)
        self._send(_lines([f"Connecting to {device.name} at {address} as {credential.name}. Ctrl-C gives up."]))
        cols, rows = self._size
        self._open_new(
            ConnectRequest(
                self._request.actor,
                credential.id,
                target=f"device-{device.id}",
                host=None,
                port=None,
                term=_TERM,
                cols=cols,
                rows=rows,
            )
        )
        self._send_session_info()

    def _refuse(self, error: NetstacksError) -> None:
        self._come_back(notice_line(f"Not connected: {error}"))

    def _stay(self, code: CloseCode, reason: str) -> bool:
        if code not in (CloseCode.ENDED, CloseCode.FENCED):
            return False
        self._session = None
        # The last program on the device may have left the terminal in any state.
        self._come_back(SOFT_RESET + notice_line(f"Session ended: {reason}"))
        return True

    def _come_back(self, before: bytes) -> None:
        """Shows the prompt again. Called by the greenlet that opened the session, or the one that sent its output."""
        self._request = replace(self._request, session_id=self._id)
        self._has_session_info = False
        self.show(before)
        if self._turn_away():
            return
        with contextlib.suppress(ConnectionClosed):  # The receiving greenlet notices, too.
            self._prompt(b"")
        self._send_session_info()


def _lines(texts: Iterable[str]) -> bytes:
    """Lines for the terminal, without control characters: names of devices and credentials may contain any."""
    return "".join(f"{plain(text)}\r\n" for text in texts).encode()


def _sentence(error: NetstacksError) -> str:
    text = str(error)
    return text[:1].upper() + text[1:]
