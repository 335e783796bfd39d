"""Steps as Jobs: what a run looks like on a real cluster, how each kind of failure is told, and that nothing is lost,
doubled or left behind."""
import json
import re
import time

import pytest
from cluster import job
from harness import until

HELLO = """apiVersion: millrace/v1
kind: Pipeline
name: hello
params: {who: {type: string, default: you}}
steps:
  greet:
    run: "echo hello ${{ params.who }} $(id -u); echo 42 > n.txt"
    outputs: {n: {type: int, path: n.txt}}
  twice:
    script: |
      echo "got $(cat inputs/n) in $PWD"
      test "$(cat "$MILLRACE_INPUT_N")" = 42 && echo 'a $(B) $$ stays'
    inputs: {n: "${{ steps.greet.outputs.n }}"}
outputs: {n: "${{ steps.greet.outputs.n }}"}
"""


def pipeline(steps, name="p", **more):
    extra = "".join(f"{k}: {v}\n" for k, v in more.items())
    return f"apiVersion: millrace/v1\nkind: Pipeline\nname: {name}\n{extra}steps:\n{steps}"


def gone(namespace):
    until("all Jobs and pods to be gone", namespace.empty)


def test_a_run_is_jobs(cluster_server, jobs):
    server = cluster_server()
    run = server.submit(HELLO, params={"who": "there"})
    done = server.ended(run)
    assert done["state"] == "succeeded" and done["outputs"] == {"n": 42}, done
    assert server.cli("logs", run, "greet").stdout.startswith("hello there 0")
    assert server.cli("logs", run, "twice").stdout == "got 42 in /millrace/work\na $(B) $$ stays\n"
    assert server.tasks(run)["greet"]["executor"].startswith(f"kubernetes:{jobs.name}@https://")
    gone(jobs)


