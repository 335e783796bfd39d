"""The queue on a machine with GPUs and no cluster: quotas, priorities and gangs as on one, flavors by what the driver
says of the GPUs, each step its own whatever is killed. The GPUs are played by tests/nvml."""
import collections
import json
import re
import subprocess

import pytest
from harness import BIN, Server, until
from test_cli import pipeline
from test_cli_live import environment
from test_gpus import FAKE, FOUR, hold, machine, own_database  # noqa: F401  (fixtures)
from test_restart import lines, notes
from test_takeover import SHARDS, owned

TWO = "".join(f"gpu GPU-{i} 40960 NVIDIA A100-SXM4-40GB\n" for i in range(2))
PARTS = ("gpu GPU-0 81559 NVIDIA H100 80GB HBM3\nmig MIG-a 9984 1g.10gb\nmig MIG-b 9984 1g.10gb\n"
         "gpu GPU-1 81559 NVIDIA H100 80GB HBM3\n")
A100 = "{apiVersion: millrace/v1, kind: Flavor, name: a100, resource: nvidia.com/gpu, " \
       "nodes: {nvidia.com/gpu.product: NVIDIA-A100-SXM4-40GB}}\n"


def queue(name, rest=""):
    return f"---\n{{apiVersion: millrace/v1, kind: Queue, name: {name}{rest}}}\n"


def declare(server, text):
    file = server.home / "queues.yaml"
    file.write_text(text)
    server.cli("queue", "apply", str(file))


def holding(folder, rest="queue: research", asks="gpu: 1", until_there="go"):
    """A step that has its GPU until the file is there."""
    return f"{hold(folder, f'until test -e {folder}/{until_there}; do sleep 0.02; done', asks)}, {rest}"


def fan(n, step):
    return f"fan: {{foreach: {{range: {n}}}, {step}}}"


def waiting(server, run):
    return {p: t["waitingFor"] for p, t in server.tasks(run).items() if t.get("waitingFor")}


def running(server, *runs):
    return [p for run in runs for p, t in server.tasks(run).items() if t["state"] == "running" and p != "fan"]


def node(server):
    items = json.loads(server.cli("gpus", "-o", "json").stdout)["items"]
    return items[0] if items else {"gpus": [], "steps": []}


def refused(server, asks):
    said = server.post("/api/v1/runs", {"source": pipeline(f"a: {{run: 'true', {asks}}}")})
    return json.dumps(said.json, ensure_ascii=False) if said.status == 422 else f"{said}"


def known(server):
    """Its placer has seen the machine."""
    until("the machine to be seen", lambda: node(server)["gpus"])


def test_six_steps_on_two_gpus(machine):
    server = machine(TWO)
    folder = notes(server)
    declare(server, A100 + queue("research", ", quota: {a100: 2}"))
    run = server.submit(pipeline(fan(6, holding(folder))))
    until("two to run", lambda: len(lines(folder / "used")) == 2)

    def told():
        why = [w for p, w in waiting(server, run).items() if p.startswith("fan[")]
        return len(why) == 4 and all("needs 1 × a100" in w for w in why) and \
            {re.search(r"; position (\d) of 4$", w)[1] for w in why} == set("1234")

    until("the others to say why, and their places", told)
    said = server.home / "said"
    with open(said, "wb") as out:
        watcher = subprocess.Popen([BIN, "watch", str(run)], env=environment(server), stdout=out)
    until("a watcher to say so where there is no terminal", lambda: "pending  needs 1 × a100" in said.read_text())
    assert len(running(server, run)) == 2 and sorted(lines(folder / "used")) == ["GPU-0", "GPU-1"]
    until("gpus to show them", lambda: node(server)["gpus"] == [
        {"flavor": "a100", "resource": "nvidia.com/gpu", "total": 2, "used": 2, "others": 0}])
    assert [s["path"].split("[")[0] for s in node(server)["steps"]] == ["fan", "fan"]
    shown, = [q for q in json.loads(server.cli("queue", "-o", "json").stdout) if q["name"] == "research"]
    assert (shown["running"], shown["waiting"]) == (2, 4) and {"of": "a100", "used": 2, "nominal": 2} in shown["use"]
    declare(server, queue("research", ", quota: {cpu: 8}"))
    assert "a100 2/0" in server.cli("queue").stdout  # in use, and not offered any more
    declare(server, queue("research", ", quota: {a100: 2}"))
    (folder / "go").touch()
    assert server.ended(run)["state"] == "succeeded"
    assert len(lines(folder / "used")) == 6
    assert watcher.wait(60) == 0
    until("nobody to be in the queue", lambda: node(server)["gpus"][0]["used"] == 0 and not node(server)["steps"])


