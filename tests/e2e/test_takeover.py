"""Two servers over one database and one store, each with a data folder of its own: both know what the other keeps, and
what becomes of a running step when its server dies, for a moment or for good."""
import signal

import pytest
from harness import Database, Server, kill, processes, until
from test_cli import pipeline

SHARDS = 64


@pytest.fixture(name="pair")
def two_servers():
    """pair(options…) makes two servers over one database and starts the first."""
    database, servers = Database(), []

    def make(*options):
        database.start()
        servers.extend(Server("--database-url", database.url, *options) for _ in range(2))
        for server in servers:
            server.options += ["--store-dir", str(servers[0].home / "store")]
        servers[0].start()
        return servers

    make.database = database
    yield make
    for server in servers:
        server.remove()
    database.remove()


def test_what_either_keeps_is_there_for_both(pair):
    """Code, logs and artifacts of a run, whichever of the two it was sent to and whichever carries it."""
    first, second = pair()
    second.start()
    until("both to have shards", lambda: owned(first) and owned(second))
    code = first.home / "code"
    code.mkdir()
    (code / "pipeline.yaml").write_text(pipeline(
        "make: {run: cat note | tee out, outputs: {o: {artifact: text, path: out}}}", name="kept"))
    (code / "note").write_text("kept\n")
    second.cli("apply", "-f", code)
    runs = [server.post("/api/v1/runs", {"pipeline": "kept"}).json["id"] for server in (first, second) * 8]
    for number in runs:
        assert first.ended(number)["state"] == "succeeded"
        for server in (first, second):
            logs = server.get(f"/api/v1/runs/{number}/tasks/make/logs")
            assert (logs.status, logs.body) == (200, b"kept\n")
            made = server.cli("artifacts", "get", f"{number}/make/o", "-O", "-")
            assert made.stdout == "kept\n"


@pytest.mark.parametrize("store, said", [("data", "not the store of this database"), ("gone", "--store-dir")])
def test_a_server_without_the_store_is_refused(pair, store, said):
    """It would lose what the others keep, and they what it keeps."""
    _, second = pair()
    second.options[-1] = str(second.home / store)
    second.start(wait=False)
    assert second.process.wait(60) != 0
    second.process = None
    assert said in second.tail()


def test_either_covers_what_the_other_gave(pair):
    """The secrets are the store's, as the logs are."""
    first, second = pair()
    folder = first.home / "store" / "secrets"
    (folder / "default").mkdir(parents=True)
    (folder / "default" / "KEY").write_text("sesame-4711")
    second.start()
    number = first.submit(pipeline("a: {env: {KEY: {secret: {file: KEY}}}, run: 'echo $KEY; sleep 600'}"))
    written = first.home / "store" / "logs" / str(number) / "0-1.log"
    until("the log", lambda: written.exists() and b"4711" in written.read_bytes())
    for server in (second, first):
        assert server.get(f"/api/v1/runs/{number}/tasks/a/logs").body == b"*" * 11 + b"\n"
    first.post(f"/api/v1/runs/{number}:cancel")


def test_a_server_with_other_secrets_is_refused(pair):
    """It would show what it does not know; once it is alone it may bring a folder of its own."""
    first, second = pair()
    theirs, ours = first.home / "store" / "secrets", second.home / "keys"
    second.options += ["--secrets-dir", str(ours)]
    second.start(wait=False)
    assert second.process.wait(60) != 0
    second.process = None
    assert str(theirs) in second.tail() and str(ours) in second.tail() and "--secrets-dir" in second.tail()
    assert first.stop() == 0
    second.start(wait=False)
    until("it to work", lambda: owned(second))


def noted(server, script):
    """A pipeline of one step that notes each beginning in a file; $count is how many there were."""
    notes = server.home / "notes"
    notes.mkdir()
    notes.chmod(0o777)
    server.home.chmod(0o711)
    source = pipeline(f"long: {{run: 'echo $$ >> {notes}/begun; count=$(wc -l < {notes}/begun); {script}'}}")
    return source.replace("NOTES", str(notes)), notes


def lines(path):
    return path.read_text().split() if path.exists() else []


def owned(server):
    """How often a server says that it took shards, by its log."""
    return server.log.read_text().count("shards acquired")


