"""Steps as Jobs beside Jobs created raw, by eight threads with a connection each, on the same cluster in the
same run and in turn. Times are those at which a watch of our own tells of an object."""
import argparse
import base64
import contextlib
import copy
import datetime
import http.client
import json
import os
import pathlib
import ssl
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from cluster import FAKE, Cluster, Namespace, job
from harness import PATIENCE, ROOT, Server, until  # found by cluster

RAW_THREADS = 8
ROUNDS = 6
SCALE_ROUNDS = 5
NOOP = ["/bin/true"]


class Api:
    """A connection of the caller's own to the API server."""

    def __init__(self, kubeconfig):
        config = json.loads(pathlib.Path(kubeconfig).read_text())
        user, cluster = config["users"][0]["user"], config["clusters"][0]["cluster"]
        self.host = cluster["server"].split("://")[1]
        with tempfile.TemporaryDirectory() as folder:
            def file(name, data):
                path = pathlib.Path(folder, name)
                path.write_bytes(base64.b64decode(data))
                return path
            self.context = ssl.create_default_context(cafile=file("ca", cluster["certificate-authority-data"]))
            self.context.load_cert_chain(file("crt", user["client-certificate-data"]),
                                         file("key", user["client-key-data"]))

    def connect(self):
        return http.client.HTTPSConnection(self.host, context=self.context, timeout=120)


def ask(connection, method, path, body=None):
    connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status < 400, (path, text)
    return text


class Watch(threading.Thread):
    """When each object was first seen and when it was gone, and each pod's end: name → seconds."""

    def __init__(self, api, path):
        super().__init__(daemon=True)
        self.api, self.path, self.owner, self.newest = api, path, {}, None
        self.seen, self.ended, self.gone, self.since = {}, {}, {}, ""
        self.opened = threading.Event()
        self.start()
        self.opened.wait()

    def run(self):
        """Goes on where it was when the API server ends it, as it does with who is slow; ends when there is none."""
        with contextlib.suppress(OSError):
            while True:
                connection = self.api.connect()
                connection.request("GET", f"{self.path}?watch=true{self.since}")
                answer = connection.getresponse()
                self.opened.set()
                with contextlib.suppress(TimeoutError):
                    self.hear(answer)

    def hear(self, answer):
        for line in answer:
            now, event = time.monotonic(), json.loads(line)
            found = event["object"]
            name = found["metadata"]["name"]
            self.since = f"&resourceVersion={found['metadata']['resourceVersion']}"
            if event["type"] == "DELETED":
                self.gone[name] = now
            if self.seen.setdefault(name, now) == now:
                self.newest = found
            self.owner[name] = found["metadata"].get("labels", {}).get("millrace.dev/task") or \
                found["metadata"].get("labels", {}).get("batch.kubernetes.io/job-name")
            status = found.get("status", {})
            states = [c.get("state", {}) for c in status.get("containerStatuses", [])]
            if status.get("phase") in ("Succeeded", "Failed") or any("terminated" in state for state in states):
                self.ended.setdefault(name, now)


def quiet(most=20):
    """Waits until the machine has cleaned up after what was measured before, which else would be in the next one's
    time: kubelet and kernel go on with it when the objects are gone. most: seconds, on a machine that is never quiet"""
    def idle():
        fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
        return fields[3] + fields[4], sum(fields[:8])

    end = time.monotonic() + most
    while time.monotonic() < end:
        before = idle()
        time.sleep(0.5)
        now = idle()
        if now[0] - before[0] > 0.8 * (now[1] - before[1]):
            return


