"""The Helm chart: rendered by the real helm, valid for Kubernetes, and in step with the program."""

import math
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import requests
import yaml

from netstacks import __version__
from netstacks.settings import SECRETS, Settings, load
from tests.controller import JWT_SECRET, MASTER_KEY, Controller, until
from tests.deploy.chart import CHART, VALUES, container, environ, helm, only, pod, refusal, render
from tests.ports import free_port
from tests.postgres import Postgres
from tests.valkey import Valkey

# The oldest that Chart.yaml allows, and the newest with a schema.
KUBERNETES = ("1.27", kubernetes_validate.latest_version())
# The chart decides these itself. AGENT_CHECK_PORT is for HAProxy.
NOT_OFFERED = {"PORT", "AGENT_CHECK_PORT", "INSTANCE_ID", "SPOOL_DIR", "WEB_CONCURRENCY"}
NOT_OFFERED |= {"HA_ADVERTISE_HOST", "HA_PEER_PORT", "HA_PEER_TLS_CERT", "HA_PEER_TLS_KEY", "HA_PEER_TLS_CA"}
# As files of Secrets, beside the secrets: the first may contain keys, the second is OpenSSL's.
FILES = {"LLM_PROVIDERS_FILE", "SSL_CERT_FILE"}
REQUIRED = {"DATABASE_URL": "postgres://db/netstacks", "VAULT_MASTER_KEY": MASTER_KEY, "JWT_SECRET": JWT_SECRET}
METRICS = {"secrets": {"METRICS_TOKEN": {"name": "metrics", "key": "token"}}}


@pytest.fixture(params=VALUES)
def manifests(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return render("-f", str(CHART / VALUES[request.param]))


@pytest.mark.parametrize("file", VALUES.values())
def test_helm_has_nothing_against_the_chart(file: str) -> None:
    done = helm("lint", "--strict", str(CHART), "-f", str(CHART / file))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_accepts_every_manifest(manifests: list[dict[str, Any]], version: str) -> None:
    for manifest in manifests:
        # Not Kubernetes' own: the Prometheus operator defines it.
        if manifest["kind"] != "ServiceMonitor":
            kubernetes_validate.validate(manifest, version, strict=True)


def test_each_values_file_has_the_kinds_that_it_asks_for() -> None:
    kinds = {name: sorted(each["kind"] for each in render("-f", str(CHART / file))) for name, file in VALUES.items()}
    minimal = ["Service", "Service", "StatefulSet"]
    defaults = ["NetworkPolicy", "PodDisruptionBudget", *minimal]
    full = sorted(["HorizontalPodAutoscaler", "ServiceMonitor", *defaults])
    assert kinds == {"minimal": minimal, "defaults": defaults, "full": full}


def test_the_controller_knows_every_variable(manifests: list[dict[str, Any]]) -> None:
    known = {name.upper() for name in Settings.model_fields}
    for name in environ(manifests):
        assert name in known | FILES or (name.endswith("_FILE") and name[:-5].lower() in SECRETS), name


def test_the_controller_accepts_the_settings(manifests: list[dict[str, Any]]) -> None:
    plain = {name: value for name, value in environ(manifests).items() if not value.startswith("/run/secrets/")}
    settings = load(plain | REQUIRED | {"HA_ADVERTISE_HOST": "10.0.0.5"})
    assert settings.log_format == "json"
    assert settings.web_concurrency == 1


def test_sentinels_take_the_place_of_one_valkey_with_the_values_of_the_readme() -> None:
    (block,) = re.findall(r"```yaml\n(secrets:.*?)```", (CHART / "README.md").read_text(), re.DOTALL)
    found = environ(render(values=yaml.safe_load(block)))
    assert {name: value for name, value in found.items() if "VALKEY" in name} == {
        "VALKEY_SENTINEL_URL_FILE": "/run/secrets/netstacks/VALKEY_SENTINEL_URL",
        "VALKEY_SENTINEL_MASTER_NAME": "mymaster",
    }


def test_a_number_stays_a_number_and_a_list_has_commas() -> None:
    found = environ(render("-f", str(CHART / VALUES["full"])))
    assert found["RECORDING_SESSION_MAX_BYTES"] == "4294967296"
    assert found["HA_HEARTBEAT_INTERVAL_SECS"] == "2.5"
    assert found["TRUSTED_PROXIES"] == "10.42.0.0/16,10.43.0.0/16"


def test_every_setting_is_offered_with_the_bounds_of_the_program() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())["properties"]
    offered = schema["settings"]["properties"]
    plain = {name.upper() for name in Settings.model_fields if name not in SECRETS} - NOT_OFFERED - FILES
    assert set(offered) == plain, "settings in values.schema.json"
    assert set(schema["secrets"]["properties"]) == {name.upper() for name in SECRETS} | FILES
    bounds = ("type", "minimum", "maximum", "exclusiveMinimum", "enum", "minLength")
    for name, facts in Settings.model_json_schema()["properties"].items():
        if name.upper() in offered:
            facts = facts["anyOf"][0] if "anyOf" in facts else facts
            wanted = {bound: facts[bound] for bound in bounds if bound in facts}
            assert {bound: value for bound, value in offered[name.upper()].items() if bound in bounds} == wanted, name


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"replicaCount": "three"}, "'/replicaCount': got string, want integer"),
        ({"settings": {"PROT": 80}}, "'/settings': additional properties 'PROT' not allowed"),
        ({"settings": {"JWT_SECRET": "abc"}}, "'/settings': additional properties 'JWT_SECRET' not allowed"),
        ({"settings": {"DRAIN_TIMEOUT_SECS": 0}}, "'/settings/DRAIN_TIMEOUT_SECS': minimum: got 0, want 1"),
        ({"settings": {"LOG_FORMAT": "xml"}}, "'/settings/LOG_FORMAT': value must be one of 'text', 'json'"),
        ({"secrets": {"JWT_SECRET": None}}, "'/secrets': missing property 'JWT_SECRET'"),
        ({"secrets": {"JWT_SECRET": {"value": "abc"}}}, "'/secrets/JWT_SECRET': additional properties 'value'"),
        ({"image": {"digest": "latest"}}, "'/image/digest': 'latest' does not match pattern"),
        ({"networkPolicy": {"devices": {"cidrs": []}}}, "'/networkPolicy/devices/cidrs': minItems: got 0, want 1"),
        ({"secrets": {"VALKEY_URL": None}}, "3 replicas need Valkey"),
        ({"serviceMonitor": {"enabled": True}}, "serviceMonitor needs secrets.METRICS_TOKEN"),
        ({"autoscaling": {"enabled": True, "minReplicas": 9}}, "minReplicas must not be above"),
    ],
)
def test_a_wrong_value_is_refused_with_the_reason(values: Any, reason: str) -> None:
    assert reason in refusal(values)


