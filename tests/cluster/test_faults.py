"""What a connection to the API server can do to a step: nothing. Single faults of it."""
import time

import pytest
from harness import until


def pipeline(steps, name="p"):
    return f"apiVersion: millrace/v1\nkind: Pipeline\nname: {name}\nsteps:\n{steps}"


def once(server, run, jobs, path="s", logged="done\n"):
    """The step ran once and well, and left nothing."""
    assert server.ended(run, 120)["state"] == "succeeded", server.tasks(run)
    task = server.tasks(run)[path]
    assert task["attempt"] == 1, task
    assert server.cli("logs", run, path).stdout == logged
    until("all Jobs and pods to be gone", jobs.empty)


@pytest.mark.parametrize("kind", ["cut-after", "503", "429", "late"])
def test_creation(cluster_server, jobs, proxy, kind):
    server = cluster_server(kubeconfig=proxy.kubeconfig)
    proxy.next("create", "jobs", kind, 2)
    run = server.submit(pipeline("  s: {run: 'sleep 4; echo done'}\n"))
    once(server, run, jobs)
    assert sum(proxy.created.values()) == 1
