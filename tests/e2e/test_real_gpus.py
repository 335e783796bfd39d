"""GPUs as they are: what a step with one sees through CUDA, and that nobody else is on it. Left out on a machine that
has none; tests/nvml plays them for the others."""
import ctypes
import json
import subprocess

import pytest
from harness import until
from test_cli import pipeline
from test_gpus import own_database  # noqa: F401  (fixture)
from test_local_queue import declare, fan, known, node, queue, running, waiting
from test_restart import lines, notes

# use.py FOLDER NAME PART: writes "NAME UUID,…" of the devices that CUDA gives it to FOLDER/sees, or "NAME none"; takes
# that part of the first one's memory, writes all over it, and has it until FOLDER/go is there. Two that are to have a
# device to themselves cannot both make its folder.
USE = r'''
import ctypes, os, sys, time, uuid

folder, name, part = sys.argv[1], sys.argv[2], float(sys.argv[3])
cuda = ctypes.CDLL("libcuda.so.1")


def ok(what, *given):
    wrong = getattr(cuda, what)(*given)
    if wrong:
        sys.exit(f"{what} failed: {wrong}")


def say(file, text):
    with open(f"{folder}/{file}", "a") as out:
        out.write(text + "\n")


NO_DEVICE = 100
if cuda.cuInit(0) == NO_DEVICE:
    say("sees", f"{name} none")
    sys.exit()
count, devices, raw = ctypes.c_int(), [], ctypes.create_string_buffer(16)
ok("cuDeviceGetCount", ctypes.byref(count))
for i in range(count.value):
    ok("cuDeviceGetUuid_v2", raw, i)
    devices.append(str(uuid.UUID(bytes=raw.raw)))
context, free, total = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
ok("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
ok("cuCtxSetCurrent", context)
ok("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
size, memory, byte = int(total.value * part), ctypes.c_uint64(), ctypes.create_string_buffer(1)
ok("cuMemAlloc_v2", ctypes.byref(memory), ctypes.c_size_t(size))
ok("cuMemsetD8_v2", memory, ctypes.c_ubyte(47), ctypes.c_size_t(size))
ok("cuMemcpyDtoH_v2", byte, ctypes.c_uint64(memory.value + size - 1), ctypes.c_size_t(1))
if byte.raw != b"\x2f":
    sys.exit("the memory holds what was not written there")
alone = part > 0.5
if alone:
    os.mkdir(f"{folder}/held-{devices[0]}")
say("sees", f"{name} {','.join(devices)}")
while not os.path.exists(f"{folder}/go"):
    time.sleep(0.02)
if alone:
    os.rmdir(f"{folder}/held-{devices[0]}")
'''


def smi(*words):
    return [line.split(", ") for line in subprocess.run(
        ["nvidia-smi", *words, "--format=csv,noheader,nounits"], check=True, capture_output=True, text=True
    ).stdout.splitlines()]


@pytest.fixture
def machine(fresh):
    """machine(options…): a server that gives away what there is; `gpus` are their UUIDs, `folder` is the steps'."""
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        pytest.skip("this machine has no libnvidia-ml.so.1, and so no GPU to try")

    def make(*options):
        server = fresh(*options, env={"MILLRACE_GPUS": "all"})
        server.gpus = [line.split("uuid=")[1].split()[0] for line in server.log.read_text().splitlines()
                       if "steps may have a GPU" in line]
        if not server.gpus:
            pytest.skip(f"this machine's driver lists no GPU: {server.tail()}")
        server.folder = notes(server)
        (server.folder / "use.py").write_text(USE)
        return server
    return make


def bare(gpu):
    """CUDA's UUID has no GPU- or MIG- before it."""
    return gpu.split("-", 1)[1]


def using(server, name, part, asks, rest=""):
    return (f"run: 'python3 {server.folder}/use.py {server.folder} {name} {part}', "
            f"resources: {{cpu: 10m, memory: 64Mi{asks and ', gpu: ' + asks}}}{rest}")


def sees(server):
    return [tuple(line.split()) for line in (server.folder / "sees").read_text().splitlines()] \
        if (server.folder / "sees").exists() else []


def busy(server):
    """GPUs that have a process, as the driver tells it."""
    return {gpu for (gpu,) in smi("--query-compute-apps=gpu_uuid")} & set(server.gpus)


def whole(server):
    """The flavor of its first GPU."""
    product, = {p for gpu, p in smi("--query-gpu=uuid,name") if gpu == server.gpus[0]}
    return (f"{{apiVersion: millrace/v1, kind: Flavor, name: real, resource: nvidia.com/gpu, "
            f"nodes: {{nvidia.com/gpu.product: {product.replace(' ', '-')}}}}}\n")


