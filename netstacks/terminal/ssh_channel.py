"""Opening a shell after the log-in (RFC 4254, section 6), with notices about what the device refuses."""

from ssh.channel import Channel
from ssh.error_codes import SSH_AGAIN
from ssh.exceptions import EOF, BaseSSHError

from netstacks.errors import DeviceError, DeviceUnreachable
from netstacks.terminal.ssh_connection import Connection
from netstacks.terminal.ssh_target import SshTarget

# A device that has not answered the pty request by then never does.
_TERMINAL_SECS = 20.0
# Nor does a device that prints before it confirms the shell.
_CONFIRMATION_SECS = 2.0


def open_channel(connection: Connection, target: SshTarget) -> tuple[Channel, bool]:
    """A channel with a shell, and whether the device has confirmed the shell.

    Shows the user what the device refuses. Raises DeviceError without a shell, with the device's reason.
    """
    channel = _new_channel(connection, target)
    if not _request_terminal(connection, target, channel):
        # libssh sends nothing more on a channel with an unanswered request.
        channel = _new_channel(connection, target)
    return channel, _start_shell(connection, target, channel)


def _new_channel(connection: Connection, target: SshTarget) -> Channel:
    try:
        channel = connection.session.channel_new()
        with connection.step("the device to open a session"):
            connection.drive(channel.open_session)
    except BaseSSHError as error:
        raise DeviceError(f"{target.address} refused to open a session: {connection.explain(error)}") from error
    return channel


def _request_terminal(connection: Connection, target: SshTarget, channel: Channel) -> bool:
    """Requests a terminal (pty-req), and tells the user when the device gives none; returns whether it has answered."""
    consequence = "this session has no terminal type and no window size, and programs may not draw in it"
    patience_secs = min(_TERMINAL_SECS, target.patience_secs)
    try:
        with connection.step("the device to give a terminal", patience_secs):
            connection.drive(channel.request_pty_size, target.term, target.cols, target.rows)
    except DeviceUnreachable:
        connection.dialogue.say(
            f"the device has not answered the request for a terminal for {patience_secs:.0f} s: {consequence}"
        )
        return False
    except BaseSSHError as error:
        _raise_if_broken(connection, target, error)
        connection.dialogue.say(f"the device refused to give a terminal: {consequence}")
    return True


def _start_shell(connection: Connection, target: SshTarget, channel: Channel) -> bool:
    """Starts the shell; returns whether the device has confirmed it. Some devices print and never confirm."""
    try:
        with connection.step("the device to start a shell"):
            is_confirmed = _is_confirmed(connection, channel)
        if is_confirmed:
            return True
        with connection.step("the device to confirm the shell", _CONFIRMATION_SECS):
            connection.drive(channel.request_shell)
            return True
    except DeviceUnreachable:
        connection.dialogue.say(
            "the device has not answered the request for a shell: what it prints is shown, and a change of the window's"
            " size does not reach it"
        )
        return False
    except EOF:
        raise DeviceError(f"{target.address} closed the session instead of starting a shell") from None
    except BaseSSHError as error:
        _raise_if_broken(connection, target, error)
        raise DeviceError(f"{target.address} refused to start a shell: {connection.explain(error)}") from error


def _is_confirmed(connection: Connection, channel: Channel) -> bool:
    """True with the device's confirmation, false when it prints before that."""
    counter = connection.counter
    while True:
        received_bytes = counter.in_bytes
        if connection.advance(channel.request_shell) != SSH_AGAIN:
            return True
        if connection.advance(channel.poll) > 0:
            return False
        # Each call may take in what the other one waits for: the descriptor does not become readable for it again.
        if counter.in_bytes == received_bytes:
            connection.wait_for_progress()


def _raise_if_broken(connection: Connection, target: SshTarget, error: BaseSSHError) -> None:
    if connection.is_broken:
        raise DeviceError(f"{target.address} ended the session: {connection.explain(error)}") from error
