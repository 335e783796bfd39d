"""GPUs of the machine that runs the steps: each step has its own, whatever happens to the server. They are played by
tests/nvml; test_real_gpus.py takes real ones, where there are any."""
import collections
import json
import pathlib

import pytest
from harness import BIN, Database, kill, processes, until
from test_cli import pipeline
from test_restart import lines, notes

FAKE = BIN.parent / "libfake_nvml.so"
FOUR = "".join(f"gpu GPU-{i} 40960 NVIDIA A100-SXM4-40GB\n" for i in range(3)) + "gpu GPU-3 15360 Tesla T4\n"
PARTED = "gpu GPU-4 81559 NVIDIA H100 80GB HBM3\nmig MIG-a 9984 1g.10gb\nmig MIG-b 9984 1g.10gb\n"

# Holds a folder of its device's name: two on one cannot both make it.
HOLD = ('mkdir held-$CUDA_VISIBLE_DEVICES && echo $CUDA_VISIBLE_DEVICES >> used && {wait} && '
        'rmdir held-$CUDA_VISIBLE_DEVICES')


@pytest.fixture
def machine(fresh, tmp_path):
    """machine(text, options…): a server whose machine has those GPUs; its `gpus` is the file to change them by."""
    def make(text, *options, start=True):
        path = tmp_path / "gpus"
        path.write_text(text)
        server = fresh("--nvml-library", str(FAKE), *options, start=False,
                       env={"FAKE_NVML": str(path), "MILLRACE_GPUS": "all"})
        server.gpus = path
        return server.start() if start else server
    return make


def command(pid):
    return pathlib.Path(f"/proc/{pid}/cmdline").read_text()


def hold(folder, wait, asks="gpu: 1"):
    return f"run: 'cd {folder} && {HOLD.format(wait=wait)}', resources: {{cpu: 10m, memory: 32Mi, {asks}}}"


def test_ten_steps_on_four_gpus_never_share(machine):
    server = machine(FOUR)
    folder = notes(server)
    run = server.submit(pipeline(f"all: {{foreach: '${{{{ [0,1,2,3,4,5,6,7,8,9] }}}}', "
                                 f"{hold(folder, f'until test -e {folder}/go; do sleep 0.02; done; sleep 0.1')}}}"))
    until("four to run", lambda: len(lines(folder / "used")) == 4)
    until("the others to say why", lambda: "waits for room: needs 1 GPU, 0 of 4 are free" in str(server.run(run)))
    assert sorted(lines(folder / "used")) == ["GPU-0", "GPU-1", "GPU-2", "GPU-3"]
    (folder / "go").touch()
    assert server.ended(run)["state"] == "succeeded"
    assert len(lines(folder / "used")) == 10


@pytest.fixture(name="database")
def own_database():
    made = Database()
    yield made.start()
    made.remove()


@pytest.mark.parametrize("victim", ["server", "database", "both"])
def test_kills_keep_them_apart(machine, database, victim):
    """Over and over, while steps with GPUs go on, begin and end."""
    server = machine(FOUR, "--database-url", database.url)
    folder = notes(server)
    items = ",".join(map(str, range(24)))
    run = server.submit(pipeline(f"all: {{foreach: '${{{{ [{items}] }}}}', {hold(folder, 'sleep 0.4')}}}"))
    for kills in range(1, 6):
        until("more to begin", lambda: len(lines(folder / "used")) >= 4 * kills)
        if victim != "server":
            database.crash()
        if victim != "database":
            server.crash()
        if victim != "server":
            database.start()
        if victim != "database":
            server.start()
    assert server.ended(run)["state"] == "succeeded", server.tasks(run)
    assert all(task["attempt"] == 1 for task in server.tasks(run).values())
    used = collections.Counter(lines(folder / "used"))
    assert sum(used.values()) == 24 and len(used) == 4


def test_a_killed_launcher_frees_them(machine):
    server = machine(FOUR)
    folder = notes(server)
    run = server.submit(pipeline(f"a: {{{hold(folder, 'sleep 600', 'gpu: 4')}}}"))
    until("it to run", lambda: lines(folder / "used"))
    launcher = [pid for pid in processes("__launcher") if str(server.data) in command(pid)]
    server.crash()
    kill(*launcher)
    (folder / "held-GPU-0,GPU-1,GPU-2,GPU-3").rmdir()
    server.start()
    until("it to run again", lambda: len(lines(folder / "used")) == 2)
    server.post(f"/api/v1/runs/{run}:cancel", {})
    assert server.ended(run)["state"] == "cancelled"
    again = server.submit(pipeline("b: {run: 'echo $CUDA_VISIBLE_DEVICES', resources: {gpu: 4}}"))
    assert server.ended(again)["state"] == "succeeded"