def test_kubectl_users_find_their_way(cluster_server, jobs):
    server = cluster_server()
    run = server.submit(pipeline("  Long_Name: {run: 'sleep 30', labels: {team: vision}}\n"))
    server.wait_task(run, "Long_Name", "running")
    pod, = until("its pod", lambda: jobs.items("pods", "-l", f"millrace.dev/run={run},team=vision"))
    assert pod["metadata"]["name"].startswith("long-name-")
    assert pod["metadata"]["annotations"]["millrace.dev/path"] == "Long_Name"
    assert pod["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "millrace"
    assert len(pod["spec"]["containers"]) == 1 and not pod["spec"].get("initContainers")
    server.post(f"/api/v1/runs/{run}:cancel")
    assert server.ended(run)["state"] == "cancelled"
    gone(jobs)


ENDS = {
    "oom": ("run: 'head -c 300m /dev/zero | tail > /dev/null', resources: {memory: 32Mi}", "OutOfMemory",
            "raise resources.memory"),
    "code": ("run: 'echo no such data >&2; exit 3'", "Error", "exited with code 3; its last lines:\nno such data"),
    "wrote": ("run: 'echo 5 > n; echo no such data >&2; exit 3', outputs: {n: {type: int, path: n}}", "Error",
              "exited with code 3; its last lines:\nno such data"),
    "moved": ("run: 'echo 5 > m; mv m n', outputs: {n: {type: int, path: n}}", "Error",
              "'n' is a mount here, and can only be written in place"),
    "command": ("run: [/nope]", "Error", "could not be started; Kubernetes says: StartError"),
    "late": ("run: 'trap \"exit 5\" TERM; sleep 60 & wait', timeout: 2s", "Timeout", "ran longer than its timeout"),
    "noimage": ("run: 'true', image: 'localhost/nothing:9'", "Error", "ErrImage"),
    "noimageintime": ("run: 'true', image: 'localhost/nothing:9', timeout: 3s", "Timeout",
                      "did not begin within its timeout: "),
    "ranks": ("run: 'true', image: 'localhost/nothing:9', workers: 2, timeout: 1s", "Timeout", "did not begin within"),
    "badimage": ("run: 'true', image: 'UPPER/:::'", "Error", "InvalidImageName"),
    "nosecret": ("run: 'true', env: {A: {secret: {kubernetes: none/k}}}", "Error", 'secret "none" not found'),
    "nooutput": ("run: 'true', outputs: {n: {type: int, path: n}}", "OutputMissing", "its output 'n' was not written"),
    "emptyoutput": ("run: 'true', outputs: {n: {type: string, path: n}}", "OutputMissing", "or is empty: an empty"),
    "longoutput": ("run: 'yes | head -c 4096 > n', outputs: {n: {type: string, path: n}}", "OutputMissing",
                   "less than 4096 bytes"),
    "chatty": ("run: 'yes'", "Error", "wrote more than 1Mi to its log"),
    "badoutput": ("run: 'echo x > n', outputs: {n: {type: int, path: n}}", "OutputMissing", "a whole number"),
    "badterms": ("run: 'true', affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: "
                 "{nodeSelectorTerms: []}}}", "Invalid", "its Job was refused; Kubernetes says"),
}


def test_ends_are_told(cluster_server, jobs):
    server = cluster_server("--kube-start", "10s", "--step-log-max", "1Mi")
    run = server.submit(pipeline("".join(f"  {name}: {{{row[0]}}}\n" for name, row in ENDS.items())))
    assert server.ended(run)["state"] == "failed"
    tasks = server.tasks(run)
    for name, (_, reason, message) in ENDS.items():
        assert tasks[name]["state"] == "failed" and tasks[name]["reason"] == reason, (name, tasks[name])
        assert message in tasks[name]["message"], (name, tasks[name])
    assert re.search("ErrImagePull|ImagePullBackOff", tasks["noimageintime"]["message"])
    assert "may be missing" not in server.tail(), server.tail()  # of a log that there never was
    gone(jobs)


def test_waits_are_told_within_seconds(cluster_server, jobs):
    server = cluster_server()
    run = server.submit(pipeline("  cpu: {run: 'true', resources: {cpu: 900}}\n"
                                 "  memory: {run: 'true', resources: {memory: 900Ti}}\n"
                                 "  image: {run: 'true', image: 'localhost/no:1'}\n"
                                 "  secret: {run: 'true', envFrom: [{secret: none}]}\n"
                                 "  config: {run: 'true', envFrom: [{configMap: none}]}\n"
                                 "  ranks: {run: 'true', workers: 2, envFrom: [{secret: none}]}\n"
                                 "  node: {run: 'true', nodeSelector: {disk: none}}\n"))
    said = {"cpu": r"Insufficient cpu.*\(see the step's resources.cpu\)", "memory": "see the step's resources.memory",
            "image": "ErrImagePull|ImagePullBackOff", "node": "didn't match Pod's node",
            "secret": 'secret "none" not found', "config": 'configmap "none" not found'}
    for path, words in said.items():
        until(f"{path} to say why", lambda: re.search(words, server.tasks(run)[path].get("waitingFor", "")), 10)
    server.post(f"/api/v1/runs/{run}:cancel")
    assert server.ended(run)["state"] == "cancelled"
    gone(jobs)
    assert "may be missing" not in server.tail(), server.tail()  # of a log that there never was


def test_a_bound_on_unfinished_jobs(cluster_server, jobs):
    server = cluster_server("--kube-jobs", "2")
    run = server.submit(pipeline("  fan: {foreach: {range: 6}, run: 'sleep 1'}\n"))
    most = 0
    while server.run(run)["state"] not in ("succeeded", "failed"):
        unfinished = [p for p in jobs.items("pods") if p["status"]["phase"] in ("Pending", "Running")
                      and not any("terminated" in c["state"] for c in p["status"].get("containerStatuses", []))]
        most = max(most, len(unfinished))
    assert server.run(run)["state"] == "succeeded" and 1 <= most <= 2
    gone(jobs)


def test_a_killed_server_neither_loses_nor_doubles(cluster_server, jobs, marks):
    server = cluster_server()
    run = server.submit(pipeline(
        "  fan:\n    foreach: {range: 12}\n    parallelism: 6\n"
        f"    volumes: [{{path: /marks, hostPath: {marks}}}]\n"
        "    run: 'echo begun ${{ item }}; echo ${{ item }} >> /marks/${{ item }}; sleep 2; echo ended ${{ item }}'\n"
        "  last: {run: 'true', needs: [fan]}\n"))
    for pause in (0.3, 0.8, 0.1, 1.7, 0.5, 1.1):
        time.sleep(pause)
        server.crash()
        server.start()
    done = server.ended(run, 120)
    assert done["state"] == "succeeded", done
    for i in range(12):
        assert (marks / str(i)).read_text() == f"{i}\n"  # ran once
        task = server.tasks(run)[f"fan[{i}]"]
        assert task["attempt"] == 1 and task["state"] == "succeeded", task
        assert server.cli("logs", run, f"fan[{i}]").stdout == f"begun {i}\nended {i}\n"
    gone(jobs)


def test_a_server_killed_while_it_stops_a_step(cluster_server, jobs):
    server = cluster_server()
    run = server.submit(pipeline("  s: {run: 'trap \"sleep 4; exit 3\" TERM; echo here; sleep 60 & wait'}\n"))
    until("its log", lambda: server.cli("logs", run, "s").stdout == "here\n")
    server.post(f"/api/v1/runs/{run}:cancel")
    server.wait_task(run, "s", "stopping")
    server.crash()
    server.start()
    assert server.ended(run)["state"] == "cancelled"
    gone(jobs)


def test_jobs_of_others_are_left_alone(cluster, cluster_server, jobs):
    """Also while attempts that count no more are swept, and their pods take time to go."""
    jobs.apply(**job(jobs.name, "bystander", "localhost/busybox:1", ["sleep", "300"]))
    server = cluster_server("--takeover", "1s")
    run = server.submit(pipeline("  s: {run: 'trap \"\" TERM; echo here; while true; do sleep 1; done'}\n"))
    until("its log", lambda: server.cli("logs", run, "s").stdout == "here\n")
    server.post(f"/api/v1/runs/{run}:cancel")
    assert server.ended(run)["state"] == "cancelled"
    time.sleep(3)  # some sweeps
    assert [one["metadata"]["name"] for one in jobs.items("jobs")] == ["bystander"]


def test_a_pod_that_went_while_nobody_looked(cluster_server, jobs):
    server = cluster_server()
    run = server.submit(pipeline("  s: {run: 'sleep 5'}\n"))
    pod, = until("its pod to run", lambda: [p for p in jobs.items("pods") if p["status"]["phase"] == "Running"])
    server.crash()
    jobs("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")
    server.start()
    assert server.ended(run, 120)["state"] == "succeeded"
    assert server.tasks(run)["s"]["attempt"] == 2
    gone(jobs)


def test_a_job_that_went_while_nobody_looked(cluster_server, jobs):
    """It has run, and is not made anew as the same attempt."""
    server = cluster_server()
    run = server.submit(pipeline("  s: {run: 'echo here; test $MILLRACE_ATTEMPT = 2 || sleep 60'}\n"))
    until("its log", lambda: server.cli("logs", run, "s").stdout == "here\n")
    server.crash()
    jobs("delete", "jobs", "--all", "--wait")
    until("its pod to be gone", lambda: not jobs.items("pods"), 60)
    server.start()
    assert server.ended(run, 120)["state"] == "succeeded"
    first, second = server.get(f"/api/v1/runs/{run}/tasks/0/attempts").json["items"]
    assert "its Job is not there: it was deleted" in first["message"], first
    assert second["state"] == "succeeded", second
    gone(jobs)


def test_a_job_without_a_pod_says_why(cluster_server, jobs):
    jobs.apply(kind="ResourceQuota", metadata={"name": "none"}, spec={"hard": {"pods": "0"}})
    try:
        server = cluster_server()
        run = server.submit(pipeline("  s: {run: 'true'}\n"))
        until("it to say why", lambda: "exceeded quota" in server.tasks(run)["s"].get("waitingFor", ""), 30)
    finally:
        jobs("delete", "resourcequota", "none")
    assert server.ended(run, 120)["state"] == "succeeded"
    gone(jobs)


def test_another_image_is_another_result(cluster_server, jobs):
    server = cluster_server()
    step = "  s: {run: 'echo x > o', outputs: {o: {type: string, path: o}}, cache: true, image: 'localhost/%s:1'}\n"
    for image, reason in (("busybox", None), ("busybox", "Cached"), ("python", None)):
        run = server.submit(pipeline(step % image))
        assert server.ended(run)["state"] == "succeeded" and server.tasks(run)["s"].get("reason") == reason
    gone(jobs)


def test_what_does_not_reach_a_pod_is_said_at_submission(cluster_server):
    server = cluster_server()
    for step, words in (("workers: 2000", "is not between 1 and 1024"),
                        ("resources: {gpu: {count: 1, flavor: h100}}", "there is no flavor 'h100'"),
                        ("outputs: {m: {artifact: model, path: m}}", "one output, a param"),
                        ("env: {A: {secret: {file: k}}}", "cannot give its secrets")):
        answer = server.post("/api/v1/runs", {"source": pipeline(f"  s: {{run: 'true', {step}}}\n")})
        assert answer.status == 422 and words in json.dumps(answer.json), (step, answer)


def test_what_others_delete_is_run_anew(cluster_server, jobs):
    server = cluster_server()
    step = "{run: 'trap \"exit 9\" TERM; sleep 8 & wait'}"
    run = server.submit(pipeline(f"  job: {step}\n  pod: {step}\n  evicted: {step}\n"))
    pods = until("three pods to run", lambda: len(found := [p for p in jobs.items("pods")
                                                            if p["status"]["phase"] == "Running"]) == 3 and found)
    by_path = {p["metadata"]["annotations"]["millrace.dev/path"]: p["metadata"] for p in pods}
    jobs("delete", "job", by_path["job"]["ownerReferences"][0]["name"], "--wait=false")
    jobs("delete", "pod", by_path["pod"]["name"], "--wait=false", "--grace-period=1")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": by_path["evicted"]["name"],
                                                                           "namespace": jobs.name}}
    path = f"/api/v1/namespaces/{jobs.name}/pods/{by_path['evicted']['name']}/eviction"
    jobs("create", "--raw", path, "-f", "-", given=json.dumps(eviction))
    assert server.ended(run, 120)["state"] == "succeeded", server.tasks(run)
    for path, task in server.tasks(run).items():
        assert task["attempt"] == 2 and task["infrastructureFailures"] == 1 and task.get("failures", 0) == 0, task
    gone(jobs)


