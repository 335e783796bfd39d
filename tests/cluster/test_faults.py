"""What a connection to the API server can do to a step: nothing. Single faults of it."""
import time

import pytest
from cluster import Pods
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


@pytest.mark.parametrize("kind", ["cut-after", "429"])
def test_creation(cluster_server, jobs, proxy, kind):
    server = cluster_server(kubeconfig=proxy.kubeconfig)
    proxy.next("create", "jobs", kind, 2)
    run = server.submit(pipeline("  s: {run: 'sleep 3; echo done'}\n"))
    once(server, run, jobs)
    assert sum(proxy.created.values()) == 1


def test_pods_that_cannot_be_listed(cluster_server, jobs, proxy):
    """After a restart the Job is known to have ended before its pod is: what the pod says still counts."""
    server = cluster_server(kubeconfig=proxy.kubeconfig)
    run = server.submit(pipeline("  s: {run: 'sleep 1; echo 7 > n; echo done', outputs: {n: {type: int, path: n}}}\n"
                                 "  fails: {run: 'sleep 1; exit 3'}\n"))
    until("both to run", lambda: [p["status"]["phase"] for p in jobs.items("pods")] == ["Running"] * 2)
    server.crash()
    until("both Jobs to end", lambda: all(j["status"].get("completionTime") or j["status"].get("failed")
                                          for j in jobs.items("jobs")))
    time.sleep(2)  # for their conditions
    proxy.next("list", "pods", "503", 4)
    server.start()
    assert server.ended(run, 120)["state"] == "failed", server.tasks(run)
    tasks = server.tasks(run)
    assert tasks["s"]["state"] == "succeeded" and tasks["s"]["attempt"] == 1, tasks["s"]
    assert tasks["fails"]["attempt"] == 1 and "exited with code 3" in tasks["fails"]["message"], tasks["fails"]
    assert server.cli("logs", run, "s").stdout == "done\n"


def test_silence(cluster_server, jobs, proxy):
    """Of a creation, which was carried out, and of both watches."""
    server = cluster_server("--kube-silence", "3s", kubeconfig=proxy.kubeconfig, start=False)
    proxy.lives = (0, 1)
    for of in (("create", "jobs"), ("watch", "jobs"), ("watch", "pods")):
        proxy.next(*of, "swallow")
    server.start()
    run = server.submit(pipeline("  s: {run: 'sleep 5; echo done'}\n"))
    once(server, run, jobs)
    assert proxy.counts()["swallow"] == 3 and sum(proxy.created.values()) == 1


@pytest.mark.gpus
def test_silence_of_what_the_queue_sees(cluster_server, jobs, proxy):
    """Nodes are known by a connection of the placer's own, to which the same holds."""
    server = cluster_server("--kube-silence", "2s", kubeconfig=proxy.kubeconfig, start=False)
    proxy.lives = (0, 1)
    seen = ("list", "all nodes"), ("watch", "all nodes"), ("list", "all pods"), ("watch", "all pods")
    for of in seen:
        proxy.next(*of, "swallow")
    server.start()
    run = server.submit(pipeline("  s: {run: 'echo done', resources: {gpu: 1}}\n"))
    until("all of it to be asked for anew", lambda: all(proxy.asked[of] > 1 for of in seen), 25)
    once(server, run, jobs)
    assert proxy.counts()["swallow"] == 4


@pytest.mark.parametrize("kind", ["500", "cut-middle", "swallow", "words"])
def test_logs_are_whole(cluster_server, jobs, proxy, kind):
    """Of a short step, of one whose log is followed, and of one that fails."""
    server = cluster_server("--kube-silence", "3s", kubeconfig=proxy.kubeconfig)
    proxy.next("get", "log", kind, 1 if kind == "swallow" else 9)
    run = server.submit(pipeline("  s: {run: 'seq 20000'}\n"
                                 "  long: {run: 'seq 7000; sleep 3; seq 7001 20000'}\n"
                                 "  fails: {run: 'seq 7000; sleep 3; seq 7001 20000; exit 1'}\n"))
    server.ended(run, 120)
    whole = "".join(f"{i}\n" for i in range(1, 20001))
    for path, task in server.tasks(run).items():
        assert task["attempt"] == 1 and server.cli("logs", run, path).stdout == whole, task


def test_a_stopped_step_does_not_begin(cluster, cluster_server, jobs, proxy):
    """Nobody knows whether its creation was carried out; it was not."""
    pods = Pods(cluster, jobs.name)
    server = cluster_server("--kube-silence", "2s", kubeconfig=proxy.kubeconfig)
    proxy.next("create", "jobs", "silent")
    proxy.next("delete", "jobs", "503-after", 2)
    run = server.submit(pipeline("  s: {run: 'sleep 60'}\n"))
    until("its creation", lambda: proxy.counts()["silent"])
    server.post(f"/api/v1/runs/{run}:cancel")
    assert server.ended(run)["state"] == "cancelled"
    until("all Jobs and pods to be gone", jobs.empty)
    pods.close()
    assert not pods.seen and sum(proxy.created.values()) == 1