@pytest.mark.parametrize("end", ["exit 0", "exit 1", "true"])
def test_the_more_important_goes_first(machine, end):
    """Whether its victim ends well when it is told to stop, badly, or not at all."""
    server = machine(TWO, "--grace", "1s")
    folder = notes(server)
    declare(server, A100 + queue("research", ", quota: {a100: 2}, preemption: {within: lower}"))
    line = (f'trap "echo told >> {folder}/told; {end}" TERM; echo $CUDA_VISIBLE_DEVICES >> {folder}/low; '
            f'until test -e {folder}/go; do sleep 0.02; done')
    low = server.submit(pipeline(f"low: {{run: '{line}', queue: research, priority: -5, "
                                 "resources: {cpu: 10m, memory: 32Mi, gpu: 2}}"))
    until("it to run", lambda: lines(folder / "low"))
    high = server.submit(pipeline("high: {" + holding(folder, "queue: research, priority: 5") + "}"))
    until("the other one in its place", lambda: lines(folder / "used"))
    why = until("the victim to say why it waits", lambda: waiting(server, low).get("low"))
    assert "position 1 of 1" in why, why
    (folder / "go").touch()
    assert server.ended(high)["state"] == "succeeded" and server.ended(low)["state"] == "succeeded"
    task = server.tasks(low)["low"]
    assert task["attempt"] == 2 and not task.get("failures") and not task.get("infrastructureFailures"), task
    first = server.get(f"/api/v1/runs/{low}/tasks/low/attempts").json["items"][0]
    assert first["message"] == f"gave way to run {high} high", first
    assert lines(folder / "told") == ["told"]
    assert server.tasks(high)["high"]["attempt"] == 1 and len(lines(folder / "low")) == 2


def test_who_gives_way_keeps_its_gpus_until_all_of_it_is_gone(machine):
    """What its shell started saves what it has, and only then the other one starts."""
    server = machine(TWO, "--grace", "60s")
    folder = notes(server)
    declare(server, A100 + queue("research", ", quota: {a100: 2}, preemption: {within: lower}"))
    (folder / "train").write_text(f"trap 'until test -e {folder}/seen; do sleep 0.05; done; "
                                  f"echo saved >> {folder}/used; exit 1' TERM\ntouch {folder}/low\n"
                                  f"until test -e {folder}/go; do sleep 0.05; done\n")
    low = server.submit(pipeline(f"low: {{run: 'sh {folder}/train && true', queue: research, priority: -5, "
                                 "resources: {cpu: 10m, memory: 32Mi, gpu: 2}}"))
    until("it to run", (folder / "low").exists)
    high = server.submit(pipeline("high: {" + holding(folder, "queue: research, priority: 5") + "}"))
    until("it to say so", lambda: server.tasks(low)["low"].get("waitingFor") ==
          f"gives way to run {high} high: it was told to stop")
    (folder / "seen").touch()
    until("the other one in its place", lambda: lines(folder / "used")[1:])
    assert lines(folder / "used")[0] == "saved"
    (folder / "go").touch()
    assert server.ended(high)["state"] == "succeeded" and server.ended(low)["state"] == "succeeded"
    assert server.tasks(low)["low"]["attempt"] == 2


def test_a_queue_has_less_than_the_machine(machine):
    """Each stays within its quota; one borrows what the other of its cohort leaves, and gives it back."""
    server = machine(FOUR.replace("15360 Tesla T4", "40960 NVIDIA A100-SXM4-40GB"))
    folder = notes(server)
    declare(server, A100 + queue("research", ", quota: {a100: 1}") +
            queue("lender", ", cohort: lab, quota: {a100: 2}, preemption: {reclaim: any}") +
            queue("borrower", ", cohort: lab, quota: {a100: 1}"))
    one = server.submit(pipeline(fan(3, holding(folder))))
    wide = server.submit(pipeline(fan(4, holding(folder, "queue: borrower"))))
    until("one and three to run", lambda: len(running(server, one)) == 1 and len(running(server, wide)) == 3)
    until("the others to say why", lambda: "research" in str(waiting(server, one)) and
          "borrower" in str(waiting(server, wide)))
    mine = server.submit(pipeline(fan(2, f"run: 'sleep 0.2; echo x >> {folder}/mine', queue: lender, "
                                         "resources: {cpu: 10m, gpu: 1}")))
    assert server.ended(mine)["state"] == "succeeded"  # while nobody else ends
    assert len(running(server, one)) == 1 and len(lines(folder / "mine")) == 2
    server.post(f"/api/v1/runs/{wide}:cancel", {})
    assert server.ended(wide)["state"] == "cancelled"