def test_a_stopped_step_may_say_goodbye(cluster_server, jobs):
    server = cluster_server()
    run = server.submit(pipeline(
        "  s: {run: 'trap \"echo bye; exit 0\" TERM; echo here; while true; do sleep 0.1; done'}\n"))
    until("its log", lambda: server.cli("logs", run, "s").stdout == "here\n")
    server.post(f"/api/v1/runs/{run}:cancel")
    assert server.ended(run)["state"] == "cancelled"
    assert server.cli("logs", run, "s").stdout == "here\nbye\n"
    gone(jobs)


def test_a_log_is_followed_live(cluster_server, jobs):
    server = cluster_server()
    run = server.submit(pipeline("  s: {run: 'for i in 1 2 3 4 5 6; do echo line $i; sleep 1.5; done'}\n"))
    until("the first line", lambda: "line 1" in server.cli("logs", run, "s").stdout)
    assert server.tasks(run)["s"]["state"] == "running"
    assert server.cli("logs", run, "s", "-f").stdout == "".join(f"line {i}\n" for i in range(1, 7))
    assert server.ended(run)["state"] == "succeeded"
    gone(jobs)


def test_a_log_is_followed_from_its_first_line(cluster_server, jobs):
    server = cluster_server()
    run = server.submit(pipeline("  s: {run: 'echo begun; sleep 6'}\n"))
    until("its first line", lambda: server.get(f"/api/v1/runs/{run}/tasks/s/logs").body == b"begun\n")
    assert server.tasks(run)["s"]["state"] == "running"
    assert server.ended(run)["state"] == "succeeded"
    gone(jobs)


