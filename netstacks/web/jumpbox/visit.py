"""Access to the jump box: authorisation before the upgrade, and checks while the connection lasts."""

from dataclasses import dataclass
from functools import partial

from werkzeug.exceptions import Forbidden

from netstacks.errors import AccessWithdrawn, RetryLater, SessionGone
from netstacks.store.access import WITHDRAWN
from netstacks.store.setting_definitions import BANNER, JUMP_BOX, SECOND_FACTOR
from netstacks.terminal.resume import Resume
from netstacks.terminal.session import Session
from netstacks.web.auth import enforcement, features, guard, origins
from netstacks.web.auth.factor_states import FactorStates
from netstacks.web.auth.login_states import LoginStates
from netstacks.web.auth.parts import auth_parts
from netstacks.web.auth.tokens import Subject
from netstacks.web.context import Services, services
from netstacks.web.jumpbox.words import PERMISSION
from netstacks.web.ws.control_request import ControlRequest
from netstacks.web.ws.session_client import RESTARTING
from netstacks.web.ws.terminal import open_another, parse_size


@dataclass(frozen=True)
class Visit:
    """An authorised connection to the jump box, valid while its log-in is."""

    request: ControlRequest
    subject: Subject
    logins: LoginStates
    factors: FactorStates
    parts: Services

    def check(self) -> None:
        """Raises AccessWithdrawn when the log-in has ended, or may not open terminals or use the jump box any more.

        The same when the user has to set up a second factor first. Raises RetryLater in a drain.

        Raises StoreBusy when the database is too busy to tell.
        """
        if self.parts.agent.is_draining:
            raise RetryLater(RESTARTING)
        role = self.logins.role(self.subject)
        if role is None or not role.may(PERMISSION):
            raise AccessWithdrawn(WITHDRAWN)
        problem = features.problem_of(self.parts.system_settings.get(JUMP_BOX), JUMP_BOX, role.name)
        if problem:
            raise AccessWithdrawn(problem)
        is_concerned = enforcement.concerns(role, self.parts.system_settings.get(SECOND_FACTOR))
        if is_concerned and self.factors.must_set_up(self.parts.database, self.subject.login_id):
            raise AccessWithdrawn(enforcement.REQUIRED)

    @property
    def banner(self) -> list[str]:
        """The lines to be shown before the first prompt."""
        return self.parts.system_settings.get(BANNER).splitlines()


def authorise() -> Visit:
    """All checks before the upgrade; they are those of `/ws/ssh`."""
    origins.check()
    user = guard.identity()
    if not user.may(PERMISSION):
        raise Forbidden("Your role may not open terminals. An administrator can give you the role operator.")
    parts = services()
    resume = Resume(None, None, tail=False)
    request = ControlRequest(
        guard.actor(), parse_size(), resume, _no_session, partial(open_another, parts, user.login_id)
    )
    subject = Subject(user.user_id, user.username, user.role, user.login_id)
    return Visit(request, subject, guard.login_states(), auth_parts().factor_states, parts)


def _no_session() -> Session:
    raise SessionGone("no device is connected")