def test_a_gang_starts_whole(machine):
    """Who needs all of them is not overtaken by those who need one, but by those who are over before it is its turn."""
    server = machine(TWO)
    folder = notes(server)
    declare(server, A100 + queue("research"))
    first = server.submit(pipeline("a: {" + holding(folder, "queue: research, timeout: 1h") + "}"))
    until("it to run", lambda: lines(folder / "used"))
    gang = server.submit(pipeline("both: {" + holding(folder, asks="gpu: 2", until_there="all") + "}"))
    until("it to say why", lambda: "2 × a100" in str(waiting(server, gang)))
    later = server.submit(pipeline("b: {" + holding(folder) + "}"))
    until("the later one to wait, too", lambda: "position 2 of 2" in str(waiting(server, later)))
    short = server.submit(pipeline("c: {run: 'true', queue: research, resources: {cpu: 10m, gpu: 1}, timeout: 1m}"))
    assert server.ended(short)["state"] == "succeeded"
    assert len(lines(folder / "used")) == 1  # though one is free
    (folder / "go").touch()
    until("the gang to run", lambda: lines(folder / "used")[1:] == ["GPU-0,GPU-1"])
    assert server.run(later)["state"] == "running"
    (folder / "all").touch()
    assert [server.ended(r)["state"] for r in (first, gang, later)] == ["succeeded"] * 3


def test_parts_by_mig_are_a_flavor(machine):
    server = machine(PARTS)
    folder = notes(server)
    declare(server, "{apiVersion: millrace/v1, kind: Flavor, name: small, resource: nvidia.com/mig-1g.10gb}\n"
            "---\n{apiVersion: millrace/v1, kind: Flavor, name: big, resource: nvidia.com/gpu, "
            "nodes: {nvidia.com/gpu.memory: '81559'}}\n" + queue("research", ", quota: {small: 2, big: unlimited}"))
    run = server.submit(pipeline(fan(3, holding(folder, asks="gpu: {flavor: small}")),
                                 "whole: {needs: [], " + holding(folder, asks="gpu: {flavor: big}") + "}"))
    until("three to run", lambda: sorted(lines(folder / "used")) == ["GPU-1", "MIG-a", "MIG-b"])
    until("the third to say why", lambda: "needs 1 × small" in str(waiting(server, run)))
    (folder / "go").touch()
    assert server.ended(run)["state"] == "succeeded"
    used = collections.Counter(lines(folder / "used"))
    assert used["GPU-1"] == 1 and used["MIG-a"] + used["MIG-b"] == 3
    known(server)
    assert "needs 2 × big" in refused(server, "queue: research, resources: {gpu: {count: 2, flavor: big}}")


def test_shares_share_one(machine):
    server = machine(TWO)
    folder = notes(server)
    declare(server, A100.replace("resource: nvidia.com/gpu,", "resource: nvidia.com/gpu.shared, shared: 4,") +
            queue("research", ", quota: {a100: 1.5}"))
    say = f"echo $MILLRACE_STEP $CUDA_VISIBLE_DEVICES >> {folder}/used; until test -e {folder}/go; do sleep 0.02; done"
    run = server.submit(pipeline(*(
        f"{name}: {{run: '{say}', needs: [], queue: research, resources: {{cpu: 10m, gpu: {{share: {share}%}}}}}}"
        for name, share in (("x", 50), ("y", 50), ("z", 50), ("w", 25)))))
    until("three to run", lambda: len(lines(folder / "used")) == 6)
    until("the fourth to say why", lambda: "research" in str(waiting(server, run)))
    used = dict(line.split() for line in (folder / "used").read_text().splitlines())
    assert len(used) == 3 and sorted(collections.Counter(used.values()).values()) == [1, 2], used
    (folder / "go").touch()
    assert server.ended(run)["state"] == "succeeded"


