"""The Kubernetes manifests: valid by schema, agreeing with each other, and within the restricted profile."""

from __future__ import annotations

import ast
import copy
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from streams.broker.self_check import UNATTENDED_PATIENCE_S
from tests.paths import ROOT

Manifest = dict[str, Any]

KUBERNETES = ROOT / "deploy" / "kubernetes"
BASE = KUBERNETES / "base"
NETWORK_POLICY = KUBERNETES / "components" / "network-policy"
#: Has no object of its own; see test_deploy_pools.py.
POOL_URGENT = KUBERNETES / "components" / "pool-urgent"
OPENSHIFT = KUBERNETES / "components" / "openshift"

#: The oldest Kubernetes in which all fields used are stable, and the newest with a schema here.
VERSIONS = ["1.32", kubernetes_validate.latest_version()]


@functools.cache
def _parsed(path: Path) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


def documents(path: Path) -> list[Manifest]:
    """All documents of a YAML file; copies that a test may spoil."""
    return copy.deepcopy(_parsed(path))


def settings_env() -> dict[str, str]:
    """Names and values of settings.env, read as Kustomize reads it."""
    lines = (BASE / "settings.env").read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("=") for line in lines if line.strip() and not line.startswith("#")]
    return {name: value for name, _, value in pairs}


def objects() -> list[Manifest]:
    """Every object of the base and of the optional component; the generated ConfigMap included."""
    found: list[Manifest] = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "tocsin-settings"},
            "data": settings_env(),
        }
    ]
    for folder in (BASE, NETWORK_POLICY):
        kustomization = documents(folder / "kustomization.yaml")[0]
        for name in kustomization["resources"]:
            found += documents(folder / name)
    return found


def the(kind: str, name: str = "tocsin") -> Manifest:
    """The one object of a kind and name; a copy that a test may spoil."""
    [found] = [item for item in objects() if item["kind"] == kind and item["metadata"]["name"] == name]
    return found


def pod_spec() -> Manifest:
    """The spec of the worker's pods."""
    spec: Manifest = the("StatefulSet")["spec"]["template"]["spec"]
    return spec


def web_pod_spec() -> Manifest:
    """The spec of the pods of ``tocsin web``."""
    spec: Manifest = the("Deployment", "tocsin-web")["spec"]["template"]["spec"]
    return spec


def worker() -> Manifest:
    """The worker's container."""
    [container] = pod_spec()["containers"]
    assert container["name"] == "worker"
    return dict(container)


