"""Kills the server, its database, or both with SIGKILL at random moments of running DAGs: one server with its private
database; two servers that share database and data folder, of which one stands by for the other; two servers that
share database and store, each with a launcher of its own, and contend for shards. Afterwards the record must be as if
nothing had happened: every run succeeded, every step succeeded exactly once, nothing that had begun was begun again,
no process is left.

Each step notes `begin RUN PATH ATTEMPT` and `end RUN PATH ATTEMPT` in a file that nobody else writes, so what really
ran, how often and in which order, is known beside what the record says. The seed is printed; it fixes the DAGs and
the moments, not the timing."""
import argparse
import collections
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from harness import FINAL, Database, Server, kill, processes, until  # noqa: E402


class Dag:
    """A random one of shell steps, loops and steps without a process; every process step writes its notes."""

    def __init__(self, rng, notes, name):
        self.needs = {}  # step → steps
        self.paths = {}  # step → what runs of it as a process; empty: nothing does
        self.notes = notes
        lines = ["apiVersion: millrace/v1", "kind: Pipeline", f"name: {name}", "steps:"]
        for i in range(rng.randint(6, 14)):
            lines += self.step(rng, i)
        self.source = "\n".join(lines) + "\n"

    def step(self, rng, i):
        name = f"s{i}"
        needs = self.needs[name] = [f"s{j}" for j in range(i) if rng.random() < 2.0 / (i + 1)]
        yield f"  {name}:"
        if needs:
            yield f"    needs: [{', '.join(needs)}]"
        kind = rng.random()
        self.paths[name] = [name]
        if kind < 0.15:
            self.paths[name] = []
            yield "    expr: ${{ 1 + 1 }}"
            return
        if kind < 0.3:
            items = range(rng.randint(2, 5))
            self.paths[name] = [f"{name}[{item}]" for item in items]
            yield f"    foreach: [{', '.join(map(str, items))}]"
        yield f"    run: '{self.note('begin')}; sleep {round(rng.uniform(0, 0.4), 2)}; {self.note('end')}'"

    def note(self, word):
        return f"printf \"{word} %s %s %s\\n\" $MILLRACE_RUN $MILLRACE_PATH $MILLRACE_ATTEMPT >> {self.notes}"


class Load(threading.Thread):
    """Keeps some runs going, whatever happens to the servers."""

    def __init__(self, servers, notes, seed, width):
        super().__init__(daemon=True)
        self.servers, self.notes, self.width = servers, notes, width
        self.rng = random.Random(seed)
        self.runs, self.dags, self.enough, self.wrong, self.count = {}, {}, threading.Event(), None, 0

    def ask(self, method, path, body=None, headers=None):
        """Any server's answer, once there is one."""
        while True:
            for server in self.servers:
                try:
                    answer = server.request(method, path, body, headers, patience=10)
                    if answer.status < 500:
                        return answer
                except (OSError, AttributeError, ValueError):
                    pass
            time.sleep(0.02)

    def run(self):
        try:
            active = set()
            while active or not self.enough.is_set():
                while len(active) < self.width and not self.enough.is_set():
                    self.count += 1
                    dag = Dag(self.rng, self.notes, f"dag-{self.count}")
                    answer = self.ask("POST", "/api/v1/runs", {"source": dag.source},
                                      {"Idempotency-Key": f"k{self.count}"})
                    assert answer.status in (200, 201), answer
                    assert answer.json["id"] not in self.dags, "two submissions became one run"
                    self.dags[answer.json["id"]] = dag
                    active.add(answer.json["id"])
                for number in list(active):
                    answer = self.ask("GET", f"/api/v1/runs/{number}")
                    assert answer.status == 200, answer
                    if answer.json["state"] in FINAL:
                        self.runs[number] = answer.json
                        active.discard(number)
                time.sleep(0.05)
        except Exception as wrong:  # shown by whoever waits for us
            self.wrong = wrong


def random_moment(rng, notes, load):
    """Mostly once steps have begun or ended since the last kill, now and then at any time, start-up included."""
    if rng.random() < 0.8:
        size, end = notes.stat().st_size, time.monotonic() + 20
        while notes.stat().st_size == size and time.monotonic() < end and not load.wrong:
            time.sleep(0.005)
    time.sleep(rng.uniform(0, 0.4))


