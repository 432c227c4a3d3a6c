"""Features that administrators switch off, for all users or for roles."""

from collections.abc import Callable

from netstacks.errors import Forbidden
from netstacks.store.setting_types import Feature, Setting
from netstacks.web.auth import guard


def check(get: Callable[[Setting[Feature]], Feature], feature: Setting[Feature]) -> None:
    """Raises Forbidden unless the feature is on for the user of this request."""
    problem = problem_of(get(feature), feature, guard.identity().role)
    if problem:
        raise Forbidden(problem)


def problem_of(state: Feature, feature: Setting[Feature], role: str) -> str | None:
    """Why users of `role` cannot use a feature, as a sentence; None when they can."""
    if not state.enabled:
        return f"{feature.title} is switched off. An administrator can switch it on in the system settings."
    if not state.may_use(role):
        return f"{feature.title} is switched off for your role, {role}. An administrator can change that."
    return None
