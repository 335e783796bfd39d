"""Steps with several workers on a real cluster: ranks that find each other, one that dies, servers that are killed."""
import re
import time

from harness import until
from test_jobs import pipeline

MEET = """  meet:
    workers: 4
    image: localhost/python:1
    script: |
      import os, socket, sys, time
      rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
      master = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
      def line(s): return s.makefile().readline().strip()
      if rank == 0:
          server = socket.create_server(("", master[1]))
          peers = [server.accept()[0] for _ in range(size - 1)]
          met = sorted(line(p) for p in peers)
          for p in peers: p.sendall(b"go\\n")
          print("met", *met)
          open("met.txt", "w").write(" ".join(met))
      else:
          for _ in range(600):
              try: s = socket.create_connection(master, 5); break
              except OSError: time.sleep(0.1)
          s.sendall(f"{rank} {os.environ['PET_NODE_RANK']}/{os.environ['PET_NNODES']}\\n".encode())
          print("told to", line(s), flush=True)
          sys.stdout.write("no line break")
    interpreter: [python3]
    outputs: {met: {type: string, path: met.txt}}
"""


def services(jobs):
    return jobs.items("services")


def test_ranks_find_each_other(cluster_server, jobs):
    server = cluster_server()
    run = server.submit(pipeline(MEET, outputs='{met: "${{ steps.meet.outputs.met }}"}'))
    until("its Service", lambda: services(jobs))
    done = server.ended(run)
    assert done["state"] == "succeeded" and done["outputs"] == {"met": "1 1/4 2 2/4 3 3/4"}, (done, server.tasks(run))
    assert server.cli("logs", run, "meet").stdout == "met 1 1/4 2 2/4 3 3/4\n" + "".join(
        f"[rank {i}] told to go\n[rank {i}] no line break" + ("\n" if i < 3 else "") for i in (1, 2, 3))
    until("all of it to be gone", lambda: jobs.empty() and not services(jobs))


def test_one_rank_that_dies_ends_all(cluster_server, jobs, marks):
    """And the next attempt begins when the last of them has ended."""
    server = cluster_server()
    now = f"cat /proc/uptime >{marks}"
    run = server.submit(pipeline(
        "  a:\n    workers: 3\n    retry: {limit: 1, backoff: 10ms}\n    outputs: {n: int}\n"
        f"    volumes: [{{path: {marks}, hostPath: {marks}}}]\n"
        "    run: 'echo 5 > outputs/n; echo rank $RANK of attempt $MILLRACE_ATTEMPT;"
        f" test $MILLRACE_ATTEMPT = 2 && {now}/second.$RANK && exit 0;"
        f" trap \"sleep 3; {now}/first.$RANK; exit 9\" TERM;"
        " test $RANK = 2 && sleep 1 && exit 7; sleep 600 & wait'\n"))
    assert server.ended(run)["state"] == "succeeded", server.tasks(run)
    first, second = server.get(f"/api/v1/runs/{run}/tasks/a/attempts").json["items"]
    assert (first["reason"], first["exitCode"]) == ("Error", 7)
    assert first["message"] == "rank 2: exited with code 7; its last lines:\n[rank 2] rank 2 of attempt 1", first
    log = server.get(f"/api/v1/runs/{run}/tasks/a/logs?attempt=1").body.decode()
    assert log.startswith("rank 0 of attempt 1\n") and "[rank 2] rank 2 of attempt 1\n" in log, log
    assert second["state"] == "succeeded"
    at = {mark.name: float(mark.read_text().split()[0]) for mark in marks.iterdir()}
    assert sorted(at) == ["first.0", "first.1", "second.0", "second.1", "second.2"]
    assert max(at["first.0"], at["first.1"]) <= min(at[f"second.{rank}"] for rank in range(3)), at
    until("all of it to be gone", lambda: jobs.empty() and not services(jobs))


def test_outputs_of_several_workers_are_rank_0s(data_server, jobs):
    server = data_server()
    run = server.submit(pipeline(
        "  a: {workers: 2, run: 'cat inputs/word; test $RANK = 1 || echo $RANK > n; echo $RANK > f', "
        "inputs: {word: '${{ run.pipeline }}'}, "
        "outputs: {n: {type: int, path: n}, f: {artifact: text, path: f}}}\n"
        "  b: {run: 'cat inputs/f', inputs: {f: '${{ steps.a.outputs.f }}', n: '${{ steps.a.outputs.n }}'}}\n"))
    assert server.ended(run)["state"] == "succeeded", server.tasks(run)
    assert server.cli("logs", run, "b").stdout == "0\n"
    until("all of it to be gone", lambda: jobs.empty() and not services(jobs))


