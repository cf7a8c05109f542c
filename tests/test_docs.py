"""The documents: commands that exist, cluster files that their tools accept."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config
from typer.main import get_command

from trp_search.cli.app import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted(p for p in (ROOT / "docs").rglob("*") if p.is_file())]
CLUSTER = ROOT / "docs" / "cluster"


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


def test_files_that_documents_name_are_there():
    for path in DOCUMENTS:
        for name in re.findall(r"(?:docs|search_spaces|benchmarks)/[\w./-]+\w", path.read_text()):
            assert (ROOT / name).exists(), f"{path.name}: {name}"


def test_ray_up_accepts_its_file():
    config = yaml.safe_load((CLUSTER / "ray-up.yaml").read_text())
    validate_config(prepare_config(config))
    with pytest.raises(ValidationError, match="was unexpected"):
        validate_config(prepare_config(config | {"workers": 3}))


def test_the_slurm_script_is_a_script():
    bash = shutil.which("bash")
    assert bash
    done = subprocess.run(
        [bash, "-n", str(CLUSTER / "slurm.sh")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_pod_of_the_kubernetes_job_sees_the_runs():
    job = yaml.safe_load((CLUSTER / "kuberay.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert len(groups) == 2
    for group in groups:
        pod = group["template"]["spec"]
        volumes = {volume["name"]: volume["persistentVolumeClaim"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert container["image"]
            assert container["resources"]["requests"]
            paths = {m["mountPath"]: volumes[m["name"]] for m in container["volumeMounts"]}
            assert paths == {"/shared": {"claimName": "trp-search"}}
    out = job["spec"]["entrypoint"].partition("--out ")[2].split()[0]
    assert out.startswith("/shared/")
