"""The test cluster itself: what the other tests take for granted, so that they need not wonder when they fail."""
import hashlib
import pathlib
import subprocess

import pytest
from cluster import job, pod, until
from harness import BIN  # found by cluster

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def ours(cluster):
    if cluster.kind == "given":
        pytest.skip("this cluster was given by KUBECONFIG: it has no images and no GPUs of ours")


def status(cluster, namespace, kind, name):
    return cluster.get(kind, name, "-n", namespace)["status"]


def conditions(of):
    return {one["type"]: one["status"] for one in of.get("conditions", [])}


def completed(cluster, namespace, name):
    """Waits for the end of a Job; it must not have failed."""
    def check():
        have = conditions(status(cluster, namespace, "job", name))
        assert have.get("Failed") != "True", cluster.kubectl("logs", "-n", namespace, f"job/{name}", check=False)
        return have.get("Complete") == "True"

    until(f"Job {name} to complete", check)
    return cluster.kubectl("logs", "-n", namespace, f"job/{name}")


def terminated(cluster, namespace, name):
    """Waits for the end of a Pod's container and says how it ended."""
    def check():
        have = status(cluster, namespace, "pod", name).get("containerStatuses", [{}])[0]
        return have.get("state", {}).get("terminated")

    return until(f"Pod {name} to end", check)


@pytest.mark.gpus
def test_nodes_are_ready_and_have_gpus(cluster):
    nodes = cluster.get("nodes")["items"]
    assert nodes
    for node in nodes:
        assert conditions(node["status"])["Ready"] == "True", node["metadata"]["name"]
        assert node["status"]["allocatable"]["nvidia.com/gpu"] == "8"
        assert node["metadata"]["labels"]["nvidia.com/gpu.product"]


def test_job_that_does_nothing_completes(cluster, namespace):
    cluster.apply(job(namespace, "nothing", "localhost/busybox:1", ["true"]))
    completed(cluster, namespace, "nothing")


def test_python_image_has_the_packages_of_the_pipelines(cluster, namespace):
    script = "import numpy, sklearn; print(sklearn.__version__, numpy.__version__)"
    cluster.apply(job(namespace, "python", "localhost/python:1", ["sh", "-c", f"python3 -c '{script}'"]))
    assert completed(cluster, namespace, "python").split() == wanted("scikit-learn", "numpy")


def wanted(*packages):
    lines = (ROOT / "pipelines/requirements.txt").read_text().splitlines()
    have = dict(line.split("==") for line in lines if "==" in line)
    return [have[one] for one in packages]


def test_millrace_image_is_the_program_alone(cluster, namespace):
    """Of the program under test, without a shell, and not root."""
    cluster.apply(job(namespace, "own", "localhost/millrace:1", None, args=["version"], securityContext={
        "runAsNonRoot": True, "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]}}))
    said = completed(cluster, namespace, "own").split()
    assert said == subprocess.check_output([BIN, "version"], text=True, env={}).split()
    cluster.apply(pod(namespace, "shell", "localhost/millrace:1", ["/bin/sh"]))
    assert terminated(cluster, namespace, "shell")["reason"] == "StartError"


def test_container_beyond_its_memory_is_oom_killed(cluster, namespace):
    limits = {"limits": {"memory": "64Mi"}}
    cluster.apply(pod(namespace, "greedy", "localhost/python:1", ["python3", "-c", "b'x' * (256 << 20)"],
                      resources=limits))
    ended = terminated(cluster, namespace, "greedy")
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


@pytest.mark.gpus
def test_more_gpus_than_there_are_wait(cluster, namespace):
    limits = {"limits": {"nvidia.com/gpu": "9"}}
    cluster.apply(pod(namespace, "nine", "localhost/busybox:1", ["true"], resources=limits))

    def told():
        have = status(cluster, namespace, "pod", "nine").get("conditions", [])
        return any("Insufficient nvidia.com/gpu" in one.get("message", "") for one in have)

    until("the scheduler to say what is missing", told)
    cluster.apply(pod(namespace, "eight", "localhost/busybox:1", ["true"], resources={
        "limits": {"nvidia.com/gpu": "8"}}))
    assert terminated(cluster, namespace, "eight")["exitCode"] == 0


def signed(cluster, s3, method, path, body=b"", secret=None):
    """Status and body of a request that curl signed."""
    done = cluster.inside(
        ["curl", "-sS", "-X", method, "--aws-sigv4", f"aws:amz:{s3.REGION}:s3", "-w", "\n%{http_code}",
         "--user", f"{s3.ACCESS}:{secret or s3.SECRET}", "-H", "Content-Type: application/octet-stream",
         "-H", f"x-amz-content-sha256: {hashlib.sha256(body).hexdigest()}",
         *(["--data-binary", "@-"] if body else []), f"{s3.url}/{path}"],
        input=body, text=False, capture_output=True, check=True)
    said, code = done.stdout.rsplit(b"\n", 1)
    return int(code), said


def test_s3_takes_what_is_signed_and_refuses_the_rest(cluster, s3):
    assert signed(cluster, s3, "PUT", "bucket")[0] == 200
    assert signed(cluster, s3, "PUT", "bucket/a/b", b"some bytes")[0] == 200
    assert signed(cluster, s3, "GET", "bucket/a/b") == (200, b"some bytes")
    assert signed(cluster, s3, "GET", "bucket/a/b", secret="another")[0] == 403
    assert signed(cluster, s3, "GET", "bucket/none")[0] == 404


def test_pods_reach_s3(cluster, namespace, s3):
    if cluster.kind != "own":
        pytest.skip("this cluster's pods do not share a network with the machine")
    signed(cluster, s3, "PUT", "bucket")
    command = ["sh", "-c", f"timeout 10 wget -O - {s3.url}/bucket/a 2>&1 | grep 403"]
    cluster.apply(job(namespace, "reach", "localhost/busybox:1", command))
    completed(cluster, namespace, "reach")
