"""controller-admin in the Helm chart: valid, hardened, and allowed to reach the API alone."""

from typing import Any

import kubernetes_validate
import pytest

from netstacks import __version__
from netstacks.controller_admin.settings import load
from tests.deploy.chart import render

ADMIN = {"admin": {"enabled": True}}


@pytest.fixture
def manifests() -> list[dict[str, Any]]:
    return [each for each in render(values=ADMIN) if each["metadata"]["name"] == "netstacks-admin"]


def of_kind(manifests: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = (each for each in manifests if each["kind"] == kind)
    return found


@pytest.mark.parametrize("version", ["1.27", kubernetes_validate.latest_version()])
def test_kubernetes_accepts_every_manifest(manifests: list[dict[str, Any]], version: str) -> None:
    assert sorted(each["kind"] for each in manifests) == ["Deployment", "NetworkPolicy", "Service"]
    for manifest in manifests:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_it_is_not_there_unless_it_is_wanted() -> None:
    assert not [each for each in render() if each["metadata"]["name"] == "netstacks-admin"]


def test_it_knows_the_address_of_the_api_and_nothing_else(manifests: list[dict[str, Any]]) -> None:
    (container,) = of_kind(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    environ = {each["name"]: each["value"] for each in container["env"]}
    assert set(environ) == {"PORT", "CONTROLLER_API_URL", "LOG_FORMAT"}
    assert str(load(environ).api_url) == "http://netstacks.terminals.svc"
    assert container["image"] == f"netstacks/controller-admin:{__version__}"


def test_no_service_mixes_both_kinds_of_pods(manifests: list[dict[str, Any]]) -> None:
    """The controllers' Service must not lead to the pages, nor theirs to a controller."""
    everything = render(values=ADMIN)
    pods = [each for each in everything if each["kind"] in ("Deployment", "StatefulSet")]
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in pods]
    selecting_kinds = ("Service", "PodDisruptionBudget", "NetworkPolicy")
    for selecting in (each for each in everything if each["kind"] in selecting_kinds):
        spec = selecting["spec"]
        selector = spec.get("podSelector", spec.get("selector"))
        selector = selector.get("matchLabels", selector)
        assert sum(selector.items() <= each.items() for each in labels) == 1, selecting["metadata"]["name"]


def test_pods_have_no_rights(manifests: list[dict[str, Any]]) -> None:
    spec = of_kind(manifests, "Deployment")["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "secrets" not in str(spec["volumes"])


def test_the_pages_reach_the_api_and_the_api_lets_them_in(manifests: list[dict[str, Any]]) -> None:
    selector = of_kind(manifests, "NetworkPolicy")["spec"]["podSelector"]
    _, api = of_kind(manifests, "NetworkPolicy")["spec"]["egress"]
    policies = [each for each in render(values=ADMIN) if each["kind"] == "NetworkPolicy"]
    (controllers,) = (each for each in policies if each["metadata"]["name"] == "netstacks")
    assert api["to"] == [{"podSelector": controllers["spec"]["podSelector"]}]
    assert [{"podSelector": selector}] in [rule.get("from") for rule in controllers["spec"]["ingress"]]
