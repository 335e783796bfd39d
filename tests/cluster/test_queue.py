"""The queue for GPUs on a real cluster: who starts, on which node, who waits and why, who gives way."""
import json
import pathlib

import pytest
from harness import until
from test_jobs import gone, pipeline

pytestmark = pytest.mark.gpus

GPUS = 8  # of the node: tests/cluster/lib.sh
PRODUCT = "NVIDIA-H100-80GB-HBM3"
DOCUMENTS = f"""apiVersion: millrace/v1
kind: Flavor
name: h100
resource: nvidia.com/gpu
nodes: {{nvidia.com/gpu.product: {PRODUCT}}}
tolerations: [{{key: nvidia.com/gpu}}]
---
apiVersion: millrace/v1
kind: Queue
name: research
quota: {{h100: 2, cpu: unlimited}}
preemption: {{within: lower}}
"""


def unfinished(jobs):
    """Pods that hold what they asked for. Their Job is said to be complete a moment after they have ended, and the next
    step may begin meanwhile."""
    return [p for p in jobs.items("pods") if p["status"]["phase"] in ("Pending", "Running")
            and not any("terminated" in c["state"] for c in p["status"].get("containerStatuses", []))]


def declare(server, text=DOCUMENTS):
    file = server.home / "queues.yaml"
    file.write_text(text)
    return server.cli("queue", "apply", str(file), "-o", "json")


def waits(server, run, path="fan"):
    return {p: t.get("waitingFor", "") for p, t in server.tasks(run).items()
            if p.startswith(path + "[") and t["state"] in ("pending", "ready")}


def test_never_more_than_there_are(cluster_server, jobs):
    server = cluster_server()
    run = server.submit(pipeline("  fan: {foreach: {range: 20}, run: 'sleep 2', resources: {gpu: 1}}\n"))
    until("the first ones", lambda: len(unfinished(jobs)) == GPUS, 60)

    def told():
        why = waits(server, run)
        return len(why) == 20 - GPUS and all("1 × gpu" in w or "has free is 0" in w for w in why.values()) and \
            all("; position " in w for w in why.values())

    until("the others to say why", told, 20)
    assert len({w.split("; ")[1] for w in waits(server, run).values()}) > 1
    most = 0
    while server.run(run)["state"] not in ("succeeded", "failed"):
        most = max(most, len(unfinished(jobs)))
    assert server.run(run)["state"] == "succeeded" and most <= GPUS
    gone(jobs)


def test_a_flavor_is_its_nodes(cluster, cluster_server, jobs):
    server = cluster_server()
    declare(server)
    run = server.submit(pipeline("  train: {run: 'sleep 20', queue: research, resources: {gpu: {flavor: h100}}}\n"))
    server.wait_task(run, "train", "running")
    pod, = until("its pod to have a node", lambda: [p for p in jobs.items("pods") if p["spec"].get("nodeName")])
    node = cluster.get("node", pod["spec"]["nodeName"])
    assert node["metadata"]["labels"]["nvidia.com/gpu.product"] == PRODUCT
    assert pod["spec"]["nodeSelector"] == {"nvidia.com/gpu.product": PRODUCT}
    assert {"key": "nvidia.com/gpu", "operator": "Exists"} in pod["spec"]["tolerations"]
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    term, = pod["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert term["weight"] == 100 and term["preference"]["matchFields"] == [
        {"key": "metadata.name", "operator": "In", "values": [pod["spec"]["nodeName"]]}], term

    def shown():
        rows = json.loads(server.cli("gpus", "-o", "json").stdout)["items"]
        gpus = next((row for row in rows if row["name"] == pod["spec"]["nodeName"]), {"gpus": [], "steps": []})
        step, = gpus["steps"] or [{}]
        has = {"flavor": "h100", "resource": "nvidia.com/gpu", "total": GPUS, "used": 1, "others": 0}
        return gpus["gpus"] == [has] and step.get("path") == "train"

    until("gpus to show it", shown)
    queue, = [q for q in json.loads(server.cli("queue", "-o", "json").stdout) if q["name"] == "research"]
    assert queue["running"] == 1 and {"of": "h100", "used": 1, "nominal": 2} in queue["use"], queue
    assert server.ended(run)["state"] == "succeeded"
    gone(jobs)


