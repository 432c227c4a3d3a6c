"""Health for load balancers, orchestrators and the Terminal client; answered from a snapshot, never from a store."""

from flask import Blueprint, Response, jsonify

from netstacks.web.context import services

blueprint = Blueprint("health", __name__)


@blueprint.get("/health")
@blueprint.get("/api/v1/health/live")
def live() -> Response:
    """200 while the event loop turns: what the Terminal client probes before its log-in form (wire contract 2)."""
    return jsonify(status="alive")


@blueprint.get("/api/v1/health")
def health() -> tuple[Response, int]:
    """Whether this instance should get work (specification, Health Endpoints)."""
    report = services().health.report()
    if report is None:
        return jsonify(status="unhealthy", reason="starting"), 503
    return jsonify(report.body()), report.http_status


@blueprint.get("/api/v1/health/ready")
def ready() -> tuple[Response, int]:
    """Strict: 503 on anything but healthy."""
    report = services().health.report()
    if report is None:
        return jsonify(status="unhealthy", reason="starting"), 503
    return jsonify(report.body()), 200 if report.is_ready else 503
