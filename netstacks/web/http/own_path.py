"""Where a page may redirect to."""

import re

# Browsers treat a backslash as a slash and drop tabs and line ends; two or more slashes lead to another site.
_OWN_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x1f]*")


def own_path(target: str) -> str:
    """The path if it is on this site, else `/`: a link to the log-in page must not redirect to another site."""
    return target if _OWN_PATH.fullmatch(target) else "/"