def test_the_more_important_goes_first(cluster_server, jobs):
    server = cluster_server()
    declare(server)
    low = server.submit(pipeline("  low: {run: 'sleep 12', queue: research, priority: -5, resources: {gpu: 2}}\n"))
    server.wait_task(low, "low", "running")
    until("its Job", lambda: jobs.items("pods"))
    high = server.submit(pipeline("  high: {run: 'sleep 3', queue: research, priority: 5, resources: {gpu: 2}}\n"))
    server.wait_task(high, "high", "running")
    why = until("the victim to wait", lambda: server.tasks(low)["low"].get("waitingFor"), 20)
    assert "research" in why and "position 1 of 1" in why, why
    assert server.ended(high)["state"] == "succeeded"
    assert server.ended(low)["state"] == "succeeded"
    task = server.tasks(low)["low"]
    assert task["attempt"] == 2 and not task.get("failures") and not task.get("infrastructureFailures"), task
    first = server.get(f"/api/v1/runs/{low}/tasks/low/attempts").json["items"][0]
    assert f"gave way to run {high} high" == first["message"], first
    assert "Preempted" in server.cli("events", low).stdout
    gone(jobs)


def test_what_can_never_run_is_said_at_once(cluster_server, jobs):
    server = cluster_server()
    declare(server)
    until("the nodes to be known", lambda: json.loads(server.cli("gpus", "-o", "json").stdout)["items"])
    for asks, words in {
            "queue: research, resources: {gpu: 3}": "needs 3 × h100, queue research can have at most 2",
            "resources: {gpu: 99}": "each pod needs 99 × h100",
            "queue: reserch": "there is no queue 'reserch'",
            "resources: {gpu: {flavor: a100}}": "there is no flavor 'a100'",
    }.items():
        said = server.post("/api/v1/runs", {"source": pipeline(f"  one: {{run: 'true', {asks}}}\n")})
        assert said.status == 422 and words in json.dumps(said.json, ensure_ascii=False), said


@pytest.fixture
def node(cluster):
    """A real one, without the label `disk`, which a test may give it."""
    name = next(n["metadata"]["name"] for n in cluster.get("nodes")["items"] if "type" not in n["metadata"]["labels"])
    yield name
    cluster.kubectl("label", "node", name, "disk-")


def test_labels_of_nodes_count(cluster, cluster_server, jobs, node):
    """Those that a step asks for: when it is submitted, and as long as it waits."""
    server = cluster_server()
    declare(server)
    until("the nodes to be known", lambda: json.loads(server.cli("gpus", "-o", "json").stdout)["items"])
    text = pipeline("  one: {run: 'sleep 3', queue: research, nodeSelector: {disk: ssd}, resources: {gpu: 2}}\n")
    said = server.post("/api/v1/runs", {"source": text})
    wrong, = said.json["errors"]
    assert said.status == 422 and wrong["path"] == "steps.one.nodeSelector", said
    assert wrong["message"] == ("it can never run: each pod needs 2 × h100 on a node with disk=ssd, and there is no "
                                "such node"), wrong
    assert "kubectl get nodes --show-labels" in wrong["hint"]
    cluster.kubectl("label", "node", node, "disk=ssd")
    until("it to be taken", lambda: server.post("/api/v1/runs", {"source": text}).status == 201)
    first, = server.get("/api/v1/runs").json["items"]
    server.wait_task(first["id"], "one", "running")
    second = server.submit(text)
    until("it to say why", lambda: "0 free in queue research" in server.tasks(second)["one"].get("waitingFor", ""))
    cluster.kubectl("label", "node", node, "disk-")
    assert server.ended(first["id"])["state"] == "succeeded"
    until("it to say why", lambda: "there is no such node" in server.tasks(second)["one"].get("waitingFor", ""))
    other = server.submit(pipeline("  one: {run: 'true', queue: research, resources: {gpu: 2}}\n"))
    assert server.ended(other)["state"] == "succeeded"  # it holds nobody up
    cluster.kubectl("label", "node", node, "disk=ssd")
    assert server.ended(second)["state"] == "succeeded"
    gone(jobs)


def test_killed_at_any_time(cluster_server, jobs):
    server = cluster_server()
    declare(server)
    run = server.submit(pipeline(
        "  fan: {foreach: {range: 8}, run: 'sleep 1', queue: research, resources: {gpu: 1}}\n"))
    most = 0
    for _ in range(6):
        server.crash()
        server.start()
        for _ in range(4):
            most = max(most, len(unfinished(jobs)))
    while server.run(run)["state"] not in ("succeeded", "failed"):
        most = max(most, len(unfinished(jobs)))
    assert server.run(run)["state"] == "succeeded" and 1 <= most <= 2
    assert all(t["attempt"] == 1 for p, t in server.tasks(run).items() if "[" in p)
    gone(jobs)