def finish(load, patience):
    load.enough.set()
    load.join(patience)
    if load.wrong:
        raise load.wrong
    assert not load.is_alive(), "runs did not end after the last kill"


def events(server, number):
    found, after = [], 0
    while True:
        items = server.get(f"/api/v1/runs/{number}/events?after={after}&page_size=1000").json["items"]
        if not items:
            return found
        found += items
        after = items[-1]["seq"]


def check(server, load, notes):
    """Holds the record against itself and against the notes; gives the complaints back."""
    lines = [(word, int(run), path, int(attempt)) for word, run, path, attempt in
             map(str.split, notes.read_text().splitlines())]
    wrong = list(check_notes(lines, load.dags))
    ended = {(run, path): attempt for word, run, path, attempt in lines if word == "end"}
    steps = repeated = 0
    for number, run in sorted(load.runs.items()):
        if run["state"] != "succeeded":
            wrong.append(f"run {number} is {run['state']}: {run.get('message')}")
        history = events(server, number)
        if [e["seq"] for e in history] != list(range(1, len(history) + 1)):
            wrong.append(f"run {number}: its history has gaps")
        tasks = server.tasks(number)
        wrong += [f"run {number} {line}" for line in check_history(history)]
        wrong += [f"run {number} {line}" for line in check_tasks(tasks, history, load.dags[number])]
        for path in (p for paths in load.dags[number].paths.values() for p in paths if p in tasks):
            steps += 1
            repeated += tasks[path]["attempt"] > 1
            if ended.get((number, path)) != tasks[path]["attempt"]:
                wrong.append(f"run {number} {path}: attempt {tasks[path]['attempt']} is recorded, and "
                             f"{ended.get((number, path))} ended")
    listed = server.get("/api/v1/runs?page_size=1000").json["items"]
    if len(listed) != len(load.runs) and len(listed) < 1000:
        wrong.append(f"{len(listed)} runs in the record, {len(load.runs)} were started")
    print(f"   {len(load.runs)} runs, {steps} process steps, {repeated} of them needed another attempt", flush=True)
    return wrong


def check_notes(lines, dags):
    """What the steps themselves wrote: each began and ended once, whatever the attempt, after all that it needs."""
    at = collections.defaultdict(list)  # (word, run, path) → places in the notes
    for place, (word, run, path, _) in enumerate(lines):
        at[word, run, path].append(place)
    known = {(run, path) for run, dag in dags.items() for paths in dag.paths.values() for path in paths}
    for run, path in sorted({(run, path) for _, run, path in at} - known):
        yield f"run {run} {path} ran, and nobody asked for it"
    for run, path in sorted(known):
        begun, ended = at["begin", run, path], at["end", run, path]
        if len(begun) != 1 or len(ended) != 1:
            yield f"run {run} {path} began {len(begun)} times and ended {len(ended)} times"
    for run, dag in dags.items():
        for step, needs in dag.needs.items():
            first = min((p for path in dag.paths[step] for p in at["begin", run, path]), default=len(lines))
            for need in needs:
                if any(p > first for path in dag.paths[need] for p in at["end", run, path]):
                    yield f"run {run} {step} began before {need}, which it needs, had ended"


def check_tasks(tasks, history, dag):
    """The record of one run: all its steps are there, and each succeeded once."""
    missing = ({path for paths in dag.paths.values() for path in paths} | set(dag.needs)) - set(tasks)
    for path in sorted(missing):
        yield f"{path} is not in the record"
    for path, task in tasks.items():
        if task["state"] != "succeeded":
            yield f"{path} is {task['state']}: {task.get('message')}"
        if sum(e["kind"] == "task.succeeded" and e["task"] == task["task"] for e in history) != 1:
            yield f"{path} has not one record of success"


def check_history(history):
    """After its success a task has no further start."""
    done = set()
    for event in history:
        if event["kind"] in ("task.started", "task.succeeded") and event["task"] in done:
            yield f"task {event['task']}: {event['kind']} after its success"
        if event["kind"] == "task.succeeded":
            done.add(event["task"])


def leftovers(home):
    """Processes of ours but one launcher, which stays a while for a server to come back."""
    found, launchers = [], []
    for pid in processes(str(home)):
        try:
            line = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        (launchers if "__launcher" in line else found).append((pid, line[:120]))
    return found + launchers[1:]


