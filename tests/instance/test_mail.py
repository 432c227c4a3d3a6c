"""Mail through a real SMTP server, and its failures in words."""

import base64
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from netstacks.instance import mail
from netstacks.instance.mail import MailFailed, MailServer
from tests.certificates import Authority
from tests.endless import endless
from tests.patched import patched
from tests.smtp_server import SmtpServer


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


def server_of(smtp: SmtpServer) -> MailServer:
    recipients = ["noc@example.com", "boss@example.com"]
    return MailServer("127.0.0.1", smtp.port, "none", "netstacks@example.com", recipients)


def refusal(server: MailServer) -> str:
    with pytest.raises(MailFailed) as caught:
        mail.send(server, "s", "b")
    return str(caught.value)


def test_a_mail_arrives_whole(smtp: SmtpServer) -> None:
    mail.send(server_of(smtp), "Licence of München", "It expires.\n\nSoon.\n")
    [taken] = smtp.mails
    assert (taken.sender, taken.recipients) == ("netstacks@example.com", ["noc@example.com", "boss@example.com"])
    assert taken.message["Subject"] == "Licence of München"
    assert taken.message["Auto-Submitted"] == "auto-generated"
    assert taken.message.get_content().splitlines() == ["It expires.", "", "Soon."]


@pytest.fixture
def encrypted(smtp: SmtpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MailServer:
    """A server with STARTTLS, and a log-in there."""
    authority = Authority(tmp_path)
    smtp.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    smtp.tls.load_cert_chain(*authority.issue("127.0.0.1"))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    return replace(server_of(smtp), security="starttls", username="us", password="pass word")


def test_a_log_in(smtp: SmtpServer, encrypted: MailServer) -> None:
    smtp.password = "pass word"
    mail.send(encrypted, "s", "b")
    [line] = smtp.logins
    assert base64.b64decode(line.split()[-1]) == b"\0us\0pass word"


def test_no_password_goes_over_a_connection_that_is_not_encrypted(smtp: SmtpServer) -> None:
    smtp.password = "pass word"
    text = refusal(replace(server_of(smtp), username="us", password="pass word"))
    assert text.startswith("the password would be readable on its way: choose an encryption")
    assert (smtp.logins, smtp.mails) == ([], [])


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        (
            {"CONNECT": "554 go away"},
            r"^no connection to the mail server: 127\.0\.0\.1:\d+ does not .* server \(220\)$",
        ),
        ({"CONNECT": "SSH-2.0-OpenSSH_9.9 core-7"}, r"^no connection to .* does not answer as a mail server \(220\)$"),
        ({"CONNECT": "-ERR unknown command 'EHLO'"}, r"^no connection to .* does not answer as a mail server \(220\)$"),
        ({"CONNECT": ""}, r"no connection .* closed the connection"),
        ({"MAIL": "550 not you"}, r"refused the sender netstacks@example\.com \(550 not you\)"),
        ({"RCPT": "550 unknown"}, r"refused the recipients \(boss@example.com: 550 unknown; noc@example.com: 550 unk"),
        ({"DATA": "451 later"}, r"the mail server refused the mail: .* answered 451 later"),
    ],
)
def test_what_fails_is_told(smtp: SmtpServer, answers: dict[str, str], text: str) -> None:
    smtp.answers = answers
    with pytest.raises(MailFailed, match=text):
        mail.send(server_of(smtp), "s", "b")


def test_of_an_answer_the_code_and_a_short_printable_text_are_told(smtp: SmtpServer) -> None:
    smtp.answers = {"MAIL": "550-5.7.1 not\x1b[2J  you " + "x" * 200 + "\r\n550 second line"}
    text = refusal(server_of(smtp))
    assert "(550 5.7.1 not [2J you xxx" in text
    assert "second" not in text
    assert len(text) < 200


def test_the_others_get_a_mail_of_which_one_recipient_is_refused(smtp: SmtpServer) -> None:
    smtp.answers = {"rcpt TO:<boss@example.com>": "550 unknown"}
    problem = mail.send(server_of(smtp), "s", "b")
    assert problem == "the mail server refused the recipients (boss@example.com: 550 unknown)"
    assert [each.recipients for each in smtp.mails] == [["noc@example.com"]]


def test_a_wrong_password(smtp: SmtpServer, encrypted: MailServer) -> None:
    smtp.password, smtp.answers = "right", {"AUTH": "535 wrong"}
    assert refusal(encrypted) == "the mail server refused the user name or the password (535 wrong)"


def test_no_log_in_is_offered(encrypted: MailServer) -> None:
    assert "offers no log-in" in refusal(encrypted)


def test_no_starttls_is_offered(smtp: SmtpServer) -> None:
    assert "offers no STARTTLS" in refusal(replace(server_of(smtp), security="starttls"))
    assert not smtp.mails


def test_a_server_without_tls_is_asked_for_it(smtp: SmtpServer) -> None:
    assert "TLS with 127.0.0.1" in refusal(replace(server_of(smtp), security="tls"))


def test_a_silent_server_ends_the_wait(smtp: SmtpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "STEP_SECS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = replace(server_of(smtp), port=silent.getsockname()[1])
        assert "did not answer within" in refusal(server)


@pytest.mark.parametrize("security", ["none", "tls"])
@patched
def test_a_server_that_answers_without_an_end_is_given_up(security: str) -> None:
    mail.CONVERSATION_SECS = 0.5
    # Lines of a greeting, or the head of a TLS record whose content comes slowly.
    with endless(b"220-more\r\n" if security == "none" else b"\x16\x03\x03\x3f\xff") as port:
        server = MailServer("127.0.0.1", port, security, "netstacks@example.com", ["noc@example.com"])
        assert refusal(server) == f"127.0.0.1:{port} did not take the mail within 0.5 s"


def test_nobody_is_there(smtp: SmtpServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert "refuses connections" in refusal(replace(server_of(smtp), port=port))
    assert "cannot be resolved" in refusal(replace(server_of(smtp), host="no.such.name.invalid"))


def test_a_certificate_must_be_valid(smtp: SmtpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    smtp.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    smtp.tls.load_cert_chain(*authority.issue("127.0.0.1"))
    server = replace(server_of(smtp), security="starttls")
    assert refusal(server).startswith("the certificate of the mail server 127.0.0.1 is not valid")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    mail.send(server, "s", "b")
    assert len(smtp.mails) == 1
