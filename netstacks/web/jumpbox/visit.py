"""Access to the jump box: authorisation before the upgrade, and checks while the connection lasts."""

from dataclasses import dataclass
from functools import partial

from werkzeug.exceptions import Forbidden

from netstacks import permissions
from netstacks.errors import AccessWithdrawn, RetryLater, SessionGone
from netstacks.store.access import WITHDRAWN
from netstacks.terminal.resume import Resume
from netstacks.terminal.session import Session
from netstacks.web.auth import guard
from netstacks.web.auth.login_states import LoginStates
from netstacks.web.auth.tokens import Subject
from netstacks.web.context import Services, services
from netstacks.web.ws.control_request import ControlRequest
from netstacks.web.ws.session_client import RESTARTING
from netstacks.web.ws.terminal import open_another, parse_size


@dataclass(frozen=True)
class Visit:
    """An authorised connection to the jump box, valid while its log-in is."""

    request: ControlRequest
    subject: Subject
    logins: LoginStates
    parts: Services

    def check(self) -> None:
        """Raises AccessWithdrawn when the log-in has ended or may not open terminals any more, RetryLater in a drain.

        Raises StoreBusy when the database is too busy to tell.
        """
        if self.parts.agent.is_draining:
            raise RetryLater(RESTARTING)
        role = self.logins.role(self.subject)
        if role is None or not permissions.grants(role, "sessions.connect"):
            raise AccessWithdrawn(WITHDRAWN)

    def role(self) -> str | None:
        return self.logins.last_known_role(self.subject)


def authorise() -> Visit:
    """All checks before the upgrade; they are those of `/ws/ssh`."""
    guard.check_origin()
    user = guard.identity()
    if not user.may("sessions.connect"):
        raise Forbidden("Your role may not open terminals. An administrator can give you the role operator.")
    parts = services()
    resume = Resume(None, None, tail=False)
    request = ControlRequest(
        guard.actor(), parse_size(), resume, _no_session, partial(open_another, parts, user.login_id)
    )
    subject = Subject(user.user_id, user.username, user.role, user.login_id)
    return Visit(request, subject, guard.login_states(), parts)


def _no_session() -> Session:
    raise SessionGone("no device is connected")
