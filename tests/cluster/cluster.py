"""The running test cluster as tests see it: how to get in, and an S3 server beside it. Everything comes from the file
`env` that tests/cluster/up writes."""
import contextlib
import json
import os
import pathlib
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

sys.path.append(str(pathlib.Path(__file__).parents[1] / "e2e"))
from harness import Database, until  # noqa: E402

PATIENCE = 120
# What a pod's spec, or a step, says to run on a fake node.
FAKE = {"nodeSelector": {"type": "fake"}, "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}]}


def state():
    """The folder of the cluster's state, by the same rules as tests/cluster/lib.sh."""
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    cache = os.environ.get("MILLRACE_CLUSTER_CACHE") or pathlib.Path(home) / "millrace/cluster"
    return pathlib.Path(os.environ.get("K8S_DIR") or pathlib.Path(cache) / "state")


class Cluster:
    def __init__(self):
        file = state() / "env"
        if not file.exists():
            raise RuntimeError(f"no cluster: {file} is not there; run tests/cluster/up")
        shown = subprocess.run(["bash", "-c", '. "$1" && env -0', "bash", file], check=True, capture_output=True).stdout
        self.environment = dict(one.split("=", 1) for one in shown.decode().split("\0") if one)
        self.kind = self.environment["K8S_KIND"]  # own, kind, k3s, or given: the last is not ours to change
        self.kubeconfig = self.environment["KUBECONFIG"]
        self.node = self.environment["K8S_NODE"]
        self.address = self.environment["K8S_NODE_IP"]  # of what inside() starts, for pods
        self.enter = shlex.split(self.environment["K8S_ENTER"])

    def program(self, name):
        found = shutil.which(name, path=self.environment["PATH"])
        assert found, f"{name} is not there: tests/cluster/build makes it"
        return found

    def inside(self, argv, **options):
        """subprocess.run() of a command in the cluster's network, where nothing else can be reached."""
        options = {"env": self.environment, "text": True, "timeout": PATIENCE, **options}
        return subprocess.run([*self.enter, *map(str, argv)], **options)

    def start(self, argv, **options):
        """subprocess.Popen() of a command in the cluster's network; the process is the command itself."""
        options = {"env": self.environment, **options}
        return subprocess.Popen([*self.enter, *map(str, argv)], **options)

    def stop(self, daemon):
        """Kills a daemon of the node as a crash would."""
        pid = int((state() / f"run/{daemon}.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        until(f"{daemon} to be gone", lambda: not pathlib.Path(f"/proc/{pid}").exists())

    @staticmethod
    def bring_up(*options):
        """Starts again what was stopped, and leaves the rest alone."""
        script = pathlib.Path(__file__).parent / "up"
        done = subprocess.run([script, *options], capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, (done.stdout, done.stderr)

    @contextlib.contextmanager
    def fake_nodes(self, count):
        """Nodes that are only played, with 8 GPUs each; FAKE sends pods there."""
        self.bring_up("--fake", str(count))
        try:
            yield
        finally:
            self.stop("kwok")
            self.kubectl("delete", "nodes", "-l", "type=fake", "--wait=false")

    def kubectl(self, *words, given=None, check=True):
        """What kubectl printed; given is its standard input."""
        done = self.inside([self.program("kubectl"), *words], input=given, capture_output=True)
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(map(str, words))}: {done.stderr}")
        return done.stdout

    def get(self, *words):
        """kubectl get, as an object."""
        return json.loads(self.kubectl("get", "-o", "json", *words))

    def apply(self, *objects):
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        return self.kubectl("apply", "-f", "-", given=json.dumps(listed))


class Namespace:
    """kubectl within a namespace."""

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name
        until("its service account", lambda: self("get", "serviceaccount", "default", "-o", "name", check=False))

    def __call__(self, *words, **options):
        return self.cluster.kubectl("-n", self.name, *words, **options)

    def items(self, kind, *words):
        return self.cluster.get(kind, "-n", self.name, *words)["items"]

    def apply(self, **manifest):
        self("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", **manifest}))

    def sweep(self):
        self("delete", "jobs,pods", "--all", "--wait=true", "--force", "--grace-period=0")

    def empty(self):
        """Nothing is left of Jobs and their pods."""
        return not self.items("jobs") and not self.items("pods")


def pod_spec(image, command, **container):
    """Of one container that is not started again."""
    own = {"name": "main", "image": image, "command": command, **container}
    return {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [own]}


def pod(namespace, name, image, command, **container):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
            "spec": pod_spec(image, command, **container)}


def job(namespace, name, image, command, **container):
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": namespace},
            "spec": {"backoffLimit": 0, "template": {"spec": pod_spec(image, command, **container)}}}


class Postgres(Database):
    """A PostgreSQL that pods reach, by password: as a cluster's servers have one outside of it."""

    def __init__(self, cluster):
        super().__init__()
        self.listen = f"127.0.0.1,{cluster.address}"
        secret = secrets.token_hex(8)
        with open(self.home / "pg/pg_hba.conf", "a") as rules:
            rules.write("host all all 0.0.0.0/0 scram-sha-256\n")
        self.start()
        self.own = self.url
        self.call(self.bin / "psql", "-q", self.own, "-c", f"create role millrace login password '{secret}'")
        self.host = f"postgresql://millrace:{secret}@{cluster.address}:{self.port}"
        self.url = self.make("millrace")

    def make(self, name):
        self.call(self.bin / "psql", "-q", self.own, "-c", f"create database {name} owner millrace")
        return f"{self.host}/{name}"


class Pods:
    """Each pod that ever was, as the API server tells somebody else: attempt → uids."""

    def __init__(self, cluster, namespace):
        self.seen = {}
        self.process = cluster.start([cluster.program("kubectl"), "-n", namespace, "get", "pods", "--watch", "-o",
                                      r"jsonpath={.metadata.uid} {.metadata.labels}{'\n'}"], stdout=-1, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            uid, _, labels = line.partition(" ")
            labels = json.loads(labels)
            key = tuple(int(labels[f"millrace.dev/{one}"]) for one in ("run", "task", "attempt"))
            self.seen.setdefault(key, set()).add(uid)

    def close(self):
        self.process.kill()
        self.process.wait()


class Store:
    """versitygw, a real S3 server, in the cluster's network; its objects are files below a folder of its own."""

    ACCESS, SECRET, REGION = "millrace-test", "not-a-secret-of-anybody", "us-east-1"

    def __init__(self, cluster):
        self.cluster = cluster
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="millrace-s3-"))
        (self.home / "objects").mkdir()
        self.url = self.process = None

    def __enter__(self):
        at = f"{self.cluster.address}:{self._free_port()}"
        self.url = f"http://{at}"
        environment = {**self.cluster.environment, "ROOT_ACCESS_KEY": self.ACCESS, "ROOT_SECRET_KEY": self.SECRET}
        with open(self.home / "log", "wb") as log:
            self.process = self.cluster.start(
                [self.cluster.program("versitygw"), "--port", at, "--region", self.REGION, "posix",
                 self.home / "objects"], env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            until("versitygw to listen", self._answers)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def _free_port(self):
        """The cluster's network has ports of its own: asked there, by a program that ends at once."""
        ask = "import socket; s = socket.socket(); s.bind(('', 0)); print(s.getsockname()[1])"
        return self.cluster.inside([sys.executable, "-c", ask], capture_output=True, check=True).stdout.strip()

    def _answers(self):
        assert self.process.poll() is None, (self.home / "log").read_text()
        return self.cluster.inside(["curl", "-s", "-o", "/dev/null", self.url]).returncode == 0
