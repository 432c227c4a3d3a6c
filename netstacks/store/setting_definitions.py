"""The table of all system settings, by section. docs/settings.md is generated from it."""

import re
from typing import Any

from netstacks.store.setting_types import (
    Setting,
    by_key,
    checked,
    choice,
    feature,
    number,
    secret,
    switch,
    text,
)

_ADDRESS = re.compile(r"[^@\s,<>\"]{1,64}@[^@\s,<>\"]{1,190}")
_MAX_ADDRESSES = 20
_HOST = re.compile(r"[A-Za-z0-9.:_-]{1,253}")


def _address(value: str) -> str:
    if value and not _ADDRESS.fullmatch(value):
        raise ValueError("must be an e-mail address, such as netops@example.com")
    return value


def _addresses(value: str) -> str:
    found = [each.strip() for each in value.split(",") if each.strip()]
    if len(found) > _MAX_ADDRESSES or not all(_ADDRESS.fullmatch(each) for each in found):
        raise ValueError(f"must be at most {_MAX_ADDRESSES} e-mail addresses, separated by commas")
    return ", ".join(found)


def _host(value: str) -> str:
    if value and not _HOST.fullmatch(value):
        raise ValueError("must be only a host name or an address: without scheme, port, user or path")
    return value


AI = feature(
    "ai.enabled",
    "AI",
    "The assistant of the terminal, summaries, and the AI functions of the NetStacks Terminal client.",
)
SHARING = feature(
    "features.sharing",
    "Sharing of sessions",
    "Users give others a link to a live session. Off for a role: its users create no new shares, and those that they"
    " have created stay valid until they expire or are revoked. Off for all: existing shares end within a minute, too.",
)
INPUT_RECORDING = feature(
    "features.input_recording",
    "Recording of input",
    "Recordings contain the keys that users type, except secrets. Off: recordings contain only the output, which"
    " includes the echo of most keys. It applies to the sessions of users of that role, also to running ones.",
    unreadable_is_on=True,
)
AD_HOC_HOSTS = feature(
    "features.ad_hoc_hosts",
    "Ad hoc hosts",
    "Users open terminals to addresses that are not in the device list. A shared credential is never sent to such an"
    " address, unless it is restricted to exactly this host and port.",
    is_on=False,
)
JUMP_BOX = feature("features.jump_box", "Jump box", "The shell from which users find devices and open terminals.")
REPLAY_DOWNLOAD = feature(
    "features.replay_download",
    "Download of recordings",
    "Users who may see a recording can save it as a file. Off: recordings can only be replayed. A replay sends the"
    " recording to the browser, so this does not protect it against a user who wants a copy.",
)
SESSIONS_PER_USER = number(
    "sessions.per_user",
    "Sessions of one user",
    "The largest number of open sessions of one user; 0 means no limit. Sessions that are open already are not ended.",
    500,
    most=100_000,
    zero="no limit",
    variable="USER_SESSIONS_MAX",
)
IDLE_MINUTES = number(
    "sessions.idle_minutes",
    "End after idle time",
    "A session without input and output ends after this time; 0 is never. The terminal shows a notice 5 minutes and"
    " 1 minute before.",
    0,
    most=10_080,
    unit="minutes",
    zero="never",
)
MAX_HOURS = number(
    "sessions.longest_hours",
    "Longest duration",
    "A session ends after this time, however busy it is; 0 is never. The terminal shows a notice 5 minutes and"
    " 1 minute before.",
    0,
    most=8_760,
    unit="hours",
    zero="never",
)
PASSWORD_LENGTH = number(
    "passwords.min_length",
    "Least length of passwords",
    "The length of a new password of a user. It does not apply to existing passwords.",
    8,
    least=8,
    most=64,
    unit="characters",
)
ADMIN_PASSWORD_LENGTH = number(
    "passwords.min_admin_length",
    "Least length of administrators' passwords",
    "The same for administrators. The larger of the two lengths applies to them.",
    12,
    least=12,
    most=64,
    unit="characters",
)
FREE_ATTEMPTS = number(
    "passwords.free_attempts",
    "Failed log-ins before a wait",
    "After this many wrong passwords of a user from one place, each further attempt must wait, at first 10 seconds and"
    " then twice as long each time.",
    10,
    least=3,
    most=10,
)
MAX_WAIT_SECS = number(
    "passwords.longest_wait_secs",
    "Longest wait after failed log-ins",
    "The wait between two attempts does not become longer than this. A user who logs in elsewhere is not affected.",
    300,
    least=300,
    most=900,
    unit="seconds",
)
RECORDING_DAYS = number(
    "recordings.retention_days",
    "Keep recordings",
    "Recordings of sessions that ended longer ago are deleted; 0 keeps them.",
    0,
    most=36_500,
    unit="days",
    zero="for ever",
    variable="RECORDING_RETENTION_DAYS",
)
AUDIT_DAYS = number(
    "audit.retention_days",
    "Keep the audit log",
    "Older rows of the audit log are deleted; 0 keeps them. A change needs the permission audit.manage, too.",
    0,
    most=36_500,
    unit="days",
    zero="for ever",
    also_needs="audit.manage",
)
BANNER = text(
    "login.banner",
    "Banner before log-in",
    "A plain text that is shown above the log-in form and before the prompt of the jump box, such as a legal notice.",
    most=2000,
    has_lines=True,
)
SECOND_FACTOR = choice(
    "login.second_factor",
    "Two-step log-in",
    "The users who must have a second factor: an authenticator app or a passkey. Users without one set one up at their"
    " next request, before anything else. Users who log in by single sign-on need none here.",
    "optional",
    {"optional": "no user", "administrators": "users who may manage users", "all": "all users"},
)
MAIL_HOST = checked(
    text("mail.host", "Mail server", "The SMTP server that takes the notices. Empty: no mail is sent.", most=253), _host
)
MAIL_PORT = number("mail.port", "Port", "The port of the mail server.", 587, least=1, most=65_535)
MAIL_SECURITY = choice(
    "mail.security",
    "Encryption",
    "How the connection to the mail server is encrypted. The server's certificate must be valid for its name."
    " Without encryption there is no log-in: the password would be readable.",
    "starttls",
    {"starttls": "STARTTLS, mostly port 587", "tls": "TLS from the start, mostly port 465", "none": "not encrypted"},
)
MAIL_USERNAME = text("mail.username", "User name", "The log-in at the mail server. Empty: no log-in.", most=200)
MAIL_PASSWORD = secret(
    "mail.password",
    "Password",
    "The password at the mail server. It is stored in the vault, and deleted when the server, the port, the encryption"
    " or the user name changes: enter it again.",
)
MAIL_FROM = checked(text("mail.from", "Sender", "The address that notices come from.", most=254), _address)
MAIL_TO = checked(
    text("mail.to", "Recipients", "The addresses that notices go to, separated by commas.", most=4000), _addresses
)
MAIL_LICENSE = switch("mail.on_license", "Licence", "The licence expires within 30 days, or has expired.", default=True)
MAIL_INSTANCE_LOST = switch("mail.on_instance_lost", "Lost instance", "An instance was declared dead.", default=True)
MAIL_DISK_FULL = switch(
    "mail.on_disk_full", "Full disk", "The disk of an instance's spool has too little free space.", default=True
)
MAIL_PROVIDER_OPEN = switch(
    "mail.on_provider_open",
    "Language model",
    "Calls to a language model's provider have stopped, because too many of them failed.",
    default=True,
)

