"""A small SMTP server on a real socket: it keeps the mails that it takes, and can refuse, delay or hang up."""

import socketserver
import ssl
import threading
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, Self


@dataclass
class Mail:
    """A mail as it arrived: envelope and content."""

    sender: str
    recipients: list[str]
    message: EmailMessage


@dataclass
class SmtpServer:
    """`answers` replaces the answer to a command, or to a whole line; `""` hangs up. Use it with `with`."""

    answers: dict[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    password: str | None = None
    mails: list[Mail] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                _Conversation(outer, self).run()

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Conversation:
    def __init__(self, server: SmtpServer, handler: Any) -> None:
        self._server = server
        self._socket = handler.request
        self._reader, self._writer = handler.rfile, handler.wfile
        self._sender = ""
        self._recipients: list[str] = []

    def run(self) -> None:
        try:
            if self._say(self._server.answers.get("CONNECT", "220 mail.test ESMTP")):
                while self._take(self._reader.readline().decode().strip()):
                    pass
        except OSError:
            pass

    def _say(self, *lines: str) -> bool:
        if lines == ("",):
            return False
        self._writer.write("".join(f"{line}\r\n" for line in lines).encode())
        self._writer.flush()
        return True

    def _take(self, line: str) -> bool:
        word = line.split(" ")[0].upper()
        if not word:
            return False
        for asked in (line, word):
            if asked in self._server.answers:
                return self._say(self._server.answers[asked])
        match word:
            case "EHLO":
                offers = ["STARTTLS"] if self._server.tls else []
                offers += ["AUTH PLAIN"] if self._server.password else []
                rows = ["mail.test", *offers, "8BITMIME"]
                return self._say(*(f"250-{each}" for each in rows[:-1]), f"250 {rows[-1]}")
            case "STARTTLS":
                self._say("220 go on")
                assert self._server.tls is not None
                self._socket = self._server.tls.wrap_socket(self._socket, server_side=True)
                self._reader, self._writer = self._socket.makefile("rb"), self._socket.makefile("wb")
                return True
            case "AUTH":
                self._server.logins.append(line)
                return self._say("235 welcome")
            case "MAIL":
                self._sender, self._recipients = line.partition(":")[2].split(">")[0].strip("<"), []
            case "RCPT":
                self._recipients.append(line.partition(":")[2].split(">")[0].strip("<"))
            case "DATA":
                return self._take_data()
            case "QUIT":
                self._say("221 bye")
                return False
        return self._say("250 fine")

    def _take_data(self) -> bool:
        self._say("354 go on")
        lines = []
        while (line := self._reader.readline()).strip() != b"." and line:
            lines.append(line)
        message = message_from_bytes(b"".join(lines), policy=policy.default)
        self._server.mails.append(Mail(self._sender, self._recipients, message))  # type: ignore[arg-type]
        return self._say("250 taken")
