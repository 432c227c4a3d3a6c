"""Where the templates, the static files and gunicorn's configuration are."""

import sysconfig
from pathlib import Path


def folder() -> Path:
    """The project's root in a checkout; in an installation the folder into which the wheel puts these files."""
    checkout = Path(__file__).resolve().parents[1]
    return checkout if (checkout / "templates").is_dir() else Path(sysconfig.get_path("data")) / "share" / "netstacks"
