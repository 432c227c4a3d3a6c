"""`make run`: a complete controller to try out, with a database and a network device of its own."""

ROUTER_NAME = "demo-router"
ROUTER_USERNAME = "demo"
ROUTER_PASSWORD = "demo"  # noqa: S105 - it protects nothing
