"""What survives: the server killed or stopped under running steps, its database killed, restored from a backup."""
import os
import pathlib
import signal
import time

import pytest
from harness import Database, Server, kill, processes, until
from test_cli import pipeline


def chain(folder, n=6, nap=0.3):
    """A chain of steps, each of which notes its beginning and end in a file: what ran how often."""
    steps = [f"s0: {{run: 'echo s0 >> {folder}/ran; sleep {nap}; echo s0 >> {folder}/ended'}}"]
    for i in range(1, n):
        steps.append(f"s{i}: {{needs: [s{i - 1}], run: 'echo s{i} >> {folder}/ran; sleep {nap}; "
                     f"echo s{i} >> {folder}/ended'}}")
    return pipeline(*steps, name="chain")


def notes(server):
    folder = server.home / "notes"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    return folder


def lines(path):
    return path.read_text().split() if path.exists() else []


def test_stopped_while_it_waits_for_its_database(fresh):
    server = fresh("--database-url", "postgresql://nobody@127.0.0.1:1/none", start=False)
    server.start(wait=False)
    until("the server to wait", lambda: "waiting for the database" in server.tail())
    server.process.terminate()
    assert server.process.wait(30) == 0, "it would wait for a minute"
    server.process = None


@pytest.mark.parametrize("busy", [True, False])
def test_stopped_while_its_database_hangs(fresh, busy):
    """It leaves without it, whether or not something is waiting for an answer; nothing is lost."""
    server = fresh()
    folder = notes(server)
    number = server.submit(chain(folder, n=2, nap=1 if busy else 600))
    until("the first step to run", lambda: lines(folder / "ran"))
    hung = [server.postmaster()]
    hung += [pid for pid in processes(str(server.data)) if parent(pid) == hung[0]]
    for pid in hung:
        kill(pid, signal.SIGSTOP)
    try:
        if busy:
            until("the step to end", lambda: lines(folder / "ended"))
        server.process.terminate()
        assert server.process.wait(40) == 0
        server.process = None
    finally:
        for pid in hung:
            kill(pid, signal.SIGCONT)
    server.start()
    if busy:
        assert server.ended(number)["state"] == "succeeded"
        assert lines(folder / "ran") == ["s0", "s1"]
    else:
        assert server.run(number)["state"] == "running"


@pytest.mark.parametrize("moment", [0, 0.1, 0.3])
def test_killed_while_its_database_is_made(fresh, moment):
    """Whoever starts next makes it anew, and what was half made goes."""
    server = fresh(start=False)
    server.start(wait=False)
    until("the database to be on its way", lambda: list(server.data.glob("postgres/data.new*")))
    time.sleep(moment)
    server.crash()
    server.start()
    assert server.stop() == 0
    server.start()
    assert not list(server.data.glob("postgres/data.new*"))


def parent(pid):
    try:
        return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return None


def test_killed_under_a_step_that_ends_meanwhile(fresh):
    """A step outlives the server; its end is handed back, and it is not run again."""
    server = fresh()
    folder = notes(server)
    number = server.submit(chain(folder, n=3, nap=1))
    until("the first step to run", lambda: lines(folder / "ran"))
    server.crash()
    until("the step to end without a server", lambda: lines(folder / "ended"))
    server.start()
    assert server.ended(number)["state"] == "succeeded"
    assert lines(folder / "ran") == ["s0", "s1", "s2"]
    assert [t["attempt"] for t in server.tasks(number).values()] == [1, 1, 1]


