"""Many steps on many nodes: a hundred nodes with eight GPUs each, which are only played, so that this machine carries
the API server, its controllers and Millrace, and no step. MILLRACE_SCALE_STEPS (1000) says how many."""
import json
import os
import pathlib
import re
import statistics
import threading

import pytest
from cluster import FAKE, until
from harness import FINAL

STEPS = int(os.environ.get("MILLRACE_SCALE_STEPS", 1000))
BOUND = 100


class Memory(threading.Thread):
    """What the server keeps in memory (RSS, in MiB), read twice a second until it is told to stop."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.status = pathlib.Path(f"/proc/{pid}/status")
        self.seen, self.enough = [], threading.Event()
        self.start()

    def run(self):
        while not self.enough.wait(0.5):
            self.seen.append(int(re.search(r"VmRSS:\s+(\d+) kB", self.status.read_text()).group(1)) / 1024)

    def stop(self):
        self.enough.set()
        self.join()
        return self.seen


def listed_events(cluster):
    """How often somebody asked the API server for all events of a namespace; it is dear."""
    lines = cluster.kubectl("get", "--raw", "/metrics").splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("apiserver_request_total{")
               and 'resource="events"' in line and 'verb="LIST"' in line)


def unfinished(jobs):
    """How many Jobs there are whose pod has not ended."""
    before = [one for one in jobs.items("jobs") if "deletionTimestamp" not in one["metadata"]]
    ended = {one["metadata"]["labels"]["batch.kubernetes.io/job-name"] for one in jobs.items("pods")
             if one["status"]["phase"] in ("Succeeded", "Failed")}
    over = [one for one in before if one["metadata"]["name"] in ended or one["status"].get("conditions")]
    return len(before) - len(over)


def test_thousands_of_steps_on_a_hundred_nodes(cluster, cluster_server, jobs):
    if cluster.kind != "own":
        pytest.skip("this cluster has no nodes that are only played")
    server = cluster_server("--kube-jobs", str(BOUND), "--kube-requests", "1000")
    more = "".join(f", {key}: {json.dumps(value)}" for key, value in FAKE.items())
    with cluster.fake_nodes(100):
        before = listed_events(cluster)
        run = server.submit("apiVersion: millrace/v1\nkind: Pipeline\nname: scale\nsteps:\n"
                            f"  fan: {{foreach: {{range: {STEPS}}}, run: 'true', resources: {{gpu: 1}}{more}}}\n")
        memory, most, looks = Memory(server.process.pid), 0, 0
        while server.run(run)["state"] not in FINAL:
            most, looks = max(most, unfinished(jobs)), looks + 1
        seen = memory.stop()
        assert server.run(run)["state"] == "succeeded"
        assert looks > 5 and BOUND / 2 < most <= BOUND + 5, (looks, most)  # a few came and went between its two lists
        assert all(task["attempt"] == 1 for task in server.tasks(run).values() if "[" in task["path"])
        assert listed_events(cluster) - before <= len(seen) / 2 / 5 + 2  # twice a second; one question in five seconds
        # Flat: what thousands of steps leave behind in memory is not to be seen; what the first hundreds take is.
        middle, end = (statistics.median(part) for part in
                       (seen[len(seen) // 4: len(seen) // 2], seen[-len(seen) // 4:]))
        print(f"{STEPS} steps in {len(seen) / 2:.0f} s, at most {most} Jobs at once, {middle:.1f} MiB in the second "
              f"quarter, {end:.1f} in the last, {max(seen):.1f} at most")
        assert end <= middle * 1.1 + 2, seen
        until("all of it to be gone", jobs.empty, 180)