def alone(kills, seed):
    """One server that has its own database."""
    rng = random.Random(seed)
    server = Server("--cpus", "16", "--memory", "64Gi")
    notes = server.home / "notes"
    try:
        notes.touch()
        notes.chmod(0o666)
        server.start()
        load = Load([server], notes, seed, 6)
        load.start()
        done = collections.Counter()
        while sum(done.values()) < kills and not load.wrong:
            random_moment(rng, notes, load)
            what = rng.choice(["server", "database", "both", "server"])
            done[what] += 1
            postmaster = server.postmaster()
            if what != "server" and postmaster:
                kill(postmaster)
            if what != "database":
                server.crash()
                server.start(wait=rng.random() < 0.5)
        print(f"   killed: {dict(done)}", flush=True)
        until("the server to be ready", lambda: server.process.poll() is None)
        server.wait_ready()
        finish(load, 120)
        wrong = check(server, load, notes)
        if server.stop() != 0:
            wrong.append("the server did not stop in order")
        left = leftovers(server.home)
        return wrong + [f"left behind: {line}" for line in left]
    except AssertionError:
        print(server.tail())
        raise
    finally:
        server.remove()


def standing_by(kills, seed):
    """Two servers over one database and one data folder: one runs the steps, the other takes over its launcher when it
    dies, and hears from it what ended meanwhile."""
    options = ("--cpus", "16", "--memory", "64Gi")
    database = Database()
    first = Server(*options, "--database-url", database.url)
    second = Server(*options, "--database-url", database.url)
    second.data = first.data
    return pair(database, first, second, kills, seed)


def contending(kills, seed):
    """Two servers over one database and one store, each with a data folder and a launcher of its own: each owns some
    shards, and takes the other's when it dies, but for those in which steps run that only the other hears of: they wait
    for it."""
    options = ("--cpus", "16", "--memory", "64Gi")
    database = Database()
    first = Server(*options, "--database-url", database.url)
    second = Server(*options, "--database-url", database.url, "--role", "scheduler", "--store-dir", str(first.data))
    return pair(database, first, second, kills, seed)


def pair(database, first, second, kills, seed):
    rng = random.Random(seed)
    for server in (first, second):
        server.home.chmod(0o711)
    notes = first.home / "notes"
    try:
        notes.touch()
        notes.chmod(0o666)
        database.start()
        first.start()
        second.start(wait=False)
        load = Load([first] if "scheduler" in second.options else [first, second], notes, seed, 6)
        load.start()
        done = collections.Counter()
        while sum(done.values()) < kills and not load.wrong:
            random_moment(rng, notes, load)
            what = rng.choice(["first", "second", "both", "database", "all"])
            done[what] += 1
            if what in ("database", "all"):
                database.crash()
            for name, server in [("first", first), ("second", second)]:
                if what in (name, "both", "all"):
                    server.crash()
            if what in ("database", "all"):
                database.start()
            for server in (first, second):
                if server.process is None:
                    server.start(wait=False)
                elif server.process.poll() is not None:
                    raise AssertionError(f"serve ended by itself:\n{server.tail()}")
        print(f"   killed: {dict(done)}", flush=True)
        first.wait_ready()
        finish(load, 120)
        wrong = check(first, load, notes)
        for server in (second, first):
            if server.stop() != 0:
                wrong.append("a server did not stop in order")
        left = leftovers(first.home) + leftovers(second.home)
        return wrong + [f"left behind: {line}" for line in left]
    except AssertionError:
        print(first.tail(), second.tail())
        raise
    finally:
        second.remove()
        first.remove()
        database.remove()


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=300)
    options.add_argument("--seed", type=int, default=time.time_ns() % 1000000)
    options.add_argument("--only", choices=["alone", "standing_by", "contending"])
    o = options.parse_args()
    parts = [part for part in (alone, standing_by, contending) if o.only in (None, part.__name__)]
    kills = -(-o.kills // len(parts))
    failed = 0
    for part in parts:
        name = part.__name__
        print(f"-- {name}: {kills} kills, seed {o.seed}", flush=True)
        begun = time.monotonic()
        wrong = part(kills, o.seed)
        for line in wrong[:40]:
            print(f"   WRONG: {line}")
        failed += bool(wrong)
        print(f"   {name}: {'FAILED' if wrong else 'passed'} in {time.monotonic() - begun:.0f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
