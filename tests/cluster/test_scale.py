"""Many steps on many nodes: a hundred nodes with eight GPUs each, which are only played, so that this machine carries
the API server, its controllers and Millrace, and no step. MILLRACE_SCALE_STEPS (5000) says how many."""
import os
import pathlib
import re
import statistics
import threading
import time

import pytest
from bench import Api, Watch
from cluster import until
from harness import FINAL

pytestmark = pytest.mark.alone

STEPS = int(os.environ.get("MILLRACE_SCALE_STEPS", 5000))
BOUND = 100
NODES = """apiVersion: millrace/v1
kind: Flavor
name: played
resource: nvidia.com/gpu
nodes: {type: fake}
tolerations: [{key: kwok.x-k8s.io/node}]
"""


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


def most_at_once(made, ended):
    """Of Jobs that have not ended, or are not gone, by the moments when a watch told of them."""
    steps = sorted([(at, 1) for at in made.values()] + [(at, -1) for at in ended.values()])
    there = most = 0
    for _, step in steps:
        there += step
        most = max(most, there)
    return most


def test_thousands_of_steps_on_a_hundred_nodes(cluster, cluster_server, jobs):
    if cluster.kind != "own":
        pytest.skip("this cluster has no nodes that are only played")
    server = cluster_server("--kube-jobs", str(BOUND), "--kube-requests", "1000")
    flavor = server.home / "played.yaml"
    flavor.write_text(NODES)
    server.cli("queue", "apply", str(flavor))
    api = Api(cluster.kubeconfig)
    with cluster.fake_nodes(100):
        before = listed_events(cluster)
        made = Watch(api, f"/apis/batch/v1/namespaces/{jobs.name}/jobs")
        pods = Watch(api, f"/api/v1/namespaces/{jobs.name}/pods")
        run = server.submit("apiVersion: millrace/v1\nkind: Pipeline\nname: scale\nsteps:\n"
                            f"  fan: {{foreach: {{range: {STEPS}}}, run: 'true', "
                            "resources: {gpu: {count: 1, flavor: played}}}\n")
        memory = Memory(server.process.pid)
        while server.run(run)["state"] not in FINAL:
            time.sleep(0.5)
        seen = memory.stop()
        assert server.run(run)["state"] == "succeeded"
        most = most_at_once(made.seen, pods.ended)
        assert len(made.seen) == len(pods.seen) == STEPS
        assert BOUND / 2 < most <= BOUND + 5, most  # two watches, of which one may be a little behind
        # What has ended makes room for what begins, but not for ever: as many may lie, and what is just being deleted.
        assert most_at_once(made.seen, made.gone) < 4 * BOUND
        assert all(task["attempt"] == 1 for task in server.tasks(run).values() if "[" in task["path"])
        assert listed_events(cluster) - before <= len(seen) / 2 / 5 + 2  # twice a second; one question in five seconds
        # Flat: what thousands of steps leave behind in memory is not to be seen; what the first hundreds take is.
        middle, end = (statistics.median(part) for part in
                       (seen[len(seen) // 4: len(seen) // 2], seen[-len(seen) // 4:]))
        print(f"{STEPS} steps in {len(seen) / 2:.0f} s, at most {most} Jobs at once, {middle:.1f} MiB in the second "
              f"quarter, {end:.1f} in the last, {max(seen):.1f} at most")
        assert end <= middle * 1.1 + 2, seen
        until("all of it to be gone", jobs.empty, 180)