@pytest.mark.parametrize("orderly", [True, False])
@pytest.mark.parametrize("ends", ["before", "after"])
def test_a_step_outlives_its_secret(fresh, orderly, ends):
    """Its secret is gone when the server comes back, before or after the step's end: it is not ended for that, nor
    run again, and what it wrote is covered. A step that is launched only now is refused."""
    server = fresh()
    folder = notes(server)
    secret = server.data / "secrets/default/k"
    secret.parent.mkdir(parents=True)
    secret.write_text("sesame-4711")
    env = "env: {T: {secret: {file: k}}}"
    number = server.submit(pipeline(
        f"s: {{{env}, retry: {{limit: 3}}, outputs: {{o: {{type: string, path: o}}}}, run: 'echo $T; echo s >> "
        f"{folder}/ran; until test -e {folder}/go; do sleep 0.05; done; echo $T; echo fine > o; echo s >> "
        f"{folder}/ended'}}",
        f"late: {{needs: [s], {env}, run: 'true'}}"))
    until("the step to run", lambda: lines(folder / "ran"))
    if orderly:
        server.stop()
    else:
        server.crash()
    secret.rename(server.home / "k")
    if ends == "before":
        (folder / "go").touch()
        until("the step to end without a server", lambda: lines(folder / "ended"))
    server.start()
    (folder / "go").touch()
    assert server.ended(number)["state"] == "failed"
    tasks = server.tasks(number)
    assert tasks["s"]["state"] == "succeeded" and tasks["s"]["attempt"] == 1, tasks["s"]
    assert tasks["late"]["state"] == "failed" and "secret 'k'" in tasks["late"]["message"], tasks["late"]
    covered = b"*" * len("sesame-4711") + b"\n"
    assert (server.data / f"logs/{number}/0-1.log").read_bytes() == 2 * covered
    (server.home / "k").rename(secret)
    assert server.post(f"/api/v1/runs/{number}:retry", {}).status in (200, 202)
    until("the retry to end", lambda: server.run(number)["state"] == "succeeded")
    assert lines(folder / "ran") == ["s"]


def test_killed_many_times(fresh):
    server = fresh()
    folder = notes(server)
    number = server.submit(chain(folder, n=6, nap=0.1))
    for count in range(1, 5):
        until("a further step", lambda: len(lines(folder / "ran")) > count)
        server.crash()
        server.start()
    assert server.ended(number)["state"] == "succeeded"
    assert sorted(set(lines(folder / "ended"))) == [f"s{i}" for i in range(6)]
    assert len(lines(folder / "ended")) == 6


def test_stopped_and_started(fresh):
    """SIGTERM ends the server and its database in order; the run goes on afterwards."""
    server = fresh()
    folder = notes(server)
    number = server.submit(chain(folder, n=4, nap=0.4))
    until("the first step to run", lambda: lines(folder / "ran"))
    assert server.stop() == 0
    assert server.postmaster() is None
    server.start()
    assert server.ended(number)["state"] == "succeeded"
    assert sorted(set(lines(folder / "ended"))) == ["s0", "s1", "s2", "s3"]


def test_database_killed(fresh):
    """The database dies under the server: it is brought up again, and nothing is lost."""
    server = fresh()
    folder = notes(server)
    number = server.submit(chain(folder, n=5, nap=0.3))
    until("the first step to run", lambda: lines(folder / "ran"))
    old = server.postmaster()
    kill(old, signal.SIGKILL)
    assert server.ended(number)["state"] == "succeeded"
    assert lines(folder / "ran") == [f"s{i}" for i in range(5)]
    assert server.postmaster() != old


@pytest.mark.parametrize("also_database", [False, True])
def test_one_postmaster_whatever_was_killed(fresh, also_database):
    """The database outlives the server, or was killed without the chance to remove its traces: the next server has one
    on the folder, with all that was written."""
    server = fresh()
    number = server.submit(pipeline("one: {run: 'true'}"))
    assert server.ended(number)["state"] == "succeeded"
    for _ in range(3):
        old = server.postmaster()
        server.crash()
        if also_database:
            kill(old)
        else:
            assert old in processes(str(server.data)), "the database goes on without its server"
        server.start()
        assert server.run(number)["state"] == "succeeded"
        alive = [pid for pid in processes(str(server.data)) if is_postmaster(pid)]
        assert alive == [server.postmaster()]


def is_postmaster(pid):
    try:
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return words[0].endswith(b"/postgres") and b"-D" in words


