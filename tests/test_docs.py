"""The documents: commands that exist, cluster files that their tools accept."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import ray
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from typer.main import get_command

from trp_search.cli.app import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "SECURITY.md",
    *sorted(p for p in (ROOT / "docs").rglob("*") if p.is_file()),
]
CLUSTER = ROOT / "docs" / "cluster"


def _only(needed: str = "", **properties: object) -> dict[str, object]:
    return {
        "type": "object",
        "properties": properties,
        "required": needed.split(),
        "additionalProperties": False,
    }


WORDS = {"type": "string", "minLength": 1}
NUMBER = {"type": "integer", "minimum": 0}
SWITCH = {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
GROUP: dict[str, object] = {
    "rayStartParams": TEXTS,
    "template": _only("spec", metadata={"type": "object"}, spec={"type": "object"}),
}
# the keys that KubeRay's ray.io/v1 knows of those that a search has a use for; pods are checked
# against Kubernetes's own schema
RAY_JOB = _only(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata={"type": "object", "required": ["name"]},
    spec=_only(
        "entrypoint rayClusterSpec",
        entrypoint=WORDS,
        shutdownAfterJobFinishes=SWITCH,
        ttlSecondsAfterFinished=NUMBER,
        activeDeadlineSeconds=NUMBER,
        backoffLimit=NUMBER,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode"]},
        runtimeEnvYAML=WORDS,
        rayClusterSpec=_only(
            "headGroupSpec rayVersion",  # authOptions need the version
            rayVersion=WORDS,
            authOptions=_only("mode", mode={"enum": ["token", "disabled"]}),
            headGroupSpec=_only("rayStartParams template", **GROUP),
            workerGroupSpecs={
                "type": "array",
                "items": _only(
                    "groupName minReplicas maxReplicas rayStartParams template",
                    groupName=WORDS,
                    replicas=NUMBER,
                    minReplicas=NUMBER,
                    maxReplicas=NUMBER,
                    numOfHosts=NUMBER,
                    **GROUP,
                ),
            },
        ),
    ),
)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_line_names_a_command_and_options_that_exist(path: Path):
    commands = get_command(app).commands
    for line in re.findall(r"trp-search ([a-z]+\b[^`\n]*)", path.read_text()):
        name, *words = line.split()
        if name in ("finds", "cannot", "can"):  # the name in a sentence
            continue
        assert name in commands, line
        known = {option for parameter in commands[name].params for option in parameter.opts}
        for word in words:
            if word.startswith("--"):
                assert word.rstrip(".,;") in known, line


def test_what_every_command_may_import_and_write_is_said():
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "SECURITY.md").read_text(), re.MULTILINE)
    said = {words.split()[0] for row in rows for words in re.findall(r"`([^`]+)`", row)}
    assert said == set(get_command(app).commands)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_of_documents_lead_somewhere(path: Path):
    text = path.read_text()
    titles = {_anchor(line) for line in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        file, _, anchor = target.partition("#")
        assert (path.parent / file).exists(), target
        assert file or anchor in titles, target


def _anchor(title: str) -> str:
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def test_the_rooms_are_the_packages_in_the_order_of_their_imports():
    text = (ROOT / "docs" / "architecture.md").read_text()
    rooms = re.findall(r"^\| \[`(\w+)/`\]\(\.\./trp_search/(\w+)/\w+\.py\) \|", text, re.MULTILINE)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    flow = next(c for c in contracts["contracts"] if c["id"] == "flow")
    names = [name for layer in flow["layers"] for name in layer.split(" | ")]
    packages = [name for name in names if (ROOT / "trp_search" / name).is_dir()]
    assert rooms == [(name, name) for name in packages]


def test_files_that_documents_name_are_there():
    for path in DOCUMENTS:
        for name in re.findall(r"(?:docs|search_spaces|benchmarks)/[\w./-]+\w", path.read_text()):
            assert (ROOT / name).exists(), f"{path.name}: {name}"


def test_optuna_dashboard_opens_a_run_s_study(tmp_path: Path):
    (given,) = re.findall(
        r"`optuna-dashboard (sqlite:///RUN/\S+)`", (ROOT / "docs" / "searching.md").read_text()
    )
    run = tmp_path / "run"
    shutil.copytree(ROOT / "results" / "digits", run)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("optuna-dashboard")
    words = [str(program), given.replace("RUN", str(run)), "--port", str(port), "--quiet"]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        (study,) = _answer(f"http://127.0.0.1:{port}/api/studies")["study_summaries"]
    finally:
        server.kill()
        server.wait()
    assert (study["study_name"], len(study["directions"])) == ("trp_search", 2)


def _answer(address: str) -> dict[str, Any]:
    for _ in range(240):
        try:
            with urllib.request.urlopen(address) as answer:  # noqa: S310  this machine
                found: dict[str, Any] = json.load(answer)
                return found
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"nothing answers at {address}")


def test_ray_makes_a_token_as_the_document_says(tmp_path: Path):
    assert "`ray get-auth-token --generate`" in (ROOT / "docs" / "cluster.md").read_text()
    ray_ = Path(sys.executable).with_name("ray")
    subprocess.run(
        [str(ray_), "get-auth-token", "--generate"],
        env=os.environ | {"HOME": str(tmp_path)},
        capture_output=True,
        check=True,
    )
    assert (tmp_path / ".ray" / "auth_token").stat().st_size


def test_ray_up_accepts_its_file():
    config = yaml.safe_load((CLUSTER / "ray-up.yaml").read_text())
    validate_config(prepare_config(config))
    with pytest.raises(jsonschema.ValidationError, match="was unexpected"):
        validate_config(prepare_config(config | {"workers": 3}))


def test_the_slurm_script_is_a_script():
    bash = shutil.which("bash")
    assert bash
    done = subprocess.run(
        [bash, "-n", str(CLUSTER / "slurm.sh")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_the_slurm_script_asks_for_is_what_sbatch_knows():
    asked = re.findall(r"^#SBATCH (.*)$", (CLUSTER / "slurm.sh").read_text(), re.MULTILINE)
    known = "job-name nodes ntasks-per-node cpus-per-task gpus-per-node mem time signal"
    assert asked
    for line in asked:
        option = re.fullmatch(r"--([a-z-]+)(=\S+)?( +#.*)?", line)
        assert option, line
        assert option[1] in known.split(), line


def test_the_kubernetes_job_keeps_to_its_schema():
    job = yaml.safe_load((CLUSTER / "kuberay.yaml").read_text())
    jsonschema.validate(job, RAY_JOB)
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == ray.__version__
    for group in _groups(job):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, **group["template"]}
        kubernetes_validate.validate(pod, "1.37.0", strict=True)
        pod["spec"]["containers"][0]["memory"] = "16Gi"
        with pytest.raises(kubernetes_validate.ValidationError, match="'memory' was unexpected"):
            kubernetes_validate.validate(pod, "1.37.0", strict=True)
    job["spec"]["rayClusterSpec"]["workers"] = 4
    with pytest.raises(jsonschema.ValidationError, match="'workers' was unexpected"):
        jsonschema.validate(job, RAY_JOB)


def _groups(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def test_every_pod_of_the_kubernetes_job_sees_the_runs():
    job = yaml.safe_load((CLUSTER / "kuberay.yaml").read_text())
    assert len(_groups(job)) == 2
    for group in _groups(job):
        pod = group["template"]["spec"]
        volumes = {volume["name"]: volume["persistentVolumeClaim"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            paths = {m["mountPath"]: volumes[m["name"]] for m in container["volumeMounts"]}
            assert paths == {"/shared": {"claimName": "trp-search"}}
    out = job["spec"]["entrypoint"].partition("--out ")[2].split()[0]
    assert out.startswith("/shared/")
