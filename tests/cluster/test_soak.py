"""Hundreds of faults between server and API server, and a server that is killed in between: no step is lost, none is
done twice, nothing is left behind. MILLRACE_FAULTS (200) says how many there are to be at least, MILLRACE_FAULTS_SEED
(1) which."""
import os
import time

import pytest
from cluster import Pods
from fault_proxy import CLASSES
from harness import until

pytestmark = pytest.mark.alone

FAULTS = int(os.environ.get("MILLRACE_FAULTS", 200))
SEED = int(os.environ.get("MILLRACE_FAULTS_SEED", 1))
PATIENCE = 180

# Each step marks its beginning and its end in a file of its attempt, each of several workers in one of its own.
MARK = "/marks/$MILLRACE_RUN.$MILLRACE_PATH.$MILLRACE_ATTEMPT${RANK:+.$RANK}"
BEGIN = f"echo begun >> {MARK}"
END = f"echo ended >> {MARK}"


def step(name, does, marks, more=""):
    return (f"  {name}:\n    volumes: [{{path: /marks, hostPath: {marks}}}]\n"
            f"    run: |\n      {BEGIN}\n      {does}\n      code=$?; {END}; exit $code\n" + more)


def chain(marks):
    number = "    outputs: {n: {type: int, path: n}}\n"
    steps = step("a", "echo one; echo 1 > n", marks, number)
    for before, name in ("ab", "bc"):
        steps += step(name, f"sleep 1; n=${{{{ steps.{before}.outputs.n }}}}; echo $((n + 1)) | tee n", marks, number)
    return steps + 'outputs: {n: "${{ steps.c.outputs.n }}"}\n'


def fan(marks):
    return step("f", "echo item ${{ item }}; sleep 2; echo over ${{ item }}", marks, "    foreach: {range: 4}\n") + \
        step("last", "true", marks, "    needs: [f]\n")


def flaky(marks):
    return step("s", "echo try $MILLRACE_ATTEMPT; test $MILLRACE_ATTEMPT = 3", marks,
                "    retry: {limit: 3, backoff: 200ms}\n")


def fails(marks):
    return step("s", "seq 3000; sleep 2; seq 3001 6000; false", marks)


def stopped(marks):
    return step("s", "sleep 300", marks)


def data(marks):
    """Init containers and sidecars move it, past a server that is killed meanwhile."""
    return step("make", "head -c 2000000 /dev/zero > big; mkdir d; echo deep > d/e; echo made", marks,
                "    outputs: {big: {artifact: model, path: big}, d: {artifact: dataset, path: d}}\n") + \
        step("use", "wc -c < inputs/big; cat inputs/d/e", marks,
             '    inputs: {big: "${{ steps.make.outputs.big }}", d: "${{ steps.make.outputs.d }}"}\n')


def gang(marks):
    return step("g", "echo rank $RANK of $WORLD_SIZE; sleep 1", marks, "    workers: 2\n")


NUMBERS = "".join(f"{i}\n" for i in range(1, 6001))
FAN = {f"f[{i}]": (1, f"item {i}\nover {i}\n") for i in range(4)}
# name → its pipeline, how the run ends, and of each task the attempts and the last one's log
FORMS = {
    "chain": (chain, "succeeded", {"a": (1, "one\n"), "b": (1, "2\n"), "c": (1, "3\n")}),
    "fan": (fan, "succeeded", {**FAN, "last": (1, "")}),
    "flaky": (flaky, "succeeded", {"s": (3, "try 3\n")}),
    "fails": (fails, "failed", {"s": (1, NUMBERS)}),
    "data": (data, "succeeded", {"make": (1, "made\n"), "use": (1, "2000000\ndeep\n")}),
    "gang": (gang, "succeeded", {"g": (1, "rank 0 of 2\n[rank 1] rank 1 of 2\n")}),
    "stopped": (stopped, "cancelled", {"s": (1, None)}),
}


def wave(server, marks):
    """Starts a run of each form."""
    return {server.submit(f"apiVersion: millrace/v1\nkind: Pipeline\nname: {name}\nsteps:\n{form[0](marks)}"): name
            for name, form in FORMS.items()}


def stop(server, runs):
    for run, name in runs.items():
        if name == "stopped" and server.run(run)["state"] not in ("succeeded", "failed", "cancelled"):
            server.post(f"/api/v1/runs/{run}:cancel")


def check(server, run, name, marks, pods):
    _, state, tasks = FORMS[name]
    found, shown = server.run(run), server.tasks(run)
    assert found["state"] == state, (found, shown)
    for path, (attempts, log) in tasks.items():
        task = shown[path]
        told = (name, task, server.get(f"/api/v1/runs/{run}/tasks/{task['task']}/attempts").json)
        if name != "stopped":
            assert task["attempt"] == attempts and not task.get("infrastructureFailures"), told
            assert server.cli("logs", run, path).stdout == log, told
        for attempt in range(1, task.get("attempt", 0) + 1):
            uids = pods.seen.get((int(run), task["task"], attempt), set())
            files = [f"{run}.{path}.{attempt}{rank}" for rank in ((".0", ".1") if name == "gang" else ("",))]
            marked = [mark.read_text() if (mark := marks / file).exists() else "" for file in files]
            may = {"begun\nended\n"} if log is not None else {"", "begun\n"}
            assert len(uids) <= len(files) and set(marked) <= may, (told, uids, marked)
    if name == "chain":
        assert found["outputs"] == {"n": 3}, found


def test_hundreds_of_faults(cluster, data_server, jobs, proxy, marks):
    kinds = {kind for all_of in CLASSES.values() for kind in all_of}
    proxy.seed, proxy.rate = SEED, 0.5
    pods = Pods(cluster, jobs.name)
    server = data_server("--kube-silence", "3s", "--kube-requests", "200", kubeconfig=proxy.kubeconfig)
    runs = {}
    try:
        while len(proxy.done) < FAULTS or kinds - set(proxy.counts()):
            assert len(runs) < FAULTS, ("too few faults", proxy.by_class(), kinds - set(proxy.counts()))
            more = wave(server, marks)
            runs |= more
            time.sleep(4)
            stop(server, more)
            server.crash()
            server.start()
        print("faults:", len(proxy.done), proxy.counts(), "runs", len(runs), "Jobs", sum(proxy.created.values()))
        proxy.well()
        for run in runs:
            server.ended(run, PATIENCE)
        until("all Jobs and pods to be gone", jobs.empty, 60)
        assert max(proxy.created.values()) == 1
        for run, name in runs.items():
            check(server, run, name, marks, pods)
    finally:
        pods.close()