@pytest.fixture(name="database")
def shared_database():
    made = Database()
    yield made.start()
    made.remove()


def test_database_away_for_a_while(fresh, database):
    """Longer than any patience of a connection: it costs the time that it is away, and nothing else. MILLRACE_OUTAGE=60
    makes it the minute."""
    outage = float(os.environ.get("MILLRACE_OUTAGE", "8"))
    server = fresh("--database-url", database.url)
    folder = notes(server)
    number = server.submit(pipeline(
        f"short: {{run: 'echo short >> {folder}/ran; sleep 2; echo short >> {folder}/ended'}}",
        f"after: {{needs: [short], run: 'echo after >> {folder}/ran'}}",
        f"long: {{run: 'echo long >> {folder}/ran; until test -e {folder}/back; do sleep 0.1; done; "
        f"echo long >> {folder}/ended'}}",
        "timer: {wait: 3s}", f"late: {{needs: [timer], run: 'echo late >> {folder}/ran'}}"))
    until("both steps to run", lambda: len(lines(folder / "ran")) == 2)
    server.wait_task(number, "timer", "waiting")
    process, end = server.process.pid, time.monotonic() + outage
    database.crash()
    until("the server to notice", lambda: server.get("/readyz").status == 503)
    while time.monotonic() < end:
        for answer in (server.get(f"/api/v1/runs/{number}"), server.get("/api/v1/runs"), server.get("/readyz"),
                       server.post("/api/v1/runs", {"source": pipeline("no: {expr: '1'}")})):
            assert answer.status == 503 and answer.headers["Retry-After"], (answer, answer.headers)
        assert server.get("/healthz").status == 200
        time.sleep(0.2)
    assert lines(folder / "ended") == ["short"] and len(lines(folder / "ran")) == 2
    database.start()
    (folder / "back").touch()
    run = server.ended(number)
    assert run["state"] == "succeeded" and server.process.pid == process and server.process.poll() is None
    assert sorted(lines(folder / "ran")) == ["after", "late", "long", "short"]
    assert sorted(lines(folder / "ended")) == ["long", "short"]
    assert {t["attempt"] for t in server.tasks(number).values()} == {1}
    until("the server to be ready", lambda: server.get("/readyz").status == 200)


def test_everything_killed(fresh):
    """Server, launcher, steps and database at once, as when the machine loses power: the step is run again."""
    server = fresh()
    folder = notes(server)
    number = server.submit(chain(folder, n=3, nap=1))
    until("the first step to run", lambda: lines(folder / "ran"))
    server.crash()
    for pid in processes(str(server.data)):
        kill(pid, signal.SIGKILL)
    server.start()
    assert server.ended(number)["state"] == "succeeded"
    assert lines(folder / "ended") == ["s0", "s1", "s2"]


def test_cancel_leaves_no_process(fresh):
    server = fresh()
    marker = f"orphan-{os.getpid()}-{server.port}"
    number = server.submit(pipeline(
        f"tree: {{run: 'export MARK={marker}; trap \"\" TERM; (setsid sleep 300 &) ; sleep 300'}}"))
    until("the tree to stand", lambda: len(processes(f"MARK={marker}")) >= 2)
    server.cli("cancel", number, "--grace", "1s")
    assert server.ended(number)["state"] == "cancelled"
    until("the tree to be gone", lambda: not processes(f"MARK={marker}"))