class Bench:
    def __init__(self, jobs):
        self.cluster = Cluster()
        self.name = f"bench-{os.getpid()}"
        self.cluster.kubectl("create", "namespace", self.name)
        self.space = Namespace(self.cluster, self.name)
        self.api = Api(self.cluster.kubeconfig)
        self.jobs = jobs
        self.path = f"/apis/batch/v1/namespaces/{self.name}/jobs"
        self.seen_jobs = Watch(self.api, self.path)
        self.pods = Watch(self.api, f"/api/v1/namespaces/{self.name}/pods")
        self.server = Server("--executor", "kubernetes", "--kubeconfig", self.cluster.kubeconfig, "--kube-namespace",
                             self.name, "--kube-image", "localhost/busybox:1", "--kube-requests", "1000",
                             "--kube-jobs", "2000", "--log-level", "warn").start()
        self.count = 0
        self.rows = []

    def close(self):
        self.server.remove()
        self.cluster.kubectl("delete", "namespace", self.name, "--wait=false")

    # -- the raw side

    def sweep(self):
        """All Jobs and their pods, in two requests."""
        connection = self.api.connect()
        now = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "propagationPolicy": "Background"}
        for path in (self.path, f"/api/v1/namespaces/{self.name}/pods"):
            ask(connection, "DELETE", path, now)
        until("all to be gone", self.space.empty, 120)

    def bare(self, **spec):
        """The least that a Job says. spec: what else its pod's spec does"""
        made = job(self.name, "", "localhost/busybox:1", NOOP)
        made["spec"]["template"]["spec"].update(spec)
        return made

    def same(self, **spec):
        """A Job as Millrace writes it of a step, less what the API server added."""
        self.millrace_jobs(1, **spec)
        made = self.seen_jobs.newest
        template = made["spec"]["template"]
        for labels in (made["metadata"]["labels"], template["metadata"]["labels"]):
            labels["millrace.dev/instance"] = "bench"  # no server's: it would delete what nobody asked of it
            for added in ("controller-uid", "job-name"):
                labels.pop(added, None), labels.pop(f"batch.kubernetes.io/{added}", None)
        for added in ("terminationMessagePath", "imagePullPolicy", "resources"):
            template["spec"]["containers"][0].pop(added)
        for added in ("dnsPolicy", "schedulerName", "securityContext"):
            template["spec"].pop(added)
        written = {key: made["metadata"][key] for key in ("labels", "annotations")}
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": written,
                "spec": {"backoffLimit": 0, "podReplacementPolicy": "Failed", "template": template}}

    def raw_jobs(self, n, likeness):
        """Seconds until the pods of n Jobs like that have all ended."""
        names = [f"raw-{self.count + i}" for i in range(n)]
        self.count += n
        connections = threading.local()

        def create(name):
            if not hasattr(connections, "own"):
                connections.own = self.api.connect()
            made = copy.deepcopy(likeness)
            made["metadata"]["name"] = name
            ask(connections.own, "POST", self.path, made)

        quiet()
        before, start = len(self.pods.ended), time.monotonic()
        with ThreadPoolExecutor(RAW_THREADS) as pool:
            list(pool.map(create, names))
        until("raw Jobs to end", lambda: len(self.pods.ended) >= before + n, 300)
        took = time.monotonic() - start
        self.sweep()
        return took

    def raw_post(self):
        """Milliseconds from a POST to its Job in the watch."""
        connection = self.api.connect()
        ask(connection, "GET", "/version")
        name = f"raw-{self.count}"
        self.count += 1
        start = time.monotonic()
        ask(connection, "POST", self.path, job(self.name, name, "localhost/busybox:1", NOOP))
        until(name, lambda: name in self.seen_jobs.seen)
        took = (self.seen_jobs.seen[name] - start) * 1000
        self.sweep()
        return took

    def raw_chain(self, steps):
        """Milliseconds from a POST to its Job in the watch, each at the moment at which the pod before it has ended,
        when the API server hears the same of kubelet and controllers as it does in chain()."""
        connection, posted = self.api.connect(), []
        for _ in range(steps):
            name = f"raw-{self.count}"
            self.count += 1
            start = time.monotonic()
            ask(connection, "POST", self.path, job(self.name, name, "localhost/busybox:1", NOOP))
            until(name, lambda: name in self.seen_jobs.seen)
            posted.append((self.seen_jobs.seen[name] - start) * 1000)
            end = time.monotonic() + PATIENCE
            while name not in {self.pods.owner[pod] for pod in list(self.pods.ended)} and time.monotonic() < end:
                time.sleep(0.001)
        self.sweep()
        return posted[1:]

    # -- Millrace's

    def run(self, steps, n=0):
        """A run to its end, and the moment before it was submitted. The ends of its n pods are waited for as those of
        raw ones are: who asks for a run fifty times a second takes from the machine what he measures."""
        before, start = len(self.pods.ended), time.monotonic()
        number = self.server.submit(f"apiVersion: millrace/v1\nkind: Pipeline\nname: bench\nsteps:\n{steps}")
        until("its pods to end", lambda: len(self.pods.ended) >= before + n, 300)
        done = self.server.ended(number, 300)
        assert done["state"] == "succeeded", done
        return number, start

    def millrace_jobs(self, n, **spec):
        before = len(self.pods.seen)
        quiet()
        start = time.monotonic()
        more = "".join(f", {key}: {json.dumps(value)}" for key, value in spec.items())
        self.run(f"  fan: {{foreach: {{range: {n}}}, run: [/bin/true]{more}}}\n", n)
        took = time.monotonic() - start
        self.pods_made = len(self.pods.seen) - before
        until("all to be gone", self.space.empty, 120)
        return took

    def millrace_post(self):
        before = set(self.seen_jobs.seen)
        _, start = self.run("  s: {run: [/bin/true]}\n", 1)
        first = min(t for name, t in self.seen_jobs.seen.items() if name not in before)
        until("it to be gone", self.space.empty)
        return (first - start) * 1000

    def chain(self, steps):
        """Milliseconds until each next step's Job, from the end of the pod before it, and from the recorded end of the
        step before it: by that it is ready, and durably so a commit later."""
        jobs_before, pods_before = set(self.seen_jobs.seen), set(self.pods.seen)
        number, _ = self.run("".join(f"  s{i}: {{run: [/bin/true]{f', needs: [s{i - 1}]' if i else ''}}}\n"
                                     for i in range(steps)), steps)
        wall = time.time() - time.monotonic()
        events = self.server.get(f"/api/v1/runs/{number}/events?page_size=1000").json["items"]
        ready = sorted(datetime.datetime.fromisoformat(e["at"]).timestamp() - wall for e in events
                       if e["kind"] == "task.succeeded")
        begun = sorted(t for name, t in self.seen_jobs.seen.items() if name not in jobs_before)
        ended = sorted(t for name, t in self.pods.ended.items() if name not in pods_before)
        until("all to be gone", self.space.empty)
        return [(b - e) * 1000 for e, b in zip(ended, begun[1:])], [(b - r) * 1000 for r, b in zip(ready, begun[1:])]

    def requests(self):
        """How many of each kind. Of ours: nobody else creates, deletes or lists these Jobs, or reads logs."""
        count = {"created": 0, "deleted": 0, "asked": 0, "logs": 0}
        kinds = {"POST": "created", "DELETE": "deleted", "GET": "asked"}
        for line in self.cluster.kubectl("get", "--raw", "/metrics").splitlines():
            if not line.startswith("apiserver_request_total{"):
                continue
            verb = line.split('verb="')[1].split('"')[0]
            kind = "logs" if 'subresource="log"' in line else kinds.get(verb) if 'resource="jobs"' in line else None
            if kind:
                count[kind] += float(line.rsplit(" ", 1)[1])
        return count

    # -- rows

    def row(self, name, unit, better, samples, floor, goal, words):
        median = statistics.median(samples)
        self.rows.append({"name": name, "unit": unit, "better": better, "n": len(samples), "min": min(samples),
                          "median": median, "max": max(samples), "floor": floor, "goal": goal})
        met = goal is None or (median >= goal if better == "higher" else median <= goal)
        print(f"{name:<24} {median:9.2f} {unit:<9} [{min(samples):.2f} … {max(samples):.2f}, n={len(samples)}]  "
              f"goal {'≥' if better == 'higher' else '≤'} {goal} {'met' if met else 'MISSED'}  {words}", flush=True)

    def measure(self):
        n = self.jobs
        self.raw_jobs(4, self.bare()), self.millrace_jobs(4)  # images and connections are warm
        raw, ours = [], []
        for _ in range(ROUNDS):
            raw.append(self.raw_jobs(n, self.bare()))
            ours.append(self.millrace_jobs(n))
        floor = n * 60 / statistics.median(raw)
        self.row("jobs_per_min_ratio", "", "higher", [r / o for r, o in zip(raw, ours)], 1, 0.9,
                 f"{n * 60 / statistics.median(ours):.0f} Jobs/min beside {floor:.0f} raw")
        self.row("pods_per_task", "pods", "lower", [self.pods_made / n], 1, 1, "")
        posts = [(self.raw_post(), self.millrace_post()) for _ in range(12)]
        raw_ms = statistics.median(p[0] for p in posts)
        ended, ready, then = [], [], []
        for _ in range(3):
            then += self.raw_chain(9)
            more = self.chain(9)
            ended += more[0]
            ready += more[1]
        then_ms = statistics.median(then)
        self.row("ready_to_job_ratio", "", "lower", [ms / then_ms for ms in ready], 1, 1.5,
                 f"{statistics.median(ready):.1f} ms from the record of the end before; a raw POST at such a moment "
                 f"{then_ms:.1f} ms, and when all is quiet {raw_ms:.1f} ms")
        self.row("submit_to_job_ms", "ms", "lower", [p[1] for p in posts], raw_ms, None, "over HTTP, with its plan")
        self.row("end_to_next_job_ms", "ms", "lower", ended, raw_ms, 50, "")
        made = []
        for _ in range(3):
            before = self.requests()
            self.millrace_jobs(n)
            made.append({kind: int(count - before[kind]) for kind, count in self.requests().items()})
        self.row("api_requests_per_step", "requests", "lower", [sum(one.values()) / n for one in made], 2, 3,
                 "; ".join(", ".join(f"{count} {kind}" for kind, count in one.items()) for one in made) +
                 f", of {n} steps each")

    def measure_scale(self, n):
        """The same Jobs on a hundred nodes that are only played, where a pod takes a second, and nothing of this
        machine."""
        with self.cluster.fake_nodes(100):
            same = self.same(**FAKE)
            self.raw_jobs(50, same), self.millrace_jobs(50, **FAKE)
            raw, ours = [], []
            for _ in range(SCALE_ROUNDS):
                raw.append(self.raw_jobs(n, same))
                ours.append(self.millrace_jobs(n, **FAKE))
            bare = self.raw_jobs(n, self.bare(**FAKE))
            self.row("scale_jobs_ratio", "", "higher", [r / o for r, o in zip(raw, ours)], 1, 0.9,
                     f"{n * 60 / statistics.median(ours):.0f} Jobs/min beside {n * 60 / statistics.median(raw):.0f} "
                     f"raw ({n * 60 / bare:.0f} bare ones), on 100 fake nodes")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=60)
    parser.add_argument("--scale-jobs", type=int, default=1000)
    parser.add_argument("--only", choices=["own", "scale"])
    args = parser.parse_args()
    bench = Bench(args.jobs)
    try:
        if args.only != "scale":
            bench.measure()
        if args.only != "own":
            bench.measure_scale(args.scale_jobs)
    finally:
        bench.close()
        out = ROOT / "build/bench/cluster.jsonl"
        out.write_text("".join(json.dumps(row) + "\n" for row in bench.rows))


if __name__ == "__main__":
    main()
