"""`make run`: a complete controller for a first try, with its own database and network device."""

ROUTER_NAME = "demo-router"
ROUTER_USERNAME = "demo"
ROUTER_PASSWORD = "demo"  # noqa: S105 - it protects nothing