def test_a_cancel_keeps_its_grace_when_the_server_is_killed(fresh):
    server = fresh("--grace", "500ms")
    number = server.submit(pipeline(
        "stubborn: {run: 'trap \"\" TERM; for i in $(seq 900); do echo $i; sleep 0.2; done'}",
        name="stubborn") + "onExit:\n  tell: {run: 'true'}\n")

    def said():
        return len(server.get(f"/api/v1/runs/{number}/tasks/stubborn/logs").body.split())

    until("it to be deaf to TERM", said)
    for _ in range(2):
        assert server.post(f"/api/v1/runs/{number}:cancel", {"grace": "10m"}).status == 202
        server.wait_task(number, "stubborn", "stopping")
    server.wait_task(number, "tell", "cancelled")  # the second one stops the onExit steps, too
    server.crash()
    server.start()
    before = said()
    until("it to go on for longer than the server's own grace", lambda: said() > before + 5)
    assert server.post(f"/api/v1/runs/{number}:cancel", {"grace": "0s"}).status == 202
    assert server.ended(number)["state"] == "cancelled"
    told = server.tasks(number)["tell"]
    assert told["state"] == "cancelled" and told["attempt"] == 0


def training(folder, trap="sleep 1; echo saved >> {0}/said; exit 1"):
    """A shell's child that saves what it has when it is told to stop; the shell dies of the signal at once."""
    script = folder / "train"
    script.write_text(f"trap 'echo told >> {folder}/said; {trap.format(folder)}' TERM\n"
                      f"echo began >> {folder}/said\nwhile :; do sleep 0.05; done\n")
    return f"sh {script} && echo more"


@pytest.mark.parametrize("how", ["cancel", "crash", "timeout"])
def test_what_a_step_started_has_its_grace(fresh, how):
    server = fresh("--grace", "60s")
    folder = notes(server)
    late = how == "timeout"
    number = server.submit(pipeline(f"train: {{timeout: {'4s' if late else 0}, run: '{training(folder)}'}}"))
    until("it to run", lambda: lines(folder / "said")[:1] == ["began"])
    if not late:
        assert server.post(f"/api/v1/runs/{number}:cancel", {}).status == 202
        until("it to be told", lambda: lines(folder / "said")[1:2] == ["told"])
    if how == "crash":
        server.crash()
        server.start()
    assert server.ended(number)["state"] == ("failed" if late else "cancelled")
    assert lines(folder / "said") == ["began", "told", "saved"]
    assert server.tasks(number)["train"]["reason"] == ("Timeout" if late else "Cancelled")


def test_what_a_step_started_is_killed_after_its_grace(fresh):
    server = fresh()
    folder = notes(server)
    number = server.submit(pipeline(f"train: {{run: '{training(folder, 'true')}'}}"))
    until("it to run", lambda: lines(folder / "said") == ["began"])
    server.cli("cancel", number, "--grace", "1s")
    assert server.ended(number)["state"] == "cancelled"
    assert not processes(str(folder / "train")) and lines(folder / "said") == ["began", "told"]


def test_timeout_kills_with_children(server):
    marker = f"late-{os.getpid()}"
    number = server.submit(pipeline(
        f"late: {{timeout: 1s, run: 'export MARK={marker}; (setsid sleep 300 &) ; sleep 300'}}"))
    assert server.ended(number)["state"] == "failed"
    task = server.tasks(number)["late"]
    assert "time" in (task["reason"] + task.get("message", "")).lower()
    until("the tree to be gone", lambda: not processes(f"MARK={marker}"))


def test_second_server_on_the_same_data_is_refused(server):
    other = Server()
    try:
        other.data = server.data
        other.start(wait=False)
        assert other.process.wait(30) != 0
        other.process = None
    finally:
        other.data = pathlib.Path(other.home) / "none"
        other.remove()
    assert server.get("/readyz").status == 200