# ---------------------------------------------------------------- form


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("item", objects(), ids=lambda item: f"{item['kind']}-{item['metadata']['name']}")
def test_every_object_is_valid_by_strict_schema(item: Manifest, version: str) -> None:
    kubernetes_validate.validate(item, version, strict=True)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "replicas"), "two"),
        (("spec", "maxReplicas"), 2),
        (("spec", "template", "spec", "containers", 0, "livenessProbe", "httpGet", "url"), "/livez"),
        (("spec", "volumeClaimTemplates", 0, "spec", "accessModes"), "ReadWriteOncePod"),
    ],
    ids=str,
)
def test_the_strict_schema_rejects_a_spoilt_stateful_set(path: tuple[str | int, ...], value: object) -> None:
    spoilt = the("StatefulSet")
    put(spoilt, path, value)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(spoilt, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("folder", [BASE, NETWORK_POLICY], ids=lambda folder: folder.name)
def test_the_kustomization_lists_every_file_beside_it_and_nothing_else(folder: Path) -> None:
    [kustomization] = documents(folder / "kustomization.yaml")
    listed = list(kustomization["resources"])
    for generator in kustomization.get("configMapGenerator", []):
        listed += generator["envs"]
    assert sorted(listed) == sorted(
        path.name for path in folder.iterdir() if path.name != "kustomization.yaml"
    )


def test_the_overlay_of_the_readme_leads_to_what_is_there() -> None:
    text = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    block, _ = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    overlay = yaml.safe_load(block)
    folders = [ROOT / path.removeprefix("../") for path in overlay["resources"] + overlay["components"]]
    assert folders == [BASE, NETWORK_POLICY]
    assert [item["name"] for item in overlay["images"]] == [worker()["image"].partition(":")[0]]
    assert [item["name"] for item in overlay["replicas"]] == [the("StatefulSet")["metadata"]["name"]]
    [generator] = overlay["configMapGenerator"]
    assert (generator["name"], generator["behavior"]) == ("tocsin-settings", "merge")


def test_no_yaml_of_the_deployment_is_outside_the_tested_folders() -> None:
    files = {path for pattern in ("*.yaml", "*.yml") for path in (ROOT / "deploy").rglob(pattern)}
    files -= {ROOT / "deploy/monitoring/prometheus-rules.yaml"}  # see tests/integration/test_prometheus.py
    assert {path.parent for path in files} == {BASE, NETWORK_POLICY, POOL_URGENT, OPENSHIFT}
    assert all(len(documents(path)) == 1 for path in files)


# ---------------------------------------------------------------- agreement


@pytest.mark.parametrize(
    "selector",
    [
        the("Deployment", "tocsin-web")["spec"]["selector"]["matchLabels"],
        the("Service", "tocsin-views")["spec"]["selector"],
        the("NetworkPolicy", "tocsin-web")["spec"]["podSelector"]["matchLabels"],
    ],
)
def test_what_is_of_the_web_views_finds_their_pods_and_no_worker(selector: Manifest) -> None:
    assert selector == the("Deployment", "tocsin-web")["spec"]["template"]["metadata"]["labels"]
    worker_labels = the("StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert not selector.items() <= worker_labels.items()
    assert not worker_labels.items() <= selector.items()


def test_the_web_views_run_beside_the_workers_as_these_do() -> None:
    [web] = web_pod_spec()["containers"]
    assert web["args"] == ["web"]
    assert "env" not in web
    for name in ("image", "envFrom", "ports", "securityContext", "livenessProbe", "readinessProbe"):
        assert web[name] == worker()[name]
    assert web["startupProbe"]["httpGet"] == worker()["startupProbe"]["httpGet"]
    allowed_s = web["startupProbe"]["periodSeconds"] * web["startupProbe"]["failureThreshold"]
    assert allowed_s >= 2 * float(settings_env().get("TOCSIN_WAIT_FOR_BROKERS_S", UNATTENDED_PATIENCE_S))
    mounts = {mount["name"]: mount for mount in worker()["volumeMounts"] if mount["name"] != "data"}
    assert {mount["name"]: mount for mount in web["volumeMounts"]} == mounts
    assert web_pod_spec()["volumes"] == pod_spec()["volumes"]
    assert the("NetworkPolicy", "tocsin-web")["spec"]["egress"] == the("NetworkPolicy")["spec"]["egress"]
    assert [each["targetPort"] for each in the("Service", "tocsin-views")["spec"]["ports"]] == ["web"]


def selectors() -> Iterator[tuple[str, Manifest]]:
    """Every selector that is to find the worker's pods, by the place it is in."""
    stateful_set = the("StatefulSet")
    yield "StatefulSet", stateful_set["spec"]["selector"]["matchLabels"]
    for constraint in stateful_set["spec"]["template"]["spec"]["topologySpreadConstraints"]:
        yield f"spread over {constraint['topologyKey']}", constraint["labelSelector"]["matchLabels"]
    yield "PodDisruptionBudget", the("PodDisruptionBudget")["spec"]["selector"]["matchLabels"]
    yield "NetworkPolicy", the("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    yield "Service tocsin", the("Service")["spec"]["selector"]
    yield "Service tocsin-peers", the("Service", "tocsin-peers")["spec"]["selector"]


@pytest.mark.parametrize(("place", "selector"), list(selectors()), ids=lambda value: str(value)[:40])
def test_every_selector_names_the_labels_of_the_pods(place: str, selector: Manifest) -> None:
    assert selector == the("StatefulSet")["spec"]["template"]["metadata"]["labels"], place


def test_references_lead_to_objects_that_are_there() -> None:
    spec = the("StatefulSet")["spec"]
    peers = the("Service", spec["serviceName"])
    assert peers["spec"]["clusterIP"] == "None"
    assert peers["spec"]["publishNotReadyAddresses"] is True
    the("ServiceAccount", pod_spec()["serviceAccountName"])
    the("PriorityClass", pod_spec()["priorityClassName"])
    assert [source["configMapRef"]["name"] for source in worker()["envFrom"]] == ["tocsin-settings"]
    volumes = {volume["name"] for volume in pod_spec()["volumes"]}
    claims = {claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]}
    assert {mount["name"] for mount in worker()["volumeMounts"]} == volumes | claims


def test_services_probes_and_network_policy_lead_to_the_port_of_the_web_views() -> None:
    [port] = worker()["ports"]
    assert (port["name"], str(port["containerPort"])) == ("web", settings_env()["TOCSIN_WEB_PORT"])
    for service in (the("Service"), the("Service", "tocsin-peers")):
        assert [item["targetPort"] for item in service["spec"]["ports"]] == ["web"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert worker()[probe]["httpGet"]["port"] == "web"
    [ingress] = the("NetworkPolicy")["spec"]["ingress"]
    assert [item["port"] for item in ingress["ports"]] == ["web"]


def test_each_probe_asks_the_endpoint_of_its_meaning() -> None:
    asked = {name: probe["httpGet"]["path"] for name, probe in worker().items() if name.endswith("Probe")}
    assert asked == {"startupProbe": "/startupz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}


def test_no_probe_ends_a_worker_that_waits_for_brokers() -> None:
    """And that recovers from its changelogs afterwards."""
    startup = worker()["startupProbe"]
    allowed_s = startup["periodSeconds"] * startup["failureThreshold"]
    assert allowed_s >= 2 * float(settings_env().get("TOCSIN_WAIT_FOR_BROKERS_S", UNATTENDED_PATIENCE_S))


def test_the_web_views_have_the_endpoints_that_the_probes_ask() -> None:
    views = ROOT / "tables" / "views"
    if not (views / "server.py").exists():
        pytest.skip("tables/views/server.py, which has the endpoints, is not there")
    nodes = [
        node for path in views.rglob("*.py") for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    ]
    words = {node.value for node in nodes if isinstance(node, ast.Constant)}
    asked = {probe["httpGet"]["path"] for name, probe in worker().items() if name.endswith("Probe")}
    assert asked <= words


def test_the_network_policy_lets_workers_reach_names_and_the_configured_brokers() -> None:
    rules = the("NetworkPolicy")["spec"]["egress"]
    allowed = {(item["protocol"], item["port"]) for rule in rules for item in rule["ports"]}
    brokers = {int(address.rpartition(":")[2]) for address in settings_env()["TOCSIN_BROKERS"].split(",")}
    assert {("TCP", port) for port in brokers} | {("UDP", 53), ("TCP", 53)} <= allowed
    assert set(the("NetworkPolicy")["spec"]["policyTypes"]) == {"Ingress", "Egress"}


# ---------------------------------------------------------------- stable identity and restarts


def test_a_pod_keeps_its_member_id_and_its_state_over_a_restart() -> None:
    spec = the("StatefulSet")["spec"]
    assert worker()["env"] == [
        {"name": "TOCSIN_INSTANCE_ID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    ]
    [claim] = spec["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    mounts = {mount["name"]: mount for mount in worker()["volumeMounts"]}
    assert mounts[claim["metadata"]["name"]]["mountPath"] == settings_env()["TOCSIN_DATA_DIR"]


def test_the_pod_is_given_longer_than_the_worker_takes_to_drain() -> None:
    drain = float(settings_env()["TOCSIN_DRAIN_DEADLINE_S"])
    # Beside the drain: the last flush, the commit, and the producers' own requests of up to 30 s.
    assert pod_spec()["terminationGracePeriodSeconds"] >= drain + 30


def test_the_session_outlasts_a_restart() -> None:
    drain = float(settings_env()["TOCSIN_DRAIN_DEADLINE_S"])
    # Beside the drain: stop and start of the container, the volume, the worker's own start of some seconds.
    assert float(settings_env()["TOCSIN_SESSION_TIMEOUT_S"]) >= drain + 20


def test_workers_start_at_once_and_are_disturbed_one_by_one() -> None:
    spec = the("StatefulSet")["spec"]
    assert spec["podManagementPolicy"] == "Parallel"
    assert spec["updateStrategy"] == {"type": "RollingUpdate"}
    assert spec["minReadySeconds"] > 0
    assert spec["replicas"] <= int(settings_env()["TOCSIN_PARTITIONS"])
    budget = the("PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_memory_is_limited_and_cpu_is_not() -> None:
    resources = worker()["resources"]
    assert set(resources["limits"]) == {"memory", "ephemeral-storage"}
    assert set(resources["requests"]) == {"cpu", "memory", "ephemeral-storage"}


# ---------------------------------------------------------------- the restricted profile, and a little more


def violations(spec: Manifest) -> list[str]:
    """What a pod's spec has against the standard `restricted` and our own rules; empty is good."""
    pod = spec.get("securityContext", {})
    found = [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    if spec.get("automountServiceAccountToken") is not False:
        found.append("service account token")
    if spec.get("enableServiceLinks") is not False:
        found.append("service links")
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        own = container.get("securityContext", {})
        if not own.get("runAsNonRoot", pod.get("runAsNonRoot")):
            found.append("may run as root")
        if own.get("runAsUser", pod.get("runAsUser")) != 10001:
            found.append("user")
        if own.get("seccompProfile", pod.get("seccompProfile")) != {"type": "RuntimeDefault"}:
            found.append("seccomp")
        if own.get("allowPrivilegeEscalation") is not False:
            found.append("privilege escalation")
        if own.get("privileged"):
            found.append("privileged")
        if own.get("capabilities") != {"drop": ["ALL"]}:
            found.append("capabilities")
        if own.get("readOnlyRootFilesystem") is not True:
            found.append("writable root")
        if any("hostPort" in port for port in container.get("ports", [])):
            found.append("host port")
    for volume in spec.get("volumes", []):
        kinds = set(volume) - {"name"}
        if not kinds <= {
            "configMap",
            "emptyDir",
            "secret",
            "projected",
            "persistentVolumeClaim",
            "ephemeral",
        }:
            found.append("volume type")
        if "emptyDir" in volume and not volume["emptyDir"].get("sizeLimit"):
            found.append("unbounded emptyDir")
    return found


def test_the_pods_keep_to_the_restricted_profile() -> None:
    assert violations(pod_spec()) == []
    assert violations(web_pod_spec()) == []
    assert the("ServiceAccount")["automountServiceAccountToken"] is False


_CONTAINER = ("containers", 0, "securityContext")


@pytest.mark.parametrize(
    ("path", "value", "violation"),
    [
        (("hostNetwork",), True, "hostNetwork"),
        (("automountServiceAccountToken",), True, "service account token"),
        (("enableServiceLinks",), True, "service links"),
        ((*_CONTAINER, "runAsNonRoot"), False, "may run as root"),
        ((*_CONTAINER, "runAsUser"), 0, "user"),
        (("securityContext", "seccompProfile"), {"type": "Unconfined"}, "seccomp"),
        ((*_CONTAINER, "allowPrivilegeEscalation"), True, "privilege escalation"),
        ((*_CONTAINER, "privileged"), True, "privileged"),
        ((*_CONTAINER, "capabilities"), {"drop": ["ALL"], "add": ["NET_RAW"]}, "capabilities"),
        ((*_CONTAINER, "readOnlyRootFilesystem"), False, "writable root"),
        (("containers", 0, "ports", 0, "hostPort"), 6066, "host port"),
        (("volumes", 1), {"name": "tmp", "hostPath": {"path": "/tmp"}}, "volume type"),
        (("volumes", 1), {"name": "tmp", "emptyDir": {}}, "unbounded emptyDir"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_check_of_the_restricted_profile_sees_each_violation(
    path: tuple[str | int, ...], value: object, violation: str
) -> None:
    spoilt = pod_spec()
    put(spoilt, path, value)
    assert violations(spoilt) == [violation]


def on_openshift(kind: str, name: str) -> Manifest:
    """An object with the patches of the component, of which all take something away."""
    found = the(kind, name)
    [kustomization] = documents(OPENSHIFT / "kustomization.yaml")
    for patch in kustomization["patches"]:
        assert patch["target"].keys() == {"kind"}
        if patch["target"]["kind"] != kind:
            continue
        for operation in yaml.safe_load(patch["patch"]):
            assert operation["op"] == "remove"
            *way, last = operation["path"].strip("/").split("/")
            place = found
            for key in way:
                place = place[key]
            del place[last]  # a KeyError where there is nothing
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("kind", "name"), [("StatefulSet", "tocsin"), ("Deployment", "tocsin-web")])
def test_on_openshift_no_user_and_no_group_is_fixed_and_all_else_stays(
    kind: str, name: str, version: str
) -> None:
    patched = on_openshift(kind, name)
    kubernetes_validate.validate(patched, version, strict=True)
    spec = patched["spec"]["template"]["spec"]
    assert not {"runAsUser", "runAsGroup", "fsGroup", "supplementalGroups"} & spec["securityContext"].keys()
    assert violations(spec) == ["user"]


def test_secrets_come_as_files_and_never_in_the_environment() -> None:
    assert all("secretKeyRef" not in item.get("valueFrom", {}) for item in worker()["env"])
    assert all("secretRef" not in source for source in worker()["envFrom"])
    [volume] = [volume["projected"] for volume in pod_spec()["volumes"] if volume["name"] == "secrets"]
    assert volume["defaultMode"] == 0o440
    names = ["tocsin-secrets", "tocsin-web", "tocsin-kafka"]
    assert volume["sources"] == [{"secret": {"name": name, "optional": True}} for name in names]
    assert not [volume for volume in pod_spec()["volumes"] if "secret" in volume]
    [mount] = [mount for mount in worker()["volumeMounts"] if mount["name"] == "secrets"]
    assert mount["readOnly"] is True
    assert not [item for item in objects() if item["kind"] == "Secret"]


def put(tree: Any, path: tuple[str | int, ...], value: object) -> None:
    """Set the value at a path of keys and indices."""
    *way, last = path
    for key in way:
        tree = tree[key]
    tree[last] = value