def test_the_chart_has_the_version_of_the_program() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == __version__
    assert container(render())["image"] == f"netstacks/controller-api:{__version__}"


def test_a_pod_has_the_time_that_its_drain_takes(manifests: list[dict[str, Any]]) -> None:
    pre_stop = container(manifests)["lifecycle"]["preStop"]["exec"]["command"]
    drain_secs = math.ceil(float(environ(manifests)["DRAIN_TIMEOUT_SECS"]))
    assert pre_stop[0] == "sleep"
    assert pod(manifests)["terminationGracePeriodSeconds"] == int(pre_stop[1]) + drain_secs + 10


def test_ports_and_labels_agree(manifests: list[dict[str, Any]]) -> None:
    variables, labels = environ(manifests), only(manifests, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    ports = {each["name"]: str(each["containerPort"]) for each in container(manifests)["ports"]}
    clustered = {"peer": variables["HA_PEER_PORT"]} if "HA_PEER_PORT" in variables else {}
    assert ports == {"http": variables["PORT"], **clustered}
    public, peers = (each for each in manifests if each["kind"] == "Service")
    assert public["spec"]["ports"][0]["targetPort"] == "http"
    assert peers["spec"]["ports"][0]["targetPort"] == 9000
    assert peers["metadata"]["name"] == only(manifests, "StatefulSet")["spec"]["serviceName"]
    selectors = [public["spec"]["selector"], peers["spec"]["selector"]]
    for manifest in manifests:
        match manifest["kind"]:
            case "StatefulSet" | "PodDisruptionBudget":
                selectors.append(manifest["spec"]["selector"]["matchLabels"])
            case "NetworkPolicy":
                selectors.append(manifest["spec"]["podSelector"]["matchLabels"])
            case "ServiceMonitor":
                wanted = manifest["spec"]["selector"]["matchLabels"].items()
                assert wanted <= public["metadata"]["labels"].items()
                assert not wanted <= peers["metadata"]["labels"].items()
    assert all(selector.items() <= labels.items() for selector in selectors)


def test_a_pod_has_no_rights_and_writes_to_volumes_only(manifests: list[dict[str, Any]]) -> None:
    spec, security = pod(manifests), container(manifests)["securityContext"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert security == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = {each["name"]: each["mountPath"] for each in container(manifests)["volumeMounts"]}
    assert Path(environ(manifests)["SPOOL_DIR"]).parent == Path(mounts["state"])
    claimed = [
        each["metadata"]["name"] for each in only(manifests, "StatefulSet")["spec"].get("volumeClaimTemplates", [])
    ]
    assert {*claimed, *(each["name"] for each in spec["volumes"])} == set(mounts)


def test_every_file_of_a_secret_is_mounted_where_its_variable_says(manifests: list[dict[str, Any]]) -> None:
    mounts = {each["name"]: each["mountPath"] for each in container(manifests)["volumeMounts"]}
    (projected,) = (each["projected"] for each in pod(manifests)["volumes"] if each["name"] == "secrets")
    assert projected["defaultMode"] == 0o440
    mounted = {
        f"{mounts['secrets']}/{item['path']}" for source in projected["sources"] for item in source["secret"]["items"]
    }
    named = {value for value in environ(manifests).values() if value.startswith("/run/secrets/")}
    tls = (
        {f"{mounts['peer-tls']}/{name}" for name in ("tls.crt", "tls.key", "ca.crt")} if "peer-tls" in mounts else set()
    )
    assert named == mounted | tls


def test_only_controllers_reach_the_peer_port() -> None:
    rules = only(render(values=METRICS | {"serviceMonitor": {"enabled": True}}), "NetworkPolicy")["spec"]["ingress"]
    sources: dict[int, list[Any]] = {}
    for rule in rules:
        for port in rule["ports"]:
            sources.setdefault(port["port"], []).extend(rule["from"])
    labels = {"app.kubernetes.io/name": "netstacks", "app.kubernetes.io/instance": "netstacks"}
    assert sources[9000] == [{"podSelector": {"matchLabels": labels}}]
    names = [each["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for each in sources[8080]]
    assert names == ["ingress-nginx", "monitoring"]
    assert set(sources) == {8080, 9000}


def test_pods_dial_nothing_but_stores_devices_dns_and_each_other() -> None:
    rules = only(render(), "NetworkPolicy")["spec"]["egress"]
    assert sorted(port["port"] for rule in rules for port in rule["ports"]) == [22, 53, 53, 5432, 6379, 9000, 26379]


def test_with_tls_peers_dial_the_name_in_the_certificate() -> None:
    manifests = render("-f", str(CHART / VALUES["full"]), release="prod")
    found = environ(manifests)
    assert found["INSTANCE_ID"] == "metadata.name"
    host = found["HA_ADVERTISE_HOST"].replace("$(INSTANCE_ID)", "prod-netstacks-0")
    assert host == f"prod-netstacks-0.{only(manifests, 'StatefulSet')['spec']['serviceName']}.terminals.svc"
    assert load(REQUIRED | {"HA_ADVERTISE_HOST": host}).ha_advertise_host == host


def test_the_longest_name_of_a_release_makes_a_valid_instance_id() -> None:
    name = only(render(release="r" * 53), "StatefulSet")["metadata"]["name"]
    assert load(REQUIRED | {"INSTANCE_ID": f"{name}-999"}).instance_id == f"{name}-999"


@pytest.mark.parametrize("file", VALUES.values())
def test_the_notes_name_secrets_and_next_commands(file: str) -> None:
    done = helm("install", "netstacks", str(CHART), "--dry-run=client", "-n", "terminals", "-f", str(CHART / file))
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("NOTES:")[2]
    assert "netstacks, key DATABASE_URL: DATABASE_URL" in notes
    assert "kubectl -n terminals rollout status statefulset/netstacks" in notes
    assert ("lost when a pod is deleted" in notes) == ("minimal" in file)


@pytest.fixture
def in_pod(postgres: Postgres, tmp_path: Path) -> Iterator[tuple[Controller, list[dict[str, Any]]]]:
    """A controller with the environment and the files of a rendered pod, its addresses and folders replaced."""
    manifests = render(values=METRICS)
    valkey = Valkey().start()
    contents = {
        "DATABASE_URL": postgres.create_database(),
        "VALKEY_URL": valkey.url,
        "VAULT_MASTER_KEY": MASTER_KEY,
        "JWT_SECRET": JWT_SECRET,
        "METRICS_TOKEN": "a-token-of-the-tests",
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
    replaced = {
        name: value.replace("/run/secrets/netstacks", str(tmp_path)).replace("metadata.name", "netstacks-0")
        for name, value in environ(manifests).items()
    }
    replaced |= {"HA_ADVERTISE_HOST": "127.0.0.1", "HA_PEER_PORT": str(free_port()), "SPOOL_DIR": f"{tmp_path}/spool"}
    controller = Controller("", VAULT_MASTER_KEY="", JWT_SECRET="", **(replaced | {"PORT": str(free_port())}))
    controller.port = int(controller.environ["PORT"])
    controller.url = f"http://127.0.0.1:{controller.port}"
    try:
        yield controller.start(), manifests
    finally:
        controller.stop()
        valkey.destroy()


def test_a_controller_runs_with_the_environment_of_a_pod(in_pod: tuple[Controller, list[dict[str, Any]]]) -> None:
    controller, manifests = in_pod
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        path = container(manifests)[probe]["httpGet"]["path"]
        assert requests.get(controller.url + path, timeout=10).status_code == 200, probe
    assert controller.health()["instance_id"].startswith("netstacks-0-")
    until(lambda: controller.health().get("valkey") == "connected", "the contact with Valkey")
    token = {"Authorization": "Bearer a-token-of-the-tests"}
    assert "netstacks_sessions{" in requests.get(f"{controller.url}/metrics", headers=token, timeout=10).text
    with socket.create_connection(("127.0.0.1", int(controller.environ["HA_PEER_PORT"])), timeout=10):
        pass
    controller.terminate()
    assert controller.process is not None
    assert controller.process.wait(60) == 0
    assert '"event": "instance.drained"' in controller.log()
