"""Who may use the jump box, and for how long."""

from dataclasses import dataclass
from functools import partial

from werkzeug.exceptions import Forbidden

from netstacks import permissions
from netstacks.errors import AccessWithdrawn, ComeAgain, SessionGone
from netstacks.store.access import WITHDRAWN
from netstacks.terminal.resume import Resume
from netstacks.terminal.session import Session
from netstacks.web.auth import guard
from netstacks.web.auth.login_states import LoginStates
from netstacks.web.auth.tokens import Subject
from netstacks.web.context import Services, services
from netstacks.web.ws.session_client import RESTARTING, ControlRequest
from netstacks.web.ws.terminal import open_another, parse_size


@dataclass(frozen=True)
class Visit:
    """A connection that may use the jump box, as long as its log-in holds."""

    asked: ControlRequest
    subject: Subject
    logins: LoginStates
    parts: Services

    def check(self) -> None:
        """Raises AccessWithdrawn when the log-in has ended or may not open terminals any more, ComeAgain in a drain.

        Raises StoreBusy when that cannot be told now.
        """
        if self.parts.agent.is_draining:
            raise ComeAgain(RESTARTING)
        role = self.logins.role(self.subject)
        if role is None or not permissions.grants(role, "sessions.connect"):
            raise AccessWithdrawn(WITHDRAWN)

    def role(self) -> str | None:
        return self.logins.last_known_role(self.subject)


def authorise() -> Visit:
    """Everything that is decided before the upgrade; the checks are those of `/ws/ssh`."""
    guard.check_origin()
    who = guard.identity()
    if not who.may("sessions.connect"):
        raise Forbidden("your role may not open terminals: an administrator can give you the role operator")
    parts = services()
    resume = Resume(None, None, tail=False)
    asked = ControlRequest(guard.actor(), parse_size(), resume, _no_session, partial(open_another, parts, who.login_id))
    subject = Subject(who.user_id, who.username, who.role, who.login_id)
    return Visit(asked, subject, guard.login_states(), parts)


def _no_session() -> Session:
    raise SessionGone("no device is connected")
