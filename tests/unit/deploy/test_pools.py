"""The component that makes a second pool of the deployment: rendered, and beside the first."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from streams.notifications.priority import DEFAULT_PRIORITIES
from streams.settings import load_settings
from tests.paths import ROOT

Manifest = dict[str, Any]

COMPONENT = ROOT / "deploy" / "kubernetes" / "components" / "pool-urgent"
MAIN_PRIORITIES = "warn,info,debug"

needs_kustomize = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl, which renders the overlays, is not installed"
)


def component() -> Manifest:
    text = (COMPONENT / "kustomization.yaml").read_text(encoding="utf-8")
    found: Manifest = yaml.safe_load(text)
    return found


def literals() -> dict[str, str]:
    [generator] = component()["configMapGenerator"]
    return dict(literal.split("=", 1) for literal in generator["literals"])


def test_the_component_says_what_the_worker_reads() -> None:
    settings = load_settings(
        **{name.removeprefix("TOCSIN_").lower(): text for name, text in literals().items()}
    )
    assert (settings.pool, settings.combines) == ("urgent", False)
    rest = load_settings(priorities=MAIN_PRIORITIES)
    assert {*settings.priorities, *rest.priorities} == set(DEFAULT_PRIORITIES)
    assert not {*settings.priorities} & {*rest.priorities}


def test_the_readme_gives_the_main_pool_the_other_priorities() -> None:
    text = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    assert f"`TOCSIN_PRIORITIES={MAIN_PRIORITIES}`" in text
    _, block = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    overlay = yaml.safe_load(block)
    assert overlay["components"] == ["../deploy/kubernetes/components/pool-urgent"]
    assert overlay["replicas"] == [{"name": "tocsin-urgent", "count": 2}]


@pytest.fixture
def pools(tmp_path: Path) -> tuple[list[Manifest], list[Manifest]]:
    """The objects of the main pool and of the urgent one, from the overlays that the README shows."""
    text = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    main, urgent = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))
    main["configMapGenerator"][0]["literals"].append(f"TOCSIN_PRIORITIES={MAIN_PRIORITIES}")
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    rendered = []
    for folder, overlay in (("my-tocsin", main), ("my-tocsin-urgent", urgent)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
        done = subprocess.run(
            ["kubectl", "kustomize", str(tmp_path / folder)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        rendered.append(list(yaml.safe_load_all(done.stdout)))
    return rendered[0], rendered[1]


def settings_of(objects: list[Manifest]) -> Manifest:
    [found] = [item for item in objects if item["kind"] == "ConfigMap"]
    return found


def selectors(objects: list[Manifest]) -> list[Manifest]:
    """Every selector, wherever it stands."""
    found = []

    def look(item: Any, name: str = "") -> None:
        if isinstance(item, dict):
            if name in {"matchLabels", "selector"} and all(isinstance(text, str) for text in item.values()):
                found.append(item)
            for key, each in item.items():
                look(each, key)
        elif isinstance(item, list):
            for each in item:
                look(each)

    look(objects)
    return found


@needs_kustomize
def test_both_pools_are_valid_and_share_no_object(pools: tuple[list[Manifest], list[Manifest]]) -> None:
    main, urgent = pools
    for item in main + urgent:
        kubernetes_validate.validate(item, "1.32", strict=True)
    names = [{(item["kind"], item["metadata"]["name"]) for item in objects} for objects in pools]
    # The web views of the counts are those of both, and stay with the main pool.
    web = {("Deployment", "tocsin-web"), ("Service", "tocsin-views"), ("NetworkPolicy", "tocsin-web")}
    assert web <= names[0]
    assert len(names[0] - web) == len(names[1]) == len(urgent) == len(main) - len(web)
    assert not names[0] & names[1]


@needs_kustomize
def test_no_selector_of_a_pool_finds_pods_of_the_other(pools: tuple[list[Manifest], list[Manifest]]) -> None:
    for objects, others in (pools, pools[::-1]):
        [own] = [item for item in objects if item["kind"] == "StatefulSet"]
        [other] = [item for item in others if item["kind"] == "StatefulSet"]
        found = [each for each in selectors(objects) if each.get("app.kubernetes.io/component") != "web"]
        assert len(found) >= 6
        for selector in found:
            assert selector.items() <= own["spec"]["template"]["metadata"]["labels"].items()
            assert not selector.items() <= other["spec"]["template"]["metadata"]["labels"].items()


@needs_kustomize
def test_settings_are_shared_but_for_pool_and_priorities(
    pools: tuple[list[Manifest], list[Manifest]],
) -> None:
    main, urgent = (settings_of(objects)["data"] for objects in pools)
    assert {name for name in urgent if main.get(name) != urgent[name]} == set(literals())
    assert main.keys() <= urgent.keys()
    [stateful_set] = [item for item in pools[1] if item["kind"] == "StatefulSet"]
    pod = stateful_set["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["envFrom"] == [{"configMapRef": {"name": settings_of(pools[1])["metadata"]["name"]}}]
    assert pod["serviceAccountName"] == "tocsin-urgent"
    assert stateful_set["spec"]["serviceName"] == "tocsin-peers-urgent"