def test_backup_by_client_programs_alone(tmp_path):
    """A machine without PostgreSQL's server can make one; where these lack, too, that is said, and nothing is done."""
    database, bin_dir = Database(), tmp_path / "bin"
    server = Server("--database-url", database.url)
    bin_dir.mkdir()
    for name in ("pg_dump", "pg_restore"):
        (bin_dir / name).symlink_to(database.bin / name)
    words = ["--data-dir", server.data, "--database-url", database.url]
    env = {"MILLRACE_POSTGRES_BIN_DIR": str(bin_dir)}
    try:
        database.start()
        server.start()
        server.cli("backup", tmp_path / "saved", *words, env=env)
        (bin_dir / "pg_restore").unlink()
        for command, folder in (("backup", "more"), ("restore", "saved")):
            words[1] = server.data if command == "backup" else tmp_path / "new"
            lacks = server.cli(command, tmp_path / folder, *words, env=env, expect=None)
            assert lacks.returncode != 0 and f"there are no pg_dump and pg_restore in {bin_dir}" in lacks.stderr, lacks
            assert "client programs" in lacks.stderr and "on a machine that has them" in lacks.stderr, lacks
        assert sorted(one.name for one in tmp_path.iterdir()) == ["bin", "saved"]
    finally:
        server.remove()
        database.remove()


def test_backup_and_restore(fresh):
    server = fresh()
    number = server.submit(pipeline("keep: {run: echo precious > a.txt, outputs: {a: {artifact: text, path: a.txt}}}",
                                    "twice: {run: 'echo try $MILLRACE_ATTEMPT; test $MILLRACE_ATTEMPT = 2', retry: "
                                    "{limit: 2, backoff: 10ms}}"))
    assert server.ended(number)["state"] == "succeeded"
    go = server.home / "go"
    held = server.submit(pipeline("held: {run: 'test $MILLRACE_ATTEMPT = 2 || "
                                  f"until test -e {go}; do sleep .1; done'}}"))
    until("it to run", lambda: server.tasks(held)["held"]["state"] == "running")
    told = server.cli("backup", server.home / "saved", "--data-dir", server.data)
    assert "logs" in told.stderr, told
    assert (server.home / "saved").stat().st_mode & 0o77 == 0
    later = server.submit(pipeline("later: {run: echo not in the backup}"))
    assert server.ended(later)["state"] == "succeeded"
    assert server.stop() == 0
    used = server.cli("restore", server.home / "saved", "--data-dir", server.data, "--store-dir",
                      server.home / "second", expect=7)
    assert "is a server's data folder" in used.stderr and not (server.home / "second").exists()
    go.touch()
    until("it to end", lambda: not processes(str(go)))
    server.data.rename(server.home / "lost")
    refused = server.cli("restore", server.home / "lost", "--data-dir", server.data, expect=3)
    assert "holds no complete backup" in refused.stderr and not server.data.exists()
    manifest = server.home / "saved/logs.manifest"
    manifest.rename(server.home / "away")
    failed = server.cli("restore", server.home / "saved", "--data-dir", server.data, expect=None)
    assert failed.returncode != 0 and "logs.manifest" in failed.stderr and (server.data / "blobs").exists()
    (server.home / "away").rename(manifest)
    told = server.cli("restore", server.home / "saved", "--data-dir", server.data)
    assert "an installation of its own" in told.stderr and "kubectl" not in told.stderr
    used = server.cli("restore", server.home / "saved", "--data-dir", server.home / "second",
                      "--store-dir", server.data, expect=7)
    assert "is in use by another database" in used.stderr and not (server.home / "second").exists()
    server.start()
    assert server.run(number)["state"] == "succeeded"
    # What ran at the backup is lost with its launcher, which counts as none of its own tries.
    assert server.ended(held)["state"] == "succeeded" and server.tasks(held)["held"]["attempt"] == 2
    server.cli("artifacts", "get", f"{number}/keep/a", "-O", server.home / "a.txt")
    assert (server.home / "a.txt").read_text() == "precious\n"
    for attempt in (1, 2):
        logs = server.get(f"/api/v1/runs/{number}/tasks/twice/logs?attempt={attempt}")
        assert logs.status == 200 and logs.body.decode() == f"try {attempt}\n", logs
    # The number of a run that came after the backup is given again: what that one wrote is not there.
    again = server.submit(pipeline("later: {run: echo fresh}"))
    assert again == later and server.ended(again)["state"] == "succeeded"
    assert server.get(f"/api/v1/runs/{again}/tasks/later/logs").body.decode() == "fresh\n"
