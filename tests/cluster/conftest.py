"""Fixtures of the tests that need a cluster: `cluster` is the running one, `namespace` a fresh one for each module,
`s3` an S3 server in the cluster's network, `cluster_server` makes servers whose steps are Jobs in `jobs`, `proxy` is a
fault proxy before the API server, `marks` a folder of the node. All of it runs in that network: see
tests/cluster/run."""
import itertools
import os

import pytest
from cluster import Cluster, Namespace, Store
from fault_proxy import FaultProxy
from harness import Server  # found by cluster

COUNT = itertools.count(1)
MARKS = {
    "alone": "acts on the whole cluster, or weighs all of it: nothing else runs beside it",
    "gpus": "counts the nodes and their GPUs: no other of that mark runs beside it",
}


def pytest_configure(config):
    for mark in MARKS.items():
        config.addinivalue_line("markers", ": ".join(mark))


@pytest.fixture(scope="session")
def cluster():
    return Cluster()


@pytest.fixture(scope="module")
def namespace(cluster):
    name = f"test-{os.getpid()}-{next(COUNT)}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def jobs(cluster, namespace):
    """The namespace as the tests of Jobs see it; empty again for the next one."""
    made = Namespace(cluster, namespace)
    yield made
    made.sweep()


@pytest.fixture
def cluster_server(cluster, jobs):
    """cluster_server(options…) makes and starts a server whose steps are Jobs."""
    made = []

    def make(*options, start=True, image="localhost/busybox:1", kubeconfig=cluster.kubeconfig, namespace=jobs.name):
        base = ["--executor", "kubernetes", "--kubeconfig", kubeconfig, "--kube-namespace", namespace,
                "--kube-image", image]
        made.append(Server(*base, *options))
        return made[-1].start() if start else made[-1]

    yield make
    for one in made:
        one.remove()


@pytest.fixture
def data_server(cluster, cluster_server):
    """The same, of servers that pods reach and that move their data."""
    def make(*options, start=True, **more):
        server = cluster_server("--kube-companion", "localhost/millrace:1", *options, start=False, **more)
        server.listen = "*"
        server.options += ["--api-url", f"http://{cluster.address}:{server.port}"]
        return server.start() if start else server

    return make


@pytest.fixture
def marks(tmp_path_factory):
    """A folder of the node where steps leave marks."""
    folder = tmp_path_factory.mktemp("marks")
    for parent in [folder, *list(folder.parents)[:3]]:
        parent.chmod(0o777)
    return folder


@pytest.fixture
def proxy(cluster, tmp_path_factory):
    made = FaultProxy(cluster, tmp_path_factory.mktemp("proxy"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def s3(cluster):
    with Store(cluster) as store:
        yield store
