"""A load balancer in front of the instances, as clients see it."""

from tests.controller import Controller
from tests.deploy.balancers import Balancer


class Front(Controller):
    """The load balancer as clients see it: an address like a controller's."""

    def __init__(self, balancer: Balancer) -> None:
        self.port, self.url = balancer.port, balancer.url


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
