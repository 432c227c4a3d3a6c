"""The health endpoints in the OpenAPI document. They are in front of the application, which has no routes for them."""

from collections.abc import Callable, Iterator
from typing import Any, get_args, get_type_hints

from netstacks.web.api.openapi_operation import REASONS, words
from netstacks.web.api.openapi_schemas import Schemas
from netstacks.web.health import HealthEndpoint

TAG = "health"
# By path, what answers there and the statuses.
_ENDPOINTS: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
    "/api/v1/health": (HealthEndpoint.health, (200, 503)),
    "/api/v1/health/live": (HealthEndpoint.live, (200,)),
    "/api/v1/health/ready": (HealthEndpoint.ready, (200, 503)),
}


# Each is annotated with the pair of status and JSON.
ANSWERS = {endpoint: get_args(get_type_hints(endpoint)["return"])[1] for endpoint, _ in _ENDPOINTS.values()}


def operations(schemas: Schemas) -> Iterator[tuple[str, dict[str, Any]]]:
    """The path and the operation of each endpoint."""
    for path, (endpoint, statuses) in _ENDPOINTS.items():
        content = {"application/json": {"schema": schemas.of_answer(endpoint)}}
        summary, description = words(endpoint)
        responses = {str(each): {"description": REASONS[each], "content": content} for each in statuses}
        operation = {"summary": summary, "parameters": [], "security": [], "responses": responses}
        yield path, operation | ({"description": description} if description else {})
