"""Fixtures for tests on a real cluster. They run within the cluster's own network, so that a server is reached by its
pods and reaches them: see tests/cluster/run."""
import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

import kube  # noqa: E402
from harness import Server  # noqa: E402


@pytest.fixture(scope="session")
def namespace():
    """A namespace of this session's own: what is left in it at the end was left behind."""
    with kube.Namespace() as made:
        yield made


@pytest.fixture
def cluster_server(namespace):
    """cluster_server(options…) makes and starts a server whose steps are Jobs."""
    made = []

    def make(*options, start=True):
        base = ["--executor", "kubernetes", "--kubeconfig", os.environ["KUBECONFIG"], "--kube-namespace",
                namespace.name, "--kube-image", "localhost/busybox:1"]
        made.append(Server(*base, *options))
        return made[-1].start() if start else made[-1]

    yield make
    for one in made:
        one.remove()
    namespace.sweep()
