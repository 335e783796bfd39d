"""Kills the server, its database, or both with SIGKILL at random moments of running DAGs, first one server with its
private database, then two schedulers that contend for shards of a shared one. Afterwards the record must be as if
nothing had happened: every run succeeded, every step succeeded exactly once, no step that had ended ran again, no
process is left.

Each step notes `begin RUN PATH ATTEMPT` and `end RUN PATH ATTEMPT` in a file that nobody else writes, so what really
ran is known beside what the record says. The seed is printed; it fixes the DAGs and the moments, not the timing."""
import argparse
import collections
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from harness import FINAL, Database, Server, kill, processes, until  # noqa: E402


def random_pipeline(rng, notes, name):
    """A DAG of shell steps, a loop and steps without a process among them; every process step writes its notes."""
    def note(nap):
        return (f"printf \"begin %s %s %s\\n\" $MILLRACE_RUN $MILLRACE_PATH $MILLRACE_ATTEMPT >> {notes}; sleep {nap}; "
                f"printf \"end %s %s %s\\n\" $MILLRACE_RUN $MILLRACE_PATH $MILLRACE_ATTEMPT >> {notes}")

    lines = ["apiVersion: millrace/v1", "kind: Pipeline", f"name: {name}", "steps:"]
    count = rng.randint(6, 14)
    for i in range(count):
        needs = [f"s{j}" for j in range(i) if rng.random() < 2.0 / (i + 1)]
        lines.append(f"  s{i}:")
        if needs:
            lines.append(f"    needs: [{', '.join(needs)}]")
        kind = rng.random()
        if kind < 0.15:
            lines.append("    expr: ${{ 1 + 1 }}")
            continue
        if kind < 0.3:
            lines.append(f"    foreach: [{', '.join(map(str, range(rng.randint(2, 5))))}]")
        lines.append(f"    run: '{note(round(rng.uniform(0, 0.4), 2))}'")
    return "\n".join(lines) + "\n"


class Load(threading.Thread):
    """Keeps some runs going, whatever happens to the servers."""

    def __init__(self, servers, notes, seed, width):
        super().__init__(daemon=True)
        self.servers, self.notes, self.width = servers, notes, width
        self.rng = random.Random(seed)
        self.runs, self.enough, self.wrong, self.count = {}, threading.Event(), None, 0

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
                    source = random_pipeline(self.rng, self.notes, f"dag-{self.count}")
                    answer = self.ask("POST", "/api/v1/runs", {"source": source}, {"Idempotency-Key": f"k{self.count}"})
                    assert answer.status in (200, 201), answer
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
    wrong = []
    begins, ends = collections.Counter(), collections.Counter()
    for line in notes.read_text().splitlines():
        kind, run, path, attempt = line.split()
        (begins if kind == "begin" else ends)[(int(run), path, int(attempt))] += 1
    steps = repeated = 0
    for number, run in sorted(load.runs.items()):
        if run["state"] != "succeeded":
            wrong.append(f"run {number} is {run['state']}: {run.get('message')}")
        history = events(server, number)
        if [e["seq"] for e in history] != list(range(1, len(history) + 1)):
            wrong.append(f"run {number}: its history has gaps")
        wrong += [f"run {number} {line}" for line in check_history(history)]
        tasks = server.tasks(number)
        loops = {task.get("parent") for task in tasks.values()}
        for path, task in tasks.items():
            if task["state"] != "succeeded":
                wrong.append(f"run {number} {path} is {task['state']}: {task.get('message')}")
            if sum(e["kind"] == "task.succeeded" and e["task"] == task["task"] for e in history) != 1:
                wrong.append(f"run {number} {path} has not one record of success")
            if task["verb"] != "run" or task["task"] in loops:
                continue
            steps += 1
            repeated += task["attempt"] > 1
            if ends[(number, path, task["attempt"])] != 1:
                wrong.append(f"run {number} {path}: attempt {task['attempt']} is recorded, and "
                             f"{ends[(number, path, task['attempt'])]} ended")
    wrong += [f"began {n} times: run {key[0]} {key[1]}, attempt {key[2]}" for key, n in begins.items() if n > 1]
    strangers = {key[0] for key in begins} - set(load.runs)
    if strangers:
        wrong.append(f"runs that nobody knows: {sorted(strangers)}")
    listed = server.get("/api/v1/runs?page_size=1000").json["items"]
    if len(listed) != len(load.runs) and len(listed) < 1000:
        wrong.append(f"{len(listed)} runs in the record, {len(load.runs)} were started")
    print(f"   {len(load.runs)} runs, {steps} process steps, {repeated} of them needed another attempt", flush=True)
    return wrong


def check_history(history):
    """After its success a task has no further start."""
    done = set()
    for event in history:
        if event["kind"] in ("task.started", "task.succeeded") and event["task"] in done:
            yield f"task {event['task']}: {event['kind']} after its success"
        if event["kind"] == "task.succeeded":
            done.add(event["task"])


def leftovers(home):
    """Processes of ours but the launcher, which stays a while for a server to come back."""
    found = []
    for pid in processes(str(home)):
        try:
            line = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "launcher" not in line:
            found.append((pid, line[:120]))
    return found


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


def contending(kills, seed):
    """Two servers over one database: each owns some shards, and takes the other's when it dies. Each has a launcher of
    its own, so a step of a server that died is run again by the other, as a further attempt; its end counts for
    nothing."""
    rng = random.Random(seed)
    database = Database()
    first = Server("--cpus", "16", "--memory", "64Gi", "--database-url", database.url)
    second = Server("--cpus", "16", "--memory", "64Gi", "--database-url", database.url, "--role", "scheduler")
    for server in (first, second):
        server.home.chmod(0o711)
    notes = first.home / "notes"
    try:
        notes.touch()
        notes.chmod(0o666)
        database.start()
        first.start()
        second.start(wait=False)
        load = Load([first], notes, seed, 6)
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
    options.add_argument("--only", choices=["alone", "contending"])
    o = options.parse_args()
    parts = [("alone", alone, o.kills // 2), ("contending", contending, o.kills - o.kills // 2)]
    failed = 0
    for name, part, kills in parts:
        if o.only and o.only != name:
            continue
        kills = o.kills if o.only else kills
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