def test_a_killed_server_loses_no_rank(cluster_server, jobs):
    server = cluster_server()
    run = server.submit(pipeline(
        "  a: {workers: 3, run: 'for i in 1 2 3 4 5 6; do echo $RANK: $i; sleep 1; done'}\n"
        "  b: {needs: a, workers: 2, run: 'true'}\n"))
    for pause in (0.2, 1.5, 0.8, 2, 1.2, 0.7):
        time.sleep(pause)
        server.crash()
        server.start()
    assert server.ended(run)["state"] == "succeeded", server.tasks(run)
    assert server.tasks(run)["a"]["attempt"] == 1
    steps = range(1, 7)
    assert server.cli("logs", run, "a").stdout == "".join(f"0: {i}\n" for i in steps) + "".join(
        f"[rank {rank}] {rank}: {i}\n" for rank in (1, 2) for i in steps)
    until("all of it to be gone", lambda: jobs.empty() and not services(jobs))


def test_cancelled_and_waiting_ranks(cluster_server, jobs):
    server = cluster_server()
    run = server.submit(pipeline(
        "  runs: {workers: 2, run: 'trap \"exit 0\" TERM; sleep 600 & wait'}\n"
        "  waits: {workers: 3, run: 'true', nodeSelector: {such: none}}\n"
        "  gone: {workers: 2, run: 'sleep 600', retry: 0}\n"))
    until("one that has no node to say so", lambda: re.search(
        r"rank \d: Unschedulable: ", server.tasks(run)["waits"].get("waitingFor", "")), 20)
    found = until("both pods of one", lambda: len(p := jobs.items(
        "pods", "-l", "app.kubernetes.io/component=gone", "--field-selector", "status.phase=Running")) == 2 and p)
    jobs("delete", "pod", found[1]["metadata"]["name"], "--grace-period=0", "--force")
    until("another attempt", lambda: server.tasks(run)["gone"]["attempt"] == 2)
    assert server.get(f"/api/v1/runs/{run}/tasks/gone/attempts").json["items"][0]["reason"] == "Infrastructure"
    server.post(f"/api/v1/runs/{run}:cancel")
    assert server.ended(run)["state"] == "cancelled"
    until("all of it to be gone", lambda: jobs.empty() and not services(jobs))


def test_a_step_that_was_stopped_late_is_late_for_the_next_server(data_server, jobs, marks):
    """Its server dies when it has told the first rank: others end by themselves then, as if of their own."""
    server = data_server("--grace", "1s")
    wait = f"until test -e {marks}/go; do sleep 0.1; done"
    run = server.submit(pipeline(
        "  a:\n    workers: 2\n    timeout: 3s\n    outputs: {m: {artifact: model, path: m}}\n"
        f"    volumes: [{{path: {marks}, hostPath: {marks}}}]\n"
        f"    run: 'echo begun; test $RANK = 0 && trap \"\" TERM && while :; do sleep 0.1; done; {wait}; exit 5'\n"))

    def running():
        pods = jobs.items("pods")
        return len(pods) == 2 and all("running" in c["state"] for p in pods
                                      for c in p["status"].get("containerStatuses", [{"state": {}}]))

    until("both to run", running)
    server.crash()
    server.process = None
    time.sleep(4)  # what its timeout is; nobody is there to see to it
    first, = [p["metadata"]["name"] for p in jobs.items("pods")
              if p["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] == "0"]
    jobs("delete", "pod", first, "--grace-period=20", "--wait=false")
    (marks / "go").touch()
    until("the other one to end", lambda: [p for p in jobs.items("pods") for c in p["status"]["containerStatuses"]
                                           if "terminated" in c["state"]])
    server.start()
    assert server.ended(run)["state"] == "failed"
    assert server.tasks(run)["a"]["reason"] == "Timeout", server.tasks(run)


def test_a_quota_of_services_is_a_wait(cluster_server, jobs):
    jobs.apply(kind="ResourceQuota", metadata={"name": "few"}, spec={"hard": {"count/services": "1"}})
    try:
        server = cluster_server()
        runs = [server.submit(pipeline(f"  s: {{run: 'sleep {seconds}', workers: 2}}\n")) for seconds in (8, 15)]
        until("one to wait", lambda: any("waits for quota; Kubernetes says: " in server.tasks(run)["s"].get(
            "waitingFor", "") for run in runs))
        for run in runs:
            assert server.ended(run)["state"] == "succeeded"
            assert server.tasks(run)["s"]["attempt"] == 1
    finally:
        jobs("delete", "resourcequota", "few")
    until("all of it to be gone", lambda: jobs.empty() and not services(jobs))



def test_time_counts_when_rank_0_is_done(data_server, jobs):
    server = data_server("--grace", "1s")
    run = server.submit(pipeline(
        "  w:\n    workers: 2\n    timeout: 3s\n    outputs: {x: int, y: int}\n"
        "    run: '[ $RANK = 0 ] || sleep 2000; mkdir -p outputs; echo 1 > outputs/x; echo 1 > outputs/y'\n"))
    assert server.ended(run, 30)["state"] == "failed"
    assert server.tasks(run)["w"]["reason"] == "Timeout", server.tasks(run)
