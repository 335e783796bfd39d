"""Containers of the user's own beside a step's: the step's decides how it ends, and nobody is waited for without a word
or for ever."""
from cluster import Store
from harness import until
from test_data import s3_options
from test_jobs import gone, pipeline

LOOP = "while :; do sleep 0.2; done"


def beside(name, command, sidecar=False):
    more = "restartPolicy: Always, " if sidecar else ""
    return f"{{name: {name}, image: 'localhost/busybox:1', {more}command: [sh, -c, '{command}']}}"


def test_outputs_are_kept_though_others_go_on(data_server, jobs):
    """The proxy of a mesh never ends by itself; a sidecar deaf to SIGTERM has no more time than the outputs."""
    server = data_server("--grace", "1s")
    made = ("uploadTimeout: 9s, run: 'echo 5 | tee m n', "
            "outputs: {m: {artifact: model, path: m}, n: {type: int, path: n}}")
    proxy, deaf = beside("proxy", 'trap "exit 7" TERM; ' + LOOP), beside("deaf", 'trap "" TERM; ' + LOOP, True)
    run = server.submit(pipeline(f"  mesh: {{{made}, pod: {{containers: [{proxy}]}}}}\n"
                                 f"  deaf: {{{made}, pod: {{initContainers: [{deaf}]}}}}\n"
                                 f"  fails: {{run: 'exit 4', pod: {{containers: [{proxy}]}}}}\n"
                                 f"  alone: {{run: 'true', pod: {{containers: [{proxy}]}}}}\n"
                                 f"  many: {{{made}, workers: 2, pod: {{containers: [{proxy}]}}}}\n"))
    server.ended(run, patience=90)
    tasks = server.tasks(run)
    logs = {"mesh": "5\n", "deaf": "5\n", "alone": "", "many": "5\n[rank 1] 5\n"}
    for name, log in logs.items():
        assert (tasks[name]["state"], tasks[name]["attempt"]) == ("succeeded", 1), tasks[name]
        assert server.cli("logs", run, name).stdout == log, name
    assert tasks["mesh"]["outputs"]["n"] == 5 and tasks["many"]["outputs"]["n"] == 5, tasks
    assert tasks["fails"]["exitCode"] == 4 and tasks["fails"]["attempt"] == 1, tasks["fails"]


def test_who_does_not_listen_is_named(data_server, jobs):
    """What the kubelet leaves for the outputs when the time is over may suffice for small ones."""
    server = data_server("--grace", "1s")
    deaf = beside("deaf", 'trap "" TERM; ' + LOOP)
    run = server.submit(pipeline("  make: {run: 'echo 1 > m', outputs: {m: {artifact: model, path: m}}, "
                                 f"uploadTimeout: 5s, pod: {{containers: [{deaf}]}}}}\n"))
    until("it to say what it waits for",
          lambda: "its container 'deaf' has not" in server.tasks(run)["make"].get("waitingFor", ""), 30)
    done = server.ended(run, patience=90)["state"]
    task = server.tasks(run)["make"]
    assert task["attempt"] == 1 and (done == "succeeded" or "'deaf' went on" in task["message"]), task


def test_who_runs_before_a_step_is_named(data_server, jobs):
    server = data_server("--grace", "1s")
    endless, fails = beside("warm", LOOP), beside("check", "echo no weights; exit 3")
    run = server.submit(pipeline(f"  late: {{run: 'true', timeout: 8s, pod: {{initContainers: [{endless}]}}}}\n"
                                 f"  broken: {{run: 'true', pod: {{initContainers: [{fails}]}}}}\n"))
    until("it to say what it waits for",
          lambda: "its container 'warm' runs before it" in server.tasks(run)["late"].get("waitingFor", ""), 30)
    assert server.ended(run, patience=60)["state"] == "failed"
    tasks = server.tasks(run)
    for name, reason, words in (("late", "Timeout", "'warm', which runs before it, had not ended"),
                                ("broken", "Error", "'check', which runs before it, exited with code 3")):
        assert (tasks[name]["reason"], tasks[name]["attempt"]) == (reason, 1) and words in tasks[name]["message"], tasks
    gone(jobs)


def says(server, run, name, words, patience=40):
    until(f"the note of {name} to say: {words}",
          lambda: words in server.tasks(run)[name].get("waitingFor", ""), patience)


def test_what_the_movers_say_is_in_the_note(cluster, data_server, jobs, tmp_path):
    """An API that pods cannot reach: only containers of Millrace's own know that."""
    server = data_server("--grace", "1s", start=False)
    server.options[-1] = away = f"http://{cluster.address}:1"
    server.start()
    (tmp_path / "tool.sh").write_text("true\n")
    (tmp_path / "pipeline.yaml").write_text(pipeline(
        "  code: {run: 'sh tool.sh', timeout: 30s}\n"))
    code = server.cli_json("run", "--detach", tmp_path)["id"]
    kept = server.submit(pipeline("  make: {run: 'echo 1 > m', outputs: {m: {artifact: model, path: m}}, "
                                  "uploadTimeout: 25s}\n"))
    says(server, code, "code", f"its container millrace-fetch says: cannot reach {away}")
    says(server, kept, "make", f"its outputs are being kept; its container millrace-collect says: cannot reach {away}")
    assert {server.ended(run, patience=60)["state"] for run in (code, kept)} == {"failed"}
    late, lost = server.tasks(code)["code"], server.tasks(kept)["make"]
    assert late["reason"] == "Timeout" and f"millrace-fetch says: cannot reach {away}" in late["message"], late
    assert f"not kept within its uploadTimeout, 25s; last: cannot reach {away}" in lost["message"], lost


def test_a_store_that_is_away_is_named_by_the_movers(cluster, data_server, jobs):
    """The API answers them, and says what it waits for."""
    with Store(cluster) as store:
        (store.home / "objects/away").mkdir()
        server = data_server("--grace", "1s", start=False)
        server.options += s3_options(server.home, store, "away")
        server.start()
        run = server.submit(pipeline("  make: {run: 'echo 1 > m; sleep 1', outputs: {m: {artifact: model, path: m}}, "
                                     "uploadTimeout: 45s}\n"))
        store.process.kill()
        says(server, run, "make", f"{store.url} does not answer as it should")
        assert "its container millrace-collect says: s3://away" in server.tasks(run)["make"]["waitingFor"]
        server.ended(run, patience=90)
        task = server.tasks(run)["make"]
        assert f"{store.url} does not answer as it should" in task["message"], task
        assert "the artifact store fails, and is tried again" in server.tail()
