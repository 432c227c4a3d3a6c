"""Our own pages, rendered on the server. Small scripts send what a user changes to the API.

Importing the package registers the views of its modules on one blueprint.
"""

from netstacks.web.pages import account, devices, ha_live, sessions
from netstacks.web.pages.layout import blueprint

__all__ = ["account", "blueprint", "devices", "ha_live", "sessions"]