KUEUE = f"""apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {{name: h100}}
spec: {{nodeLabels: {{nvidia.com/gpu.product: {PRODUCT}}}}}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {{name: one-gpu}}
spec:
  namespaceSelector: {{}}
  resourceGroups:
  - coveredResources: [nvidia.com/gpu]
    flavors: [{{name: h100, resources: [{{name: nvidia.com/gpu, nominalQuota: 1}}]}}]
"""


@pytest.fixture
def kueue(cluster, jobs):
    """A real one, with a LocalQueue team-a that has one GPU."""
    if cluster.kind != "own":
        pytest.skip("this cluster is not ours to put Kueue into")
    if not pathlib.Path(cluster.environment["K8S_BIN"], "kueue").exists():
        pytest.skip("tests/cluster/build --kueue has not been able to make Kueue")
    local = "---\napiVersion: kueue.x-k8s.io/v1beta2\nkind: LocalQueue\n" \
            f"metadata: {{name: team-a, namespace: {jobs.name}}}\nspec: {{clusterQueue: one-gpu}}\n"
    try:
        cluster.bring_up("--kueue")
        cluster.kubectl("apply", "-f", "-", given=KUEUE + local)
        yield
        cluster.kubectl("delete", "-f", "-", "--wait=false", given=KUEUE + local)
    finally:  # its webhooks would refuse all Jobs
        cluster.kubectl("delete", "mutatingwebhookconfiguration,validatingwebhookconfiguration", "-l",
                        "app.kubernetes.io/name=kueue", check=False)
        cluster.stop("kueue")