def test_shares_share(machine):
    server = machine(FOUR)
    folder = notes(server)
    say = f"echo $MILLRACE_STEP $CUDA_VISIBLE_DEVICES >> {folder}/used; until test -e {folder}/go; do sleep 0.02; done"
    steps = [f"{name}: {{run: '{say}', resources: {{cpu: 10m, gpu: {asks}}}}}" for name, asks in
             (("half", "{share: 50%}"), ("other", "{share: 50%}"), ("most", "{share: 60%}"), ("t4", "{flavor: t4}"))]
    run = server.submit(pipeline(*steps))
    until("all to run at once", lambda: len(lines(folder / "used")) == 8)
    used = dict(line.split() for line in (folder / "used").read_text().splitlines())
    more = server.submit(pipeline(f"more: {{run: '{say}', resources: {{gpu: {{share: 60%, flavor: a100}}}}}}"))
    until("one more to run", lambda: len(lines(folder / "used")) == 10)
    full = server.submit(pipeline("full: {run: 'true', resources: {gpu: {share: 90%}}}"))
    until("it to say why", lambda: "needs 90% of one GPU, at most 40% of one is free" in str(server.run(full)))
    (folder / "go").touch()
    assert [server.ended(one)["state"] for one in (run, more, full)] == ["succeeded"] * 3
    assert used["half"] == used["other"] != used["most"] and used["t4"] == "GPU-3", used


def test_who_has_them_is_told(machine):
    """Though there is no queue that anybody waits in, and no flavor of instances."""
    server = machine(FOUR + PARTED)
    folder = notes(server)
    wait = f"until test -e {folder}/go; do sleep 0.02; done"
    run = server.submit(pipeline(*(f"{name}: {{needs: [], run: '{wait}', resources: {{cpu: 10m, gpu: {asks}}}}}"
                                   for name, asks in (("two", "2"), ("part", "{share: 25%}"), ("none", "0"),
                                                      ("instance", "{flavor: mig-1g-10gb}")))))

    def told():
        node, = json.loads(server.cli("gpus", "-o", "json").stdout)["items"] or [{"steps": []}]
        return len(node["steps"]) == 3 and node

    node = until("all to be told", told)
    assert {(s["run"], s["path"], s["gpus"]) for s in node["steps"]} == {
        (run, "two", 2), (run, "part", 0.25), (run, "instance", 1)}
    assert node["gpus"] == [
        {"flavor": "gpu", "resource": "nvidia.com/gpu", "total": 4, "used": 2.25, "others": 0},
        {"flavor": "mig-1g-10gb", "resource": "nvidia.com/mig-1g.10gb", "total": 2, "used": 1, "others": 0}]
    shown = server.cli("gpus").stdout
    assert f"{run}/two" in shown and f"{run}/part" in shown and f"{run}/instance" in shown
    (folder / "go").touch()
    assert server.ended(run)["state"] == "succeeded"
    until("nobody to be told", lambda: "two" not in server.cli("gpus").stdout)


def test_who_asks_for_none_sees_none(machine):
    server = machine(FOUR)
    folder = notes(server)
    text = pipeline(f"plain: {{run: 'echo \"[${{CUDA_VISIBLE_DEVICES-unset}}]\" >> {folder}/sees'}}",
                    f"waived: {{needs: [plain], resources: {{gpu: 9}}, "
                    f"run: 'echo \"[${{CUDA_VISIBLE_DEVICES-unset}}]\" >> {folder}/sees'}}")
    run = server.submit(text, ignoreResources=["gpu"])
    assert server.ended(run)["state"] == "succeeded"
    assert lines(folder / "sees") == ["[]", "[]"]