def test_a_short_step_costs_one_request_for_its_log(cluster_server, jobs, proxy):
    """It has ended before it would be followed."""
    server = cluster_server(kubeconfig=proxy.kubeconfig)
    seconds = (0, 0, 0, 0.3)
    run = server.submit(pipeline("".join(
        f"  s{i}: {{run: 'echo begun; sleep {s}; echo ended'}}\n" for i, s in enumerate(seconds))))
    assert server.ended(run)["state"] == "succeeded"
    for i in range(len(seconds)):
        assert server.cli("logs", run, f"s{i}").stdout == "begun\nended\n"
    assert proxy.asked["get", "log"] == len(seconds), proxy.answers
    gone(jobs)


def test_a_log_that_is_too_long_says_so(cluster_server, jobs):
    """Of a step that has ended before its log was followed; others are stopped."""
    server = cluster_server("--step-log-max", "1Mi")
    # In few lines, so that the node has no reason to rotate them.
    run = server.submit(pipeline("  s: {run: 'yes $(seq -s, 1000) | head -c 2000000'}\n"))
    assert server.ended(run)["state"] == "succeeded"
    log = server.cli("logs", run, "s").stdout
    line = ",".join(map(str, range(1, 1001))) + "\n"
    assert log.startswith(line * (1000000 // len(line))) and log.endswith(
        "\nmillrace: the log is cut here: it is longer than 1Mi, the server's step-log-max\n")
    gone(jobs)


def test_a_log_is_whole_that_its_node_rotates(cluster_server, jobs):
    """At 10 MiB of the node's own format, for which it looks every ten seconds. It tells only what came after that."""
    followed, killed = cluster_server(), cluster_server()
    burst = followed.submit(pipeline("  s: {run: 'sleep 8; seq 100000 399999; sleep 22; seq 400000 409999'}\n"))
    steady = killed.submit(pipeline("  s: {run: 'sleep 8; for i in $(seq 10 50); do seq ${i}0000 ${i}9999; sleep 0.5; "
                                    "done; for i in $(seq 510000 510059); do echo $i; sleep 0.5; done'}\n"))
    # By then it has been rotated, and what its node tells overlaps with what is kept.
    until("it to be kept", lambda: "510039\n" in killed.cli("logs", steady, "s").stdout, 90)
    killed.crash()
    killed.start()
    for server, run, end in ((followed, burst, 410000), (killed, steady, 510060)):
        assert server.ended(run, 120)["state"] == "succeeded"
        lines = server.cli("logs", run, "s").stdout.split()
        assert (lines[0], lines[-1], len(lines)) == ("100000", str(end - 1), end - 100000), server.tail()
        assert lines == [str(n) for n in range(100000, end)]
    gone(jobs)


def test_secrets_of_the_cluster_reach_steps(cluster_server, jobs):
    jobs.apply(kind="Secret", metadata={"name": "tokens"}, stringData={"hub": "opensesame"})
    server = cluster_server()
    run = server.submit(pipeline("  s: {run: 'echo ${#HUB}', env: {HUB: {secret: {kubernetes: tokens/hub}}}}\n"))
    assert server.ended(run)["state"] == "succeeded"
    assert server.cli("logs", run, "s").stdout == "10\n"
    jobs("delete", "secret", "tokens")
    gone(jobs)


def test_quota_is_a_wait(cluster_server, jobs):
    jobs.apply(kind="ResourceQuota", metadata={"name": "few"}, spec={"hard": {"count/jobs.batch": "1"}})
    try:
        server = cluster_server()
        run = server.submit(pipeline("  a: {run: 'sleep 3'}\n  b: {run: 'sleep 3'}\n"))
        until("one to wait for quota", lambda: any("exceeded quota" in t.get("waitingFor", "")
                                                   for t in server.tasks(run).values()), 20)
        assert server.ended(run)["state"] == "succeeded"
        run = server.submit(pipeline("  a: {run: 'sleep 30'}\n  b: {run: 'sleep 30'}\n"))
        until("one to wait again", lambda: any("exceeded quota" in t.get("waitingFor", "")
                                               for t in server.tasks(run).values()), 20)
        server.post(f"/api/v1/runs/{run}:cancel")
        assert server.ended(run)["state"] == "cancelled"
    finally:
        jobs("delete", "resourcequota", "few")
    gone(jobs)


@pytest.mark.alone
def test_the_api_server_may_be_away(cluster, cluster_server, jobs):
    """Steps go on and end meanwhile; others wait, and say for what."""
    if cluster.kind != "own":
        pytest.skip("this cluster's API server is not ours to kill")
    server = cluster_server()
    run = server.submit(pipeline("  runs: {run: 'sleep 4; echo done'}\n  after: {run: 'true', needs: [runs]}\n"))
    until("the step to run", lambda: "Running" in [p["status"]["phase"] for p in jobs.items("pods")])
    cluster.stop("apiserver")
    other = server.submit(pipeline("  s: {run: 'true'}\n"))
    until("the other to say why it waits",
          lambda: "API server" in server.tasks(other)["s"].get("waitingFor", ""), 30)
    time.sleep(5)
    cluster.bring_up()
    for number in (run, other):
        assert server.ended(number, 120)["state"] == "succeeded", server.tasks(number)
        assert all(task["attempt"] == 1 for task in server.tasks(number).values())
    assert server.cli("logs", run, "runs").stdout == "done\n"
    gone(jobs)


@pytest.mark.alone
def test_the_kubelet_may_be_killed(cluster, cluster_server, jobs, marks):
    if cluster.kind != "own":
        pytest.skip("this cluster's kubelet is not ours to kill")
    server = cluster_server()
    run = server.submit(pipeline(f"  s:\n    volumes: [{{path: /marks, hostPath: {marks}}}]\n"
                                 "    run: 'echo x >> /marks/s; sleep 6; echo done'\n"))
    until("the step to run", lambda: (marks / "s").exists())
    cluster.stop("kubelet")
    time.sleep(3)
    cluster.bring_up()
    assert server.ended(run, 120)["state"] == "succeeded", server.tasks(run)
    assert (marks / "s").read_text() == "x\n" and server.tasks(run)["s"]["attempt"] == 1
    assert server.cli("logs", run, "s").stdout == "done\n"
    gone(jobs)


def test_memory_grows_after_an_oom(cluster_server, jobs):
    """Killed at the first attempt, done at the second, whose container has what the record says."""
    server = cluster_server()
    run = server.submit(pipeline(
        "  grows:\n    run: 'cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; "
        "head -c 48m /dev/zero | tail > /dev/null'\n"
        "    resources: {memory: 24Mi}\n    retry: {limit: 3, backoff: 10ms, memory: {factor: 10, max: 160Mi}}\n"))
    assert server.ended(run)["state"] == "succeeded", server.tasks(run)
    asked = [(a.get("reason"), a["memoryBytes"] >> 20)
             for a in server.get(f"/api/v1/runs/{run}/tasks/grows/attempts").json["items"]]
    assert asked == [("OutOfMemory", 24), (None, 160)], asked
    assert server.cli("logs", run, "grows").stdout == f"{160 << 20}\n"
    gone(jobs)