def test_kueue_may_decide(cluster_server, jobs, kueue):
    server = cluster_server()
    declare(server, "{apiVersion: millrace/v1, kind: Queue, name: theirs, kueue: team-a}\n")
    run = server.submit(pipeline("  fan: {foreach: {range: 3}, run: 'sleep 8', queue: theirs, resources: {gpu: 1}}\n"))
    until("their Jobs", lambda: len(jobs.items("jobs")) == 3)
    assert all(j["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a" for j in jobs.items("jobs"))
    most = 0

    def told():
        nonlocal most
        most = max(most, len([p for p in jobs.items("pods") if p["status"]["phase"] in ("Pending", "Running")]))
        why = [t.get("waitingFor", "") for p, t in server.tasks(run).items() if "[" in p]
        return len([w for w in why if "waits for Kueue: " in w and "nvidia.com/gpu" in w]) == 2

    until("the others to say why", told, 20)
    theirs = server.get("/api/v1/queues/theirs").json
    assert {w["state"] for w in theirs["works"]} == {"handed"} and theirs["running"] == 0, theirs
    while server.run(run)["state"] not in ("succeeded", "failed"):
        most = max(most, len([p for p in jobs.items("pods") if p["status"]["phase"] in ("Pending", "Running")]))
    assert server.run(run)["state"] == "succeeded" and most == 1
    assert all(t["attempt"] == 1 for p, t in server.tasks(run).items() if "[" in p)
    gone(jobs)


def test_kueue_may_take_back(cluster, cluster_server, jobs, kueue):
    def stop_policy(policy):
        cluster.kubectl("patch", "clusterqueue", "one-gpu", "--type=merge", "-p",
                        json.dumps({"spec": {"stopPolicy": policy}}))

    server = cluster_server("--grace", "1s")
    declare(server, "{apiVersion: millrace/v1, kind: Queue, name: theirs, kueue: team-a}\n")
    run = server.submit(pipeline("  one: {run: 'echo $MILLRACE_ATTEMPT; sleep 5', queue: theirs, "
                                 "resources: {gpu: 1}}\n"))
    until("it to run", lambda: server.cli("logs", run, "one").stdout == "1\n")
    stop_policy("HoldAndDrain")
    first = until("its end", lambda: next((a for a in server.get(f"/api/v1/runs/{run}/tasks/one/attempts").json["items"]
                                           if a["state"] == "failed"), None))
    assert (first["reason"], first["message"]) == ("Preempted", "gave way: Kueue has suspended its Job"), first
    until("the next one to say why", lambda: "waits for Kueue: " in server.tasks(run)["one"].get("waitingFor", ""), 20)
    stop_policy("None")
    until("it to run", lambda: server.cli("logs", run, "one").stdout == "2\n")
    server.crash()  # nobody looks as it is taken back again
    stop_policy("HoldAndDrain")
    until("its pod to go", lambda: not jobs.items("pods"))
    server.start()
    until("the next one", lambda: server.tasks(run)["one"]["attempt"] == 3)
    stop_policy("None")
    assert server.ended(run)["state"] == "succeeded"
    task = server.tasks(run)["one"]
    assert task["attempt"] == 3 and not task.get("failures"), task
    gone(jobs)


def test_a_local_queue_that_was_mistyped(cluster_server, jobs, kueue):
    def local_queues():
        return sorted(j["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] for j in jobs.items("jobs"))

    server = cluster_server()
    declare(server, "{apiVersion: millrace/v1, kind: Queue, name: theirs, kueue: team-b}\n")
    run = server.submit(pipeline("  one: {run: 'sleep 4; exit 7', queue: theirs, resources: {gpu: 1}}\n"))
    until("it to say so", lambda: "let the queue name another" in server.tasks(run)["one"].get("waitingFor", ""), 20)
    assert local_queues() == ["team-b"]
    declare(server, "{apiVersion: millrace/v1, kind: Queue, name: theirs, kueue: team-a}\n")
    until("its pod to run", lambda: [p for p in jobs.items("pods") if p["status"]["phase"] == "Running"])
    assert local_queues() == ["team-a"]
    declare(server, "{apiVersion: millrace/v1, kind: Queue, name: theirs, kueue: team-b}\n")  # what runs stays
    server.crash()  # and ends while nobody looks
    until("its pod to end", lambda: [p for p in jobs.items("pods") if p["status"]["phase"] == "Failed"])
    server.start()
    assert server.ended(run)["state"] == "failed"
    task = server.tasks(run)["one"]
    assert (task["attempt"], task["exitCode"]) == (2, 7), task
    gone(jobs)


def test_a_kueue_that_is_not_there(cluster_server, jobs):
    server = cluster_server()
    declare(server, "{apiVersion: millrace/v1, kind: Queue, name: theirs, kueue: team-a}\n")
    run = server.submit(pipeline("  one: {run: 'true', queue: theirs, resources: {gpu: 1}}\n"))
    said = until("it to say so", lambda: (why := server.tasks(run)["one"].get("waitingFor", "")).startswith(
        "waits for Kueue: ") and why, 30)
    assert "this cluster has none" in said or "does it run?" in said, said  # where it was, its resources still are
    assert not jobs.items("pods")
    server.post(f"/api/v1/runs/{run}:cancel")
    assert server.ended(run)["state"] == "cancelled"
    gone(jobs)


def test_a_gang_starts_whole(cluster_server, jobs):
    server = cluster_server()
    one = server.submit(pipeline("  one: {run: 'sleep 8', resources: {gpu: 1}}\n"))
    server.wait_task(one, "one", "running")
    gang = server.submit(pipeline("  gang: {run: 'sleep 2', workers: 4, resources: {gpu: 2}}\n"))
    why = until("the gang to wait", lambda: server.tasks(gang)["gang"].get("waitingFor"))
    until("its numbers", lambda: "room for 3 of its 4 pods" in server.tasks(gang)["gang"].get("waitingFor", why), 20)
    assert not jobs.items("jobs", "-l", f"millrace.dev/run={gang}")
    assert server.ended(one)["state"] == "succeeded"
    server.wait_task(gang, "gang", "running")
    until("all of it", lambda: len(jobs.items("pods", "-l", f"millrace.dev/run={gang}")) == 4)
    assert server.ended(gang)["state"] == "succeeded"
    gone(jobs)


def test_a_victim_that_went_while_nobody_looked(cluster_server, jobs):
    """It gave way, and is not made anew as the same attempt."""
    server = cluster_server("--grace", "5s")
    declare(server)
    low = server.submit(pipeline("  s: {run: 'test $MILLRACE_ATTEMPT = 2 || { trap \"\" TERM; sleep 60; }', "
                                 "resources: {gpu: 2}, queue: research}\n"))
    until("its pod to run", lambda: [p for p in jobs.items("pods") if p["status"]["phase"] == "Running"])
    high = server.submit(pipeline("  s: {run: 'true', resources: {gpu: 2}, queue: research, priority: 9}\n"))
    until("it to stop", lambda: [p for p in jobs.items("pods") if "deletionTimestamp" in p["metadata"]])
    server.crash()
    until("its pod to be gone", lambda: not jobs.items("pods"), 60)
    server.start()
    assert server.ended(high, 120)["state"] == server.ended(low, 120)["state"] == "succeeded"
    first, second = server.get(f"/api/v1/runs/{low}/tasks/0/attempts").json["items"]
    assert first["reason"] == "Preempted" and second["state"] == "succeeded", (first, second)
    gone(jobs)
