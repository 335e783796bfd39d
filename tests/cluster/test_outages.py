"""The API server or a node is away, for longer than a moment. MILLRACE_OUTAGE (10) says for how many seconds the API
server is; two minutes are worth a try, too."""
import json
import os
import time

import pytest
from harness import until
from test_faults import pipeline
from test_refusals import first_attempt

pytestmark = pytest.mark.alone

OUTAGE = float(os.environ.get("MILLRACE_OUTAGE", 10))
RECOVERS = 180  # for Kubernetes' controllers, too: what they tried in vain they try again after ever longer pauses


@pytest.fixture(autouse=True)
def ours(cluster):
    if cluster.kind != "own":
        pytest.skip("this cluster's parts are not ours to kill")


def running(jobs, n=1):
    return until(f"{n} pods to run", lambda: len(
        found := [p for p in jobs.items("pods") if p["status"]["phase"] == "Running"]) == n and found)


def compact(cluster):
    """etcd forgets all revisions but the last."""
    def etcd(path, **words):
        return json.loads(cluster.inside(["curl", "-sS", f"{cluster.environment['K8S_ETCD']}/v3/kv/{path}", "-d",
                                          json.dumps(words)], capture_output=True, check=True).stdout)

    last = etcd("range", key="Lw==")["header"]["revision"]
    etcd("compaction", revision=last, physical=True)


def test_an_api_server_that_forgot(cluster, cluster_server, jobs, proxy):
    """Away for a while, and what was watched is too old when it is back (410 Expired). Steps ended, failed and were
    cancelled meanwhile, and one of two servers was killed."""
    server, other = (cluster_server(kubeconfig=proxy.kubeconfig) for _ in range(2))
    run = server.submit(pipeline("  s: {run: 'sleep 5; echo 4 > n; echo done', outputs: {n: {type: int, path: n}}}\n"
                                 "  fails: {run: 'sleep 6; echo no such data; exit 3'}\n"
                                 "  runs: {run: 'sleep 20; echo over'}\n"
                                 "  later: {run: 'echo ${{ steps.s.outputs.n }}'}\n"))
    watched = other.submit(pipeline("  s: {run: 'sleep 8; echo done'}\n"))
    stopped = server.submit(pipeline("  s: {run: 'sleep 500'}\n"))
    running(jobs, 5)
    cluster.stop("apiserver")
    server.post(f"/api/v1/runs/{stopped}:cancel")
    new = server.submit(pipeline("  s: {run: 'echo done'}\n"))
    time.sleep(OUTAGE / 2)
    server.crash()
    server.start()
    time.sleep(OUTAGE / 2)
    until("one that runs to say so", lambda: "it may have ended since: the cluster cannot be watched" in (
        other.tasks(watched)["s"].get("waitingFor") or ""))
    compact(cluster)
    cluster.bring_up()
    assert server.ended(run, 120)["state"] == "failed"
    assert server.ended(stopped, 120)["state"] == "cancelled"
    assert server.ended(new, 120)["state"] == "succeeded"
    assert other.ended(watched, 120)["state"] == "succeeded" and other.tasks(watched)["s"]["attempt"] == 1
    assert not other.tasks(watched)["s"].get("waitingFor")
    assert sum(n for (_, status), n in proxy.answers.items() if status == 410) > 0, proxy.answers
    tasks = server.tasks(run)
    assert [tasks[one]["state"] for one in ("s", "fails", "runs", "later")] == [
        "succeeded", "failed", "succeeded", "succeeded"], tasks
    assert all(task["attempt"] == 1 for task in tasks.values()), tasks
    assert "exited with code 3" in tasks["fails"]["message"], tasks
    for path, log in {"s": "done\n", "fails": "no such data\n", "runs": "over\n", "later": "4\n"}.items():
        assert server.cli("logs", run, path).stdout == log
    assert sum(proxy.created.values()) == 7 and max(proxy.created.values()) == 1
    until("all Jobs and pods to be gone", jobs.empty, RECOVERS)


@pytest.fixture
def node(cluster):
    """As it was, afterwards: no taint, schedulable, with a kubelet."""
    yield cluster.node
    cluster.bring_up()
    cluster.kubectl("taint", "node", cluster.node, "test.millrace.dev/lost-", check=False)
    cluster.kubectl("uncordon", cluster.node)


def test_a_node_is_drained(cluster, cluster_server, jobs, node):
    server = cluster_server()
    run = server.submit(pipeline("  s: {run: 'trap \"exit 0\" TERM; echo here; sleep 6 & wait; echo done'}\n"))
    until("its log", lambda: server.cli("logs", run, "s").stdout == "here\n")
    cluster.kubectl("drain", node, "--force", "--delete-emptydir-data", "--pod-selector", f"millrace.dev/run={run}",
                    "--timeout=60s")
    attempt = first_attempt(server, run)
    assert attempt["reason"] == "Infrastructure", attempt
    assert "was disrupted; Kubernetes says: EvictionByEvictionAPI" in attempt["message"], attempt
    until("the next one to say why it waits", lambda: "unschedulable" in server.tasks(run)["s"].get("waitingFor", ""))
    cluster.kubectl("uncordon", node)
    assert server.ended(run, 120)["state"] == "succeeded"
    task = server.tasks(run)["s"]
    assert task["attempt"] == 2 and not task.get("failures"), task
    assert server.cli("logs", run, "s").stdout == "here\ndone\n"
    until("all Jobs and pods to be gone", jobs.empty)


def test_a_node_that_is_lost(cluster, cluster_server, jobs, node):
    """Its pods are deleted as by the taint of one that is unreachable, and nobody is there to end them."""
    server = cluster_server("--grace", "1s")
    run = server.submit(pipeline("  s: {run: 'sleep 12; echo done'}\n"))
    running(jobs)
    cluster.stop("kubelet")
    cluster.kubectl("taint", "node", node, "test.millrace.dev/lost=:NoExecute")
    attempt = until("it to be lost", lambda: first_attempt(server, run), 120)
    assert attempt["reason"] == "Infrastructure", attempt
    assert f"node {node} does not confirm" in attempt["message"], attempt
    assert "DeletionByTaintManager" in attempt["message"], attempt
    cluster.kubectl("taint", "node", node, "test.millrace.dev/lost-")
    cluster.bring_up()
    assert server.ended(run, 120)["state"] == "succeeded"
    task = server.tasks(run)["s"]
    assert task["attempt"] == 2 and not task.get("failures"), task
    until("all Jobs and pods to be gone", jobs.empty, RECOVERS)