@pytest.mark.parametrize("asks, says", [
    ("5", "the step asks for 5 GPUs, this machine has 4"),
    ("{count: 1, flavor: h100}", "the step asks for 1 × h100, this machine has 0; it has NVIDIA-A100-SXM4-40GB, "
                                 "Tesla-T4"),
    ("{count: 2, flavor: t4}", "the step asks for 2 × t4, this machine has 1"),
    ("{share: 10%, flavor: h100}", "the step asks for 10% of one h100, this machine has 0"),
])
def test_what_it_has_not_is_refused(machine, asks, says):
    server = machine(FOUR)
    refused = server.post("/api/v1/runs", {"source": pipeline(f"a: {{run: 'true', resources: {{gpu: {asks}}}}}")})
    assert refused.status == 422 and says in refused.json["errors"][0]["message"], refused
    assert "--ignore-resources gpu" in str(refused.json) and "steps.a.resources.gpu" in str(refused.json)


def test_what_steps_may_not_have_is_not_there(machine):
    server = machine(FOUR, "--gpus", "GPU-1,3")
    folder = notes(server)
    run = server.submit(pipeline(f"a: {{run: 'echo $CUDA_VISIBLE_DEVICES > {folder}/sees', resources: {{gpu: 2}}}}"))
    assert server.ended(run)["state"] == "succeeded" and lines(folder / "sees") == ["GPU-1,GPU-3"]
    refused = server.post("/api/v1/runs", {"source": pipeline("a: {run: 'true', resources: {gpu: 3}}")})
    assert "this machine has 2" in str(refused.json)
    server.stop()
    server.options[-1] = "8"
    server.start(wait=False)
    assert server.process.wait(60) != 0
    server.process = None
    assert "this machine has no GPU '8'" in server.tail() and "nvidia-smi -L" in server.tail()


def test_a_lost_one_is_given_to_nobody(machine):
    server = machine(FOUR)
    folder = notes(server)
    server.gpus.write_text(FOUR + "lost GPU-0\nxid GPU-2 79\n")
    until("the server to notice", lambda: server.tail().count("a GPU is given to no step any more") == 2)
    run = server.submit(pipeline(f"a: {{foreach: '${{{{ [0,1,2,3] }}}}', {hold(folder, 'sleep 0.1')}}}"))
    wide = server.submit(pipeline("wide: {run: 'true', resources: {gpu: 3}}"))
    assert server.ended(run)["state"] == "succeeded"
    assert set(lines(folder / "used")) == {"GPU-1", "GPU-3"}
    until("it to say why", lambda: "needs 3 GPUs, this machine has 4; 2 of them are not in order" in
          str(server.run(wide)))
    server.gpus.write_text(FOUR)
    until("the server to notice", lambda: "a GPU is in order again" in server.tail())
    assert server.ended(wide)["state"] == "succeeded"


def test_who_waits_for_a_gpu_holds_nobody_up(machine):
    server = machine(FOUR)
    folder = notes(server)
    items = ",".join(map(str, range(500)))
    wait = f"until test -e {folder}/go; do sleep 0.05; done"
    queue = server.submit(pipeline(f"g: {{foreach: '${{{{ [{items}] }}}}', run: '{wait}', resources: {{gpu: 4}}}}",
                                   "c: {needs: [], run: 'true', resources: {cpu: 10m}}"))
    until("the rest to wait", lambda: "needs 4 GPUs" in str(server.run(queue)))
    plain = server.submit(pipeline("c: {run: 'true', resources: {cpu: 10m}}"))
    assert server.ended(plain)["state"] == "succeeded"
    server.wait_task(queue, "c", "succeeded")
    server.post(f"/api/v1/runs/{queue}:cancel", {})
    assert server.ended(queue)["state"] == "cancelled"


def test_parts_by_mig(machine):
    server = machine("gpu GPU-0 81559 NVIDIA H100 80GB HBM3\nmig MIG-a 9984 1g.10gb\nmig MIG-b 40448 3g.40gb\n"
                     "gpu GPU-1 81559 NVIDIA H100 80GB HBM3\n")
    folder = notes(server)
    steps = [f"{name}: {{run: 'echo {name} $CUDA_VISIBLE_DEVICES >> {folder}/sees', resources: {{gpu: {asks}}}}}"
             for name, asks in (("any", "1"), ("h100", "{flavor: h100}"), ("small", "{flavor: mig-1g-10gb}"),
                                ("large", "{flavor: h100-3g-40gb}"))]
    assert server.ended(server.submit(pipeline(*steps)))["state"] == "succeeded"
    assert sorted((folder / "sees").read_text().splitlines()) == [
        "any GPU-1", "h100 GPU-1", "large MIG-b", "small MIG-a"]
    refused = server.post("/api/v1/runs", {"source": pipeline("a: {run: 'true', resources: {gpu: 2}}")})
    assert "this machine has 1" in str(refused.json)