SECTIONS: dict[str, tuple[Setting[Any], ...]] = {
    "Features": (AI, SHARING, INPUT_RECORDING, AD_HOC_HOSTS, JUMP_BOX, REPLAY_DOWNLOAD),
    "Sessions": (SESSIONS_PER_USER, IDLE_MINUTES, MAX_HOURS),
    "Passwords and log-in": (
        PASSWORD_LENGTH,
        ADMIN_PASSWORD_LENGTH,
        FREE_ATTEMPTS,
        MAX_WAIT_SECS,
        SECOND_FACTOR,
        BANNER,
    ),
    "Retention": (RECORDING_DAYS, AUDIT_DAYS),
    "Mail": (
        MAIL_HOST,
        MAIL_PORT,
        MAIL_SECURITY,
        MAIL_USERNAME,
        MAIL_PASSWORD,
        MAIL_FROM,
        MAIL_TO,
        MAIL_LICENSE,
        MAIL_INSTANCE_LOST,
        MAIL_DISK_FULL,
        MAIL_PROVIDER_OPEN,
    ),
}
# The secrets that are sent to where other settings say, by the keys of those settings.
BOUND_TO = {each.key: (MAIL_PASSWORD,) for each in (MAIL_HOST, MAIL_PORT, MAIL_SECURITY, MAIL_USERNAME)}
SETTINGS = by_key([each for section in SECTIONS.values() for each in section])
