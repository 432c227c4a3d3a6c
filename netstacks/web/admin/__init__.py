"""The pages of administration. They use only the JSON API: a controller and a controller-admin serve the same ones.

Importing the package registers the views of its modules on one blueprint.
"""

from netstacks.web.admin import (
    about,
    account,
    audit,
    credentials,
    devices,
    ha,
    host_keys,
    license,
    llm,
    reference,
    replay,
    roles,
    sessions,
    settings,
    sso,
    users,
)
from netstacks.web.admin.layout import blueprint

__all__ = [
    "about",
    "account",
    "audit",
    "blueprint",
    "credentials",
    "devices",
    "ha",
    "host_keys",
    "license",
    "llm",
    "reference",
    "replay",
    "roles",
    "sessions",
    "settings",
    "sso",
    "users",
]