@pytest.mark.parametrize("victim", ["server", "both"])
def test_kills_keep_them_apart(machine, database, victim):
    """Over and over, while steps wait in the queue, begin and end."""
    server = machine(TWO, "--database-url", database.url)
    folder = notes(server)
    declare(server, A100 + queue("research", ", quota: {a100: 2}"))
    run = server.submit(pipeline(fan(16, f"{hold(folder, 'sleep 0.3')}, queue: research")))
    for kills in range(1, 6):
        until("more to begin", lambda: len(lines(folder / "used")) >= 2 * kills)
        if victim == "both":
            database.crash()
        server.crash()
        if victim == "both":
            database.start()
        server.start()
    assert server.ended(run)["state"] == "succeeded", server.tasks(run)
    assert all(t["attempt"] == 1 for p, t in server.tasks(run).items() if "[" in p)
    used = collections.Counter(lines(folder / "used"))
    assert sum(used.values()) == 16 and set(used) == {"GPU-0", "GPU-1"}


def test_cores_have_a_quota_too(machine):
    """Of steps that name a queue; others are none of its business."""
    server = machine(TWO)
    folder = notes(server)
    declare(server, queue("cores", ", quota: {cpu: 0.5}"))
    wait = f"echo x >> {folder}/began; until test -e {folder}/go; do sleep 0.02; done"
    run = server.submit(pipeline(fan(3, f"run: '{wait}', queue: cores, resources: {{cpu: 0.2}}")))
    until("two to run", lambda: len(lines(folder / "began")) == 2)
    until("the third to say why", lambda: "queue cores" in str(waiting(server, run)) and
          "position 1 of 1" in str(waiting(server, run)))
    plain = server.submit(pipeline("a: {run: 'true', resources: {cpu: 0.2}}"))
    assert server.ended(plain)["state"] == "succeeded" and len(lines(folder / "began")) == 2
    (folder / "go").touch()
    assert server.ended(run)["state"] == "succeeded"


def test_refusals_name_the_place_and_what_there_is(machine, tmp_path):
    server = machine(TWO)
    declare(server, A100 + "---\n" + A100.replace("a100", "typo").replace("nvidia.com/gpu,", "nvidia.com/gpus,") +
            queue("research"))
    known(server)
    said = refused(server, "queue: reserch, resources: {gpu: 1}")
    assert '"path": "steps.a.queue"' in said and "did you mean 'research'?" in said, said
    file = tmp_path / "there.yaml"
    file.write_text(pipeline("a:\n    run: 'true'\n    queue: reserch"))
    said = server.cli("run", str(file), expect=3).stderr
    assert "there.yaml:7:12: error: " in said and "there is no queue 'reserch'" in said, said
    said = refused(server, "resources: {gpu: {flavor: h100}}")
    assert '"path": "steps.a.resources.gpu"' in said and "There are: " in said and "typo" in said, said
    said = refused(server, "resources: {gpu: {flavor: typo}}")
    assert "there is no node of that flavor" in said and "the resource 'nvidia.com/gpus', the labels" in said, said


@pytest.mark.parametrize("asks, says", [
    ("queue: research, resources: {gpu: 2}", "needs 2 × a100, queue research can have at most 1"),
    ("resources: {gpu: 3}", "needs 3 × a100"),
    ("queue: reserch, resources: {gpu: 1}", "there is no queue 'reserch'"),
    ("resources: {gpu: {flavor: h100}}", "there is no flavor 'h100'"),
    ("resources: {gpu: {share: 50%}}", "offers no shared GPUs"),
])
def test_what_can_never_run_is_said_at_once(machine, asks, says):
    server = machine(TWO)
    declare(server, A100 + queue("research", ", quota: {a100: 1}"))
    known(server)
    assert says in refused(server, asks)
    waived = server.submit(pipeline(f"a: {{run: 'true', {asks.replace('queue: reserch, ', '')}}}"),
                           ignoreResources=["gpu"])
    assert server.ended(waived)["state"] == "succeeded"


def test_a_lost_one_is_nobodys(machine):
    server = machine(TWO)
    folder = notes(server)
    declare(server, A100 + queue("research"))
    server.gpus.write_text(TWO + "lost GPU-0\n")
    until("the server to notice", lambda: "a GPU is given to no step any more" in server.tail())
    run = server.submit(pipeline(fan(2, holding(folder))))
    until("one to run", lambda: lines(folder / "used") == ["GPU-1"])
    until("the other to wait", lambda: "position 1 of 1" in str(waiting(server, run)))
    until("gpus to show it", lambda: [g["others"] for g in node(server)["gpus"]] == [1])
    server.gpus.write_text(TWO)
    until("both to run", lambda: lines(folder / "used") == ["GPU-1", "GPU-0"])
    (folder / "go").touch()
    assert server.ended(run)["state"] == "succeeded"