def test_it_lists_what_the_driver_lists(machine):
    server = machine()
    assert [gpu for (gpu,) in smi("--query-gpu=uuid")] == [g for g in server.gpus if g.startswith("GPU-")]
    more = len(server.gpus) + 1
    refused = server.post("/api/v1/runs", {"source": pipeline(f"a: {{run: 'true', resources: {{gpu: {more}}}}}")})
    assert refused.status == 422 and f"this machine has {more - 1}" in str(refused.json)
    declare(server, whole(server) + queue("research", f", quota: {{real: {len(server.gpus)}}}"))
    known(server)
    assert sum(g["total"] for g in node(server)["gpus"] if g["flavor"] == "real") == len(
        [gpu for gpu, product in smi("--query-gpu=uuid,name") if product in whole(server).replace("-", " ")])


def test_a_step_sees_its_own_alone(machine):
    server = machine()
    run = server.submit(pipeline(fan(len(server.gpus), using(server, "each", 0.6, "1")),
                                 "none: {needs: [], " + using(server, "none", 0.1, "") + "}"))
    until("all to have theirs", lambda: len(sees(server)) == len(server.gpus) + 1)
    assert sorted(sees(server)) == sorted([("each", bare(gpu)) for gpu in server.gpus] + [("none", "none")])
    assert busy(server) == set(server.gpus)
    (server.folder / "go").touch()
    assert server.ended(run)["state"] == "succeeded", server.tasks(run)


def test_two_shares_are_on_one(machine):
    server = machine()
    run = server.submit(pipeline(*(f"{n}: {{needs: [], {using(server, n, 0.3, '{share: 50%}')}}}" for n in "ab")))
    until("both to have theirs", lambda: len(sees(server)) == 2)
    assert len({gpu for _, gpu in sees(server)}) == 1
    (server.folder / "go").touch()
    assert server.ended(run)["state"] == "succeeded", server.tasks(run)


def test_a_cancel_gives_it_back(machine):
    server = machine()
    first = server.submit(pipeline(f"a: {{{using(server, 'a', 0.6, '1')}}}"))
    until("it to have its own", lambda: sees(server))
    assert server.post(f"/api/v1/runs/{first}:cancel", {"grace": "0s"}).status == 202
    assert server.ended(first)["state"] == "cancelled"
    for held in server.folder.glob("held-*"):
        held.rmdir()
    (server.folder / "go").touch()
    every = server.submit(pipeline(fan(2 * len(server.gpus), using(server, "next", 0.6, "1"))))
    assert server.ended(every)["state"] == "succeeded", server.tasks(every)
    until("the driver to know of no process", lambda: not busy(server))


@pytest.mark.parametrize("victim", ["server", "both"])
def test_kills_keep_them_apart(machine, database, victim):
    """The steps go on, each on its own, while the server dies and comes back."""
    server = machine("--database-url", database.url)
    (server.folder / "go").touch()
    run = server.submit(pipeline(fan(10 * len(server.gpus), using(server, "each", 0.6, "1"))))
    for kills in range(1, 6):
        until("more to begin", lambda: len(sees(server)) >= kills)
        if victim == "both":
            database.crash()
        server.crash()
        if victim == "both":
            database.start()
        server.start()
    assert server.ended(run)["state"] == "succeeded", server.tasks(run)
    assert all(t["attempt"] == 1 for p, t in server.tasks(run).items() if "[" in p), server.tasks(run)
    assert len(sees(server)) == 10 * len(server.gpus)


def test_the_more_important_has_it_first(machine):
    """The victim's memory is free before the next one comes, and the victim has its turn after that."""
    server = machine()
    n = len(server.gpus)
    declare(server, whole(server) + queue("research", f", quota: {{real: {n}}}, preemption: {{within: lower}}"))
    known(server)
    low = server.submit(pipeline(f"low: {{{using(server, 'low', 0.6, str(n), ', queue: research, priority: -5')}}}"))
    until("it to have them", lambda: sees(server))
    held, = server.folder.glob("held-*")
    high = server.submit(pipeline(f"high: {{{using(server, 'high', 0.4, str(n), ', queue: research, priority: 5')}}}"))
    until("the other one in its place", lambda: [name for name, _ in sees(server)] == ["low", "high"])
    held.rmdir()
    assert "position 1 of 1" in until("the victim to say why it waits", lambda: waiting(server, low).get("low"))
    assert running(server, low, high) == ["high"]
    (server.folder / "go").touch()
    assert server.ended(high)["state"] == "succeeded" and server.ended(low)["state"] == "succeeded"
    task = server.tasks(low)["low"]
    assert task["attempt"] == 2 and not task.get("failures"), task
    first, = server.get(f"/api/v1/runs/{low}/tasks/low/attempts").json["items"][:1]
    assert first["message"] == f"gave way to run {high} high", json.dumps(first)
