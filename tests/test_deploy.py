"""The files of `examples/deploy`: right by their own schemas, in step with each other, and safe."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from ai21_chains import __version__
from ai21_chains.serving import ServerConfig, load_config

DEPLOY = Path(__file__).parent.parent / "examples" / "deploy"
OBJECTS: list[dict[str, Any]] = [
    one
    for path in sorted((DEPLOY / "k8s").iterdir())
    for one in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")


def the(kind: str) -> dict[str, Any]:
    return next(one for one in OBJECTS if one["kind"] == kind)


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> ServerConfig:
    monkeypatch.setenv("AI21_API_KEY", "key")
    monkeypatch.setenv("AI21_CHAINS_MASTER_KEY", "master")
    return load_config(DEPLOY / "config.yaml")


# --- Kubernetes ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.30", "1.37"])
@pytest.mark.parametrize("manifest", OBJECTS, ids=[one["kind"] for one in OBJECTS])
def test_kubernetes_knows_every_field(manifest: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_the_checker_finds_what_is_wrong() -> None:
    broken = {**the("Service"), "spec": {"prots": []}}
    with pytest.raises(kubernetes_validate.ValidationError, match="prots"):
        kubernetes_validate.validate(broken, "1.37", strict=True)


def pod() -> dict[str, Any]:
    return the("Deployment")["spec"]["template"]["spec"]


def test_all_objects_mean_the_same_pods() -> None:
    labels = the("Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        the("Deployment")["spec"]["selector"]["matchLabels"],
        the("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        the("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        the("Service")["spec"]["selector"],
    ]
    assert all(selector == labels for selector in selectors)
    names = {one["metadata"]["name"] for one in OBJECTS}
    assert names == {
        the("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"],
        pod()["containers"][0]["envFrom"][0]["secretRef"]["name"],
        pod()["volumes"][0]["configMap"]["name"],
    }


def test_the_pod_has_no_rights() -> None:
    (container,) = pod()["containers"]
    assert pod()["securityContext"]["runAsNonRoot"]
    assert not pod()["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]


def test_the_probes_ask_for_what_the_server_has() -> None:
    (container,) = pod()["containers"]
    paths = {
        name: container[name]["httpGet"]["path"]
        for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert paths == {
        "startupProbe": "/health/liveliness",
        "livenessProbe": "/health/liveliness",
        "readinessProbe": "/health/readiness",
    }
    ports = {container[name]["httpGet"]["port"] for name in paths}
    assert ports == {
        container["ports"][0]["name"],
        the("Service")["spec"]["ports"][0]["targetPort"],
    }
    assert container["ports"][0]["containerPort"] == 4000


def test_the_config_map_is_the_configuration() -> None:
    written = (DEPLOY / "config.yaml").read_text(encoding="utf-8")
    assert the("ConfigMap")["data"] == {"config.yaml": written}


# --- Compose ---------------------------------------------------------------------------------


def test_compose_knows_every_field() -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    command = [sys.executable, "-m", "check_jsonschema", *schema, str(DEPLOY / "compose.yaml")]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stdout


def test_compose_waits_for_services_that_are_well() -> None:
    services = COMPOSE["services"]
    waited = services["gateway"]["depends_on"]
    assert {name: one["condition"] for name, one in waited.items()} == {
        "postgres": "service_healthy",
        "redis": "service_healthy",
    }
    assert all("healthcheck" in services[name] for name in waited)
    assert services["gateway"]["deploy"]["replicas"] == 2
    # Nobody else on the network reaches what is tried out.
    published = [port for one in services.values() for port in one.get("ports", ())]
    assert published == ["127.0.0.1:4000-4001:4000"]


def test_the_example_of_the_environment_has_all_that_compose_wants() -> None:
    example = (DEPLOY / ".env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose.yaml").read_text(encoding="utf-8")))
    # Each is there, and empty.
    assert set(re.findall(r"(?m)^(\w+)=$", example)) == named


# --- The image -------------------------------------------------------------------------------


def instructions() -> list[list[str]]:
    lines = re.sub(r"\\\n|(?m:^#.*\n)", "", DOCKERFILE).splitlines()
    return [line.split(maxsplit=1) for line in lines if line.strip()]


def last(name: str) -> str:
    return [value for given, value in instructions() if given == name][-1]


def test_the_image_is_small_and_its_user_is_nobody() -> None:
    bases = [value.split()[0] for name, value in instructions() if name == "FROM"]
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:3\.\d+-slim", base) for base in bases)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last("USER"))
    assert not any(name == "ADD" for name, _ in instructions())
    # The last stage takes the finished program, and nothing of what it was made with.
    stages = [value for name, value in instructions() if name in ("FROM", "COPY", "RUN")]
    final = stages[stages.index(bases[1]) + 1 :]
    assert final[0].startswith("--from=build ")
    assert len(final) == 2


def test_the_image_takes_only_what_the_wheel_is_made_of() -> None:
    wanted = [
        part
        for name, value in instructions()
        if name == "COPY" and not value.startswith("--from")
        for part in value.split()[:-1]
    ]
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == set(wanted)


def test_the_image_can_be_asked_how_it_does_and_told_to_end() -> None:
    assert "http://127.0.0.1:4000/health/liveliness" in last("HEALTHCHECK")
    assert last("EXPOSE") == "4000"
    entry = yaml.safe_load(last("ENTRYPOINT"))
    assert entry == ["ai21-chains", "serve", "--host", "0.0.0.0", "--port", "4000"]
    assert yaml.safe_load(last("CMD")) == ["--config", "/etc/ai21-chains/config.yaml"]


def test_one_version_everywhere() -> None:
    image = f"ai21-chains:{__version__}"
    assert COMPOSE["services"]["gateway"]["image"] == image
    assert pod()["containers"][0]["image"] == image
    assert image in DOCKERFILE
    assert image in (DEPLOY / "README.md").read_text(encoding="utf-8")


# --- The configuration -----------------------------------------------------------------------


def test_the_configuration_is_honoured_in_full(config: ServerConfig) -> None:
    assert config.warnings == ()
    assert config.models == ("jamba-mini", "jamba-large")
    assert config.master_key is not None


def test_whoever_is_told_to_end_has_the_time_for_it(config: ServerConfig) -> None:
    longest = config.drain_seconds + config.request_timeout
    assert pod()["terminationGracePeriodSeconds"] > longest
    assert int(COMPOSE["services"]["gateway"]["stop_grace_period"].removesuffix("s")) > longest
    readiness = pod()["containers"][0]["readinessProbe"]
    assert readiness["periodSeconds"] * readiness["failureThreshold"] < config.drain_seconds


def test_nothing_holds_a_secret() -> None:
    given = the("Secret")["stringData"]
    assert given["AI21_API_KEY"] == given["AI21_CHAINS_MASTER_KEY"] == ""
    assert "ENV AI21" not in DOCKERFILE
    assert "ARG" not in DOCKERFILE