def test_a_server_that_comes_back_keeps_its_steps(pair):
    """The step ends while its server is dead and another works; it is not run again, and the other does not wait for
    more than that step's shard."""
    first, second = pair()
    source, notes = noted(first, "sleep 2; echo yes >> NOTES/ended")
    number = first.submit(source)
    until("the step to run", lambda: lines(notes / "begun"))
    second.start()
    first.crash()
    until("the step to end without its server", lambda: lines(notes / "ended"))
    until("the other to work", lambda: owned(second))
    other = second.submit(pipeline("quick: {expr: '1 + 1'}"))
    assert second.ended(other)["state"] == "succeeded"
    assert second.run(number)["state"] == "running"
    first.start()
    assert first.ended(number)["state"] == "succeeded"
    assert first.tasks(number)["long"]["attempt"] == 1
    assert len(lines(notes / "begun")) == 1


def test_a_server_that_stays_away_loses_its_steps(pair):
    """After the time that --takeover gives, the other runs the step anew; what the first one's launcher still runs is
    killed when its server is back."""
    first, second = pair("--takeover", "1s")
    source, notes = noted(first, 'if [ $count = 1 ]; then sleep 600; fi')
    number = first.submit(source)
    until("the step to run", lambda: lines(notes / "begun"))
    old = int(lines(notes / "begun")[0])
    second.start()
    first.crash()
    assert second.ended(number)["state"] == "succeeded"
    task = second.tasks(number)["long"]
    assert task["attempt"] == 2
    assert old in processes(str(first.data)), "the launcher keeps it while nobody says otherwise"
    first.start()
    until("the superseded attempt to be gone", lambda: old not in processes(str(first.data)))
    assert second.tasks(number)["long"] == task
    work = first.data / "work"
    until("its working directory to be gone", lambda: not list(work.glob(f"{number}-*")))


def give_secret(server, value):
    folder = server.home / "store/secrets/default"
    folder.mkdir(exist_ok=True)
    (folder / "k").write_text(value)


@pytest.mark.parametrize("ends", [True, False])
def test_what_a_superseded_step_wrote_is_covered(pair, ends):
    """Its server comes back to an attempt that counts no more, ended or not. The secret has changed meanwhile."""
    first, second = pair("--takeover", "1s")
    give_secret(first, "sesame-4711")
    number = first.submit(pipeline(
        f"s: {{env: {{T: {{secret: {{file: k}}}}}}, run: 'if [ $MILLRACE_ATTEMPT = 1 ]; then until test -e "
        f"{first.home}/go; do echo $T; sleep 0.1; done; fi'}}"))
    log = first.home / f"store/logs/{number}/0-1.log"
    until("the step to write", lambda: log.exists() and log.read_bytes())
    second.start()
    give_secret(first, "another")
    first.crash()
    assert second.ended(number)["state"] == "succeeded"
    work, = (first.data / "work").glob(f"{number}-0-1-*")
    if ends:
        (first.home / "go").touch()
        until("the step to end", lambda: not processes(f"MILLRACE_ATTEMPT_ID={number}-0-1"))
    assert b"sesame" in log.read_bytes()  # also where the other server has covered what there was
    first.start()
    until("the attempt to be forgotten", lambda: not work.exists())
    assert b"*" * len("sesame-4711") in log.read_bytes() and b"sesame" not in log.read_bytes()


def test_a_stopped_server_loses_its_shards(pair):
    """It is not dead, and its session is open: the other waits as long, and then works for both."""
    first, second = pair("--takeover", "1s")
    second.start()
    until("both to have shards", lambda: owned(first) and owned(second))
    kill(first.process.pid, signal.SIGSTOP)
    runs = [second.submit(pipeline("quick: {expr: '1 + 1'}")) for _ in range(8)]
    for number in runs:
        assert second.ended(number)["state"] == "succeeded"
    kill(first.process.pid, signal.SIGCONT)
    until("the first to be back", lambda: owned(first) > 1)
    assert first.ended(first.submit(pipeline("quick: {expr: '1 + 1'}")))["state"] == "succeeded"


def test_both_lose_their_database_for_a_moment(pair):
    """Whichever is back first leaves the other's steps alone."""
    first, second = pair()
    source, notes = noted(first, "sleep 4; echo yes >> NOTES/ended")
    number = first.submit(source)
    until("the step to run", lambda: lines(notes / "begun"))
    second.start()
    until("the other to work", lambda: owned(second))
    kill(first.process.pid, signal.SIGSTOP)  # the other is back first for sure
    pair.database.crash()
    pair.database.start()
    until("the other to be back", lambda: owned(second) > 1)
    assert f"owned={SHARDS - 1}" in second.log.read_text()
    kill(first.process.pid, signal.SIGCONT)
    assert first.ended(number)["state"] == "succeeded"
    assert first.tasks(number)["long"]["attempt"] == 1
    assert len(lines(notes / "begun")) == 1
