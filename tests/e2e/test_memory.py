"""Memory that grows from attempt to attempt: what is asked for, recorded, and counted against the machine's."""
from harness import until

HEAD = "apiVersion: millrace/v1\nkind: Pipeline\n"


def test_memory_grows_after_an_oom(server):
    run = server.submit(HEAD + """
name: memory
defaults: {retry: {limit: 3, backoff: 10ms, memory: {factor: 3, max: 512Mi}}}
steps:
  grows:
    run: test $MILLRACE_ATTEMPT != 1 || exit 1; python3 -c "import time; x = bytearray(150 << 20); time.sleep(1)"
    resources: {memory: 64Mi}
  bounded:
    run: python3 -c "import time; x = bytearray(300 << 20); time.sleep(60)"
    resources: {memory: 64Mi}
    retry: {limit: 2, memory: {max: 96Mi}}
""")
    assert server.ended(run)["state"] == "failed"
    tasks = server.tasks(run)
    assert tasks["grows"]["state"] == "succeeded" and tasks["grows"]["memoryBytes"] == 192 << 20, tasks

    def attempts(step):
        return [(a.get("reason"), a["memoryBytes"] >> 20)
                for a in server.get(f"/api/v1/runs/{run}/tasks/{step}/attempts").json["items"]]

    assert attempts("grows") == [("Error", 64), ("OutOfMemory", 64), (None, 192)]
    assert "raise retry.memory.max" in tasks["bounded"]["message"], tasks
    assert attempts("bounded") == [("OutOfMemory", 64), ("OutOfMemory", 96), ("OutOfMemory", 96)]


def test_grown_memory_is_counted(fresh):
    """Of 400 MiB two attempts have room that ask for 64, and one that asks for 256; none asks for more than all."""
    server = fresh("--memory", "400Mi")
    run = server.submit(HEAD + """
name: counted
steps:
  fan:
    foreach: {range: 2}
    run: python3 -c "import time; x = bytearray(150 << 20); time.sleep(2)"
    resources: {memory: 64Mi}
    retry: {limit: 1, backoff: 10ms, memory: {factor: 4}}
  all:
    needs: fan
    run: python3 -c "import time; x = bytearray(350 << 20); time.sleep(1)"
    resources: {memory: 256Mi}
    retry: {limit: 1, backoff: 10ms, memory: {factor: 4}}
""")
    until("one to wait for the other",
          lambda: any("needs 256Mi of memory" in t.get("waitingFor", "") for t in server.tasks(run).values()))
    assert server.ended(run)["state"] == "succeeded", server.tasks(run)
    assert {t["memoryBytes"] >> 20 for p, t in server.tasks(run).items() if "fan[" in p} == {256}
    assert server.tasks(run)["all"]["memoryBytes"] == 400 << 20