def test_queues_come_and_go(machine):
    """What began before there was a queue keeps its GPU, and others wait for it; nothing is lost when it is taken
    away."""
    server = machine(TWO)
    folder = notes(server)
    before = server.submit(pipeline("a: {" + holding(folder, "queue: anything") + "}"))  # means nothing yet
    until("it to run", lambda: lines(folder / "used") == ["GPU-0"])
    until("gpus to show that one is taken", lambda: [g["used"] for g in node(server)["gpus"]] == [1])
    declare(server, A100 + queue("research"))
    run = server.submit(pipeline(fan(2, holding(folder))))
    until("one to run", lambda: lines(folder / "used") == ["GPU-0", "GPU-1"])
    until("the other to wait", lambda: "position 1 of 1" in str(waiting(server, run)))
    (folder / "go").touch()
    assert [server.ended(r)["state"] for r in (before, run)] == ["succeeded"] * 2
    until("the queue to be empty", lambda: not node(server)["steps"])
    server.cli("queue", "delete", "research", "flavor/a100")
    (folder / "go").unlink()
    after = server.submit(pipeline(fan(3, holding(folder, "queue: anything"))))
    until("two to run", lambda: len(lines(folder / "used")) == 5)
    until("the other one to wait as on any machine", lambda: "waits for room" in str(waiting(server, after)))
    (folder / "go").touch()
    assert server.ended(after)["state"] == "succeeded"


@pytest.fixture(name="machines")
def two_machines(tmp_path, database):
    """Two servers with data folders and GPUs of their own, over one database and one store."""
    servers = []
    for name in ("left", "right"):
        path = tmp_path / name
        path.write_text(TWO.replace("GPU-", f"{name}-"))
        server = Server("--database-url", database.url, "--nvml-library", str(FAKE), "--takeover", "5s",
                        env={"FAKE_NVML": str(path), "MILLRACE_GPUS": "all"})
        server.options += ["--store-dir", str((servers or [server])[0].home / "store")]
        servers.append(server.start())
    yield servers
    for server in servers:
        server.remove()


def test_each_machine_has_its_own(machines):
    """What was admitted to one starts there; and when it is gone, the other takes its share over."""
    left, right = machines
    folder = notes(left)
    until("both to have shards", lambda: owned(left) and owned(right))
    declare(left, A100 + queue("research", ", quota: {a100: 2}"))
    runs = [left.submit(pipeline("a: {" + holding(folder) + "}")) for _ in range(SHARDS)]  # in all of them
    until("all four to be used", lambda: sorted(lines(folder / "used")) == ["left-0", "left-1", "right-0", "right-1"])
    shown = until("both to be shown", lambda: json.loads(left.cli("gpus", "-o", "json").stdout)["items"])
    assert len({n["domain"] for n in shown}) == 2 and [n["gpus"][0]["used"] for n in shown] == [2, 2], shown
    right.crash()
    (folder / "go").touch()
    ended = [left.ended(run) for run in runs]
    bad = [left.get(f"/api/v1/runs/{run}/tasks/a/attempts").json["items"] for run, end in zip(runs, ended)
           if end["state"] != "succeeded"]
    assert not bad, bad
    assert set(lines(folder / "used")) == {"left-0", "left-1", "right-0", "right-1"}


def test_another_server_takes_the_machine_over(machine, database):
    """Of two servers on one data folder one runs its steps; when it is killed, the other knows who has what, and who
    waits."""
    server = machine(TWO, "--database-url", database.url)
    folder = notes(server)
    declare(server, A100 + queue("research", ", quota: {a100: 2}"))
    run = server.submit(pipeline(fan(6, holding(folder))))
    until("two to run", lambda: len(lines(folder / "used")) == 2)
    other = Server("--database-url", database.url, "--nvml-library", str(FAKE), env=server.extra)
    other.data = server.data
    try:
        other.start()
        server.crash()
        until("the other to decide", lambda: "the placer begins" in other.tail())
        until("those that wait to say why", lambda: len(waiting(other, run)) == 4)
        assert len(running(other, run)) == 2 and len(lines(folder / "used")) == 2
        (folder / "go").touch()
        assert other.ended(run)["state"] == "succeeded"
        assert all(t["attempt"] == 1 for p, t in other.tasks(run).items() if "[" in p)
        assert collections.Counter(lines(folder / "used")).keys() == {"GPU-0", "GPU-1"}
    finally:
        other.remove()
