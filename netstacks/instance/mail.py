"""Sends one mail through the SMTP server of the settings, and says in words what failed."""

import smtplib
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from netstacks.errors import NetstacksError
from netstacks.instance.bounded_connection import bounded

# For each step of the conversation: the connection, a command, an answer.
STEP_SECS = 10.0
# For all of the conversation after the connection: a server may answer slowly, and without an end.
CONVERSATION_SECS = 120.0
# The part of a server's answer that is shown, with its code: another service may have sent it.
_ANSWER_LENGTH = 100


class MailFailed(NetstacksError):
    """The mail was not sent; the text says at which step, and what to check."""


@dataclass(frozen=True)
class MailServer:
    """The SMTP server. `security` is `starttls`, `tls` or `none`. Without a `username` there is no log-in."""

    host: str
    port: int
    security: str
    sender: str
    recipients: Sequence[str]
    username: str = ""
    password: str = ""

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


def send(server: MailServer, subject: str, body: str) -> str | None:
    """Returns when the server has taken the mail: the problem with recipients that it refused, None without one.

    Raises MailFailed when the mail goes to no recipient. Only this greenlet waits: sockets are cooperative, and each
    step and the whole have time limits. No log-in goes over a connection that is not encrypted.
    """
    if server.username and server.security == "none":
        raise MailFailed(
            "the password would be readable on its way: choose an encryption, or empty the user name to send without a"
            " log-in"
        )
    message = _message(server, subject, body)
    try:
        with _connected(server) as client:
            if server.security == "starttls":
                _start_tls(client, server)
            if server.username:
                _log_in(client, server)
            with _in_words(server, "the mail server refused the mail"):
                refused = client.send_message(message)
    except TimeoutError:
        raise MailFailed(f"{server.address} did not take the mail within {CONVERSATION_SECS:g} s") from None
    return _refusal(refused) if refused else None


def _message(server: MailServer, subject: str, body: str) -> EmailMessage:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, server.sender, ", ".join(server.recipients)
    message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain=server.sender.rpartition("@")[2] or None)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no absence notes in answer.
    message.set_content(body)
    return message


class _Client(smtplib.SMTP):
    """A client on a connection that exists already."""

    def __init__(self, connection: socket.socket, host: str) -> None:
        self._connection = connection
        super().__init__(host, timeout=STEP_SECS)

    def _get_socket(self, *_: object) -> socket.socket:
        return self._connection


@contextmanager
def _connected(server: MailServer) -> Iterator[smtplib.SMTP]:
    """Raises TimeoutError after CONVERSATION_SECS."""
    with ExitStack() as stack:
        with _in_words(server, "no connection to the mail server"):
            connection = stack.enter_context(socket.create_connection((server.host, server.port), STEP_SECS))
            stack.enter_context(bounded(connection, CONVERSATION_SECS))
            if server.security == "tls":
                context = ssl.create_default_context()
                connection = stack.enter_context(context.wrap_socket(connection, server_hostname=server.host))
            client = _Client(connection, server.host)
        stack.callback(client.close)
        yield client


def _start_tls(client: smtplib.SMTP, server: MailServer) -> None:
    with _in_words(server, "STARTTLS failed"):
        try:
            client.starttls(context=ssl.create_default_context())
        except smtplib.SMTPNotSupportedError:
            raise MailFailed(
                f"the mail server {server.address} offers no STARTTLS: choose another encryption or port"
            ) from None


def _log_in(client: smtplib.SMTP, server: MailServer) -> None:
    with _in_words(server, "the log-in at the mail server failed"):
        try:
            client.login(server.username, server.password)
        except smtplib.SMTPAuthenticationError as error:
            raise MailFailed(
                f"the mail server refused the user name or the password ({_answer(error.smtp_code, error.smtp_error)})"
            ) from None
        except smtplib.SMTPNotSupportedError:
            raise MailFailed(f"the mail server {server.address} offers no log-in that this client knows") from None


@contextmanager
def _in_words(server: MailServer, step: str) -> Iterator[None]:
    """Translates the errors of a step."""
    try:
        yield
    except smtplib.SMTPRecipientsRefused as error:
        raise MailFailed(_refusal(error.recipients)) from None
    except smtplib.SMTPSenderRefused as error:
        raise MailFailed(
            f"the mail server refused the sender {server.sender} ({_answer(error.smtp_code, error.smtp_error)})"
        ) from None
    except smtplib.SMTPConnectError:
        # Its text may be from any service at this address, so it is not shown.
        raise MailFailed(f"{step}: {server.address} does not answer as a mail server (220)") from None
    except smtplib.SMTPResponseException as error:
        raise MailFailed(f"{step}: {server.address} answered {_answer(error.smtp_code, error.smtp_error)}") from None
    except ssl.SSLCertVerificationError as error:
        raise MailFailed(
            f"the certificate of the mail server {server.host} is not valid: {error.verify_message}"
        ) from None
    except ssl.SSLError as error:
        raise MailFailed(
            f"{step}: TLS with {server.address} failed ({error.reason or error}). Check encryption and port"
        ) from None
    except TimeoutError:
        raise MailFailed(_silence(server, step)) from None
    except socket.gaierror:
        raise MailFailed(f"{step}: the name {server.host} cannot be resolved") from None
    except smtplib.SMTPServerDisconnected as error:
        if isinstance(error.__context__, TimeoutError):
            raise MailFailed(_silence(server, step)) from None
        raise MailFailed(f"{step}: {server.address} closed the connection. Check encryption and port") from None
    except ConnectionRefusedError:
        raise MailFailed(f"{step}: {server.address} refuses connections. Check address and port") from None
    except (OSError, smtplib.SMTPException, UnicodeError) as error:
        raise MailFailed(f"{step}: {server.address}: {error}") from None


def _refusal(refused: Mapping[str, tuple[int, bytes]]) -> str:
    answers = "; ".join(f"{recipient}: {_answer(*answer)}" for recipient, answer in sorted(refused.items()))
    return f"the mail server refused the recipients ({answers})"


def _silence(server: MailServer, step: str) -> str:
    return f"{step}: {server.address} did not answer within {STEP_SECS:g} s"


def _answer(code: int, text: bytes | str) -> str:
    """The code, and the printable characters of the first line of the text."""
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    first = (shown.splitlines() or [""])[0]
    printable = "".join(each if each.isprintable() else " " for each in first)
    return f"{code} {' '.join(printable.split())}"[:_ANSWER_LENGTH].strip()
