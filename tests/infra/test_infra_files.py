"""Shipped scripts, images and manifests, checked by the validators of their kinds."""

import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
INFRA = ROOT / "infra"
SCRIPTS = [INFRA / "slurm" / "pretrain.sbatch", *ROOT.glob("tests/**/*.sh")]


def accepted(*command) -> str:
    """Return a validator's messages; empty if it accepts the file."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def containers(spec: dict) -> list[dict]:
    return [c for c in spec["containers"] if c]


def pods(manifest: dict) -> list[dict]:
    """Return the pod templates of a manifest of a kind that Kubernetes itself does not know."""
    spec = manifest["spec"]
    if manifest["kind"] == "PyTorchJob":
        return [replica["template"] for replica in spec["pytorchReplicaSpecs"].values()]
    groups = [spec["rayClusterSpec"]["headGroupSpec"], *spec["rayClusterSpec"]["workerGroupSpecs"]]
    return [group["template"] for group in groups]


def manifests() -> list[dict]:
    return [m for path in sorted((INFRA / "k8s").glob("*.yaml")) for m in yaml.safe_load_all(path.read_text())]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_scripts_pass_shellcheck(script):
    assert accepted(BIN / "shellcheck", script) == ""


def test_image_is_well_formed():
    if not (BIN / "hadolint").exists():
        pytest.skip("hadolint has no wheel for this machine")
    assert accepted(BIN / "hadolint", INFRA / "docker" / "Dockerfile") == ""


def test_compose_file_is_well_formed():
    compose = INFRA / "docker" / "compose.yaml"
    assert accepted(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", compose) == ""
    services = yaml.safe_load(compose.read_text())["services"]
    assert {"store", "mlflow", "ray-head", "ray-worker"} <= set(services)
    named = {word for s in services.values() for word in s.get("depends_on", {})}
    assert named <= set(services)


def test_pretraining_service_parses_with_the_documented_arguments():
    from foundation.common.settings.command import build_parser, parse
    from foundation.training import PretrainSettings

    text = (INFRA / "docker" / "compose.yaml").read_text()
    service = yaml.safe_load(text)["services"]["pretrain"]
    shown = re.search(r"run --rm pretrain (.+)", text)[1]
    words = [*service["entrypoint"], *service.get("command", []), *shlex.split(shown)]
    assert words[:2] == ["foundation", "pretrain"]
    settings = parse(build_parser("test", print, PretrainSettings), PretrainSettings, words[2:])
    assert settings.output.startswith("/runs/")
    assert "runs:/runs" in service["volumes"]


def test_image_has_the_mlflow_server_s_packages_for_s3():
    """MLflow does not depend on boto3, but its server imports it if files go to S3."""
    services = yaml.safe_load((INFRA / "docker" / "compose.yaml").read_text())["services"]
    assert "--artifacts-destination s3://" in services["mlflow"]["command"]
    installed = re.search(r"pip install (.+?)(?: \\)?\n", (INFRA / "docker" / "Dockerfile").read_text())[1]
    assert "boto3" in shlex.split(installed)
    assert re.search(r"^boto3==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)


def test_pods_can_write_to_their_volumes():
    """The image's user is not root, who owns a fresh volume."""
    user = int(re.search(r"^USER (\d+)$", (INFRA / "docker" / "Dockerfile").read_text(), re.MULTILINE)[1])
    found = [pod["spec"] for m in manifests() if m["kind"] in ("PyTorchJob", "RayJob") for pod in pods(m)]
    mounting = [spec for spec in found if any("persistentVolumeClaim" in volume for volume in spec.get("volumes", []))]
    assert len(mounting) == 2
    assert [spec.get("securityContext", {}).get("fsGroup") for spec in mounting] == [user, user]


def test_manifests_fit_the_schemas_of_kubernetes():
    import kubernetes_validate

    kinds = []
    for manifest in manifests():
        kinds.append(manifest["kind"])
        if manifest["kind"] in ("PyTorchJob", "RayJob"):
            for k, template in enumerate(pods(manifest)):
                pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"pod-{k}"}, **template}
                kubernetes_validate.validate(pod, "1.30", strict=True)
        else:
            kubernetes_validate.validate(manifest, "1.30", strict=True)
    assert sorted(kinds) == ["ConfigMap", "PersistentVolumeClaim", "PyTorchJob", "RayJob"]


def test_validator_refuses_a_wrong_pod():
    import kubernetes_validate

    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"imagee": "x"}]}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod, "1.30", strict=True)


def test_jobs_of_the_manifests_parse(tmp_path, capsys):
    from foundation.common.settings.command import build_parser, parse
    from foundation.training import PretrainSettings
    from ingest.job import IngestCommand

    found = {m["kind"]: m for m in manifests()}
    master = found["PyTorchJob"]["spec"]["pytorchReplicaSpecs"]["Master"]["template"]["spec"]["containers"][0]
    words = shlex.split(master["args"][0])
    assert words[:2] == ["exec", "torchrun"]
    after = words[words.index("foundation.training") + 1 :]
    settings = parse(build_parser("test", print, PretrainSettings), PretrainSettings, after)
    gpus = master["resources"]["limits"]["nvidia.com/gpu"]
    assert int(words[words.index("--nproc-per-node") + 1]) == gpus
    assert settings.data.min_windows == 2 * gpus  # a window for each process of both pods
    words = shlex.split(found["RayJob"]["spec"]["entrypoint"])
    assert words[:4] == ["python", "-P", "-m", "ingest.job"]
    parse(build_parser("test", print, IngestCommand), IngestCommand, words[4:])


def test_slurm_script_starts_each_task_as_a_process_of_the_group(tmp_path):
    """With replacements for srun and scontrol that print their arguments; a status of 75 is requeued."""
    programs = {
        "srun": 'while [ "$1" != bash ]; do shift; done\nSLURM_PROCID=3 SLURM_LOCALID=1 SLURM_NTASKS=4 "$@"',
        "scontrol": f'if [ "$1" = show ]; then printf "n1\\nn2\\n"; else echo "$@" >> {tmp_path}/queue; fi',
        "python": 'echo "$RANK $LOCAL_RANK $WORLD_SIZE $MASTER_ADDR $MASTER_PORT $*"; exit 75',
    }
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / name).chmod(stat.S_IRWXU)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_JOB_ID": "123456",
    }
    script = [INFRA / "slurm" / "pretrain.sbatch", "--config", "my run.yaml"]
    done = subprocess.run(["bash", *script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 75, done.stderr
    assert done.stdout.splitlines()[0] == "3 1 4 n1 23456 -P -m foundation.training --config my run.yaml"
    assert (tmp_path / "queue").read_text() == "requeue 123456\n"
