"""The SSH client: opens a shell on a device, from the TCP connection to the confirmed channel."""

from netstacks import tracing
from netstacks.terminal.dialogue import Dialogue
from netstacks.terminal.shell import Shell
from netstacks.terminal.ssh_channel import open_channel
from netstacks.terminal.ssh_connection import Connection, Hooks
from netstacks.terminal.ssh_login import Login
from netstacks.terminal.ssh_target import SshTarget


def open_shell(target: SshTarget, hooks: Hooks, dialogue: Dialogue | None = None) -> Shell:
    """Connects, has the host key checked, logs in and opens a shell. A failure leaves nothing open.

    The user answers questions through `dialogue`, and cancels there. Raises DeviceUnreachable, DeviceLoginRefused,
    OpeningAbandoned or DeviceError, all with a text for the user.
    """
    with tracing.begin("device.connect"):
        connection = Connection(target, hooks, dialogue or Dialogue())
    try:
        with tracing.begin("ssh.login"):
            connection.connect()
            hooks.check_host_key(connection.host_key())
            new_password = Login(connection, target).run()
        if new_password is not None:
            hooks.on_new_password(new_password)
        channel, is_confirmed = open_channel(connection, target)
        return Shell(connection, channel, is_confirmed=is_confirmed)
    except BaseException:
        connection.close()
        raise
