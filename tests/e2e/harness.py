"""A real server for a test: its own data folder, port and database, driven by the real binary and by plain HTTP.
Nothing is mocked. A server that a test leaves behind is killed with all it started, and its folder is removed."""
import http.client
import json
import os
import pathlib
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("MILLRACE_BIN", ROOT / "build/release/millrace")).resolve()
VENV = os.environ.get("MILLRACE_TEST_VENV", "")
PIPELINES = ROOT / "pipelines"
FINAL = {"succeeded", "failed", "cancelled"}
PATIENCE = 60  # seconds; only a hang takes that long


def free_port():
    """Below those that the kernel gives to outgoing connections: it stays free while a server is restarted."""
    while True:
        port = random.randint(12000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def until(what, check, patience=PATIENCE):
    """Waits for check() to give something true, and gives that back."""
    end = time.monotonic() + patience
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"waited {patience} s for {what}")
        time.sleep(0.02)


def processes(marker):
    """Ids of the processes, but for our own line, that carry the text in their command line or environment."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            text = (entry / "cmdline").read_bytes() + b"\0" + (entry / "environ").read_bytes()
            if (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                continue
        except OSError:
            continue
        if marker.encode() in text:
            found.append(int(entry.name))
    return found


def kill(pid, number=signal.SIGKILL):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body[:2000]!r}"


class Server:
    """One `millrace serve`. start() and stop() may follow each other as often as wanted on the same data."""

    judge = None  # called with method, path and answer of each request
    host = "127.0.0.1"

    def __init__(self, *options, env=None):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="mr-", dir="/tmp"))
        self.home.chmod(0o711)  # steps and PostgreSQL run as another user when we are root
        self.data = self.home / "data"
        self.log = self.home / "server.log"
        self.port = free_port()
        self.listen = "127.0.0.1"
        self.options = list(options)
        self.extra = env or {}
        self.process = None

    # -- its life

    def environment(self):
        path = f"{VENV}/bin:" if VENV else ""
        # With ASan, a step's shell is not ours to check, and the launcher forks before it execs.
        kept = {k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS") or k in ("LANG", "TZ")}
        return {**kept, "PATH": path + "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.home),
                "MILLRACE_GPUS": "none", **self.extra}

    def start(self, wait=True):
        assert self.process is None
        command = [BIN, "serve", "--data-dir", self.data, "--listen", f"{self.listen}:{self.port}"]
        if VENV:
            command += ["--step-path", f"{VENV}/bin:/usr/local/bin:/usr/bin:/bin"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command + self.options, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            env=self.environment(), cwd=self.home, start_new_session=True)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"serve ended with {self.process.returncode}:\n{self.tail()}")
            if not (self.data / "token").exists():
                return False
            try:
                return self.get("/readyz").status == 200
            except OSError:
                return False

        until(f"the server to be ready:\n{self.tail()}", ready)

    def tail(self):
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def stop(self):
        """As an administrator does it; gives the exit status back."""
        self.process.terminate()
        status = self.process.wait(PATIENCE)
        self.process = None
        return status

    def crash(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def postmaster(self):
        """Process id of the embedded database, or None."""
        found = list(self.data.glob("postgres/**/postmaster.pid"))
        try:
            return int(found[0].read_text().split()[0]) if found else None
        except (OSError, IndexError, ValueError):
            return None

    def remove(self):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None
        for pid in processes(str(self.data)):
            kill(pid)
        until("all processes to be gone", lambda: not [kill(p) for p in processes(str(self.data))])
        shutil.rmtree(self.home, ignore_errors=True)

    # -- HTTP

    @property
    def token(self):
        return (self.data / "token").read_text().strip()

    def request(self, method, path, body=None, headers=None, token=True, kind="application/json", patience=PATIENCE):
        headers = dict(headers or {})
        if token:
            headers.setdefault("Authorization", f"Bearer {self.token if token is True else token}")
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        if body is not None and kind:
            headers.setdefault("Content-Type", kind)
        connection = http.client.HTTPConnection(self.host, self.port, timeout=patience)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        except http.client.HTTPException as wrong:
            raise ConnectionError(repr(wrong)) from wrong
        finally:
            connection.close()
        if self.judge is not None:
            self.judge(method, path, answer)
        return answer

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, body=None, **options):
        return self.request("POST", path, body, **options)

    # -- runs

    def submit(self, source, **members):
        """Starts a run of a source; gives its id back."""
        answer = self.post("/api/v1/runs", {"source": source, **members})
        assert answer.status == 201, answer
        return answer.json["id"]

    def run(self, run):
        answer = self.get(f"/api/v1/runs/{run}")
        if answer.status == 503:
            raise ConnectionError(answer)  # the database is away
        assert answer.status == 200, answer
        return answer.json

    def ended(self, run, patience=PATIENCE):
        """The run, once it has ended."""
        def check():
            try:
                found = self.run(run)
            except OSError:
                return None
            return found if found["state"] in FINAL else None
        try:
            return until(f"run {run} to end", check, patience)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.run(run)}\n{self.tail()}") from None

    def tasks(self, run):
        """path → task"""
        found, token = {}, ""
        while True:
            page = self.get(f"/api/v1/runs/{run}/tasks?page_size=1000{token}").json
            found.update((task["path"], task) for task in page["items"])
            if "next_page_token" not in page:
                return found
            token = f"&page_token={page['next_page_token']}"

    def wait_task(self, run, path, *states):
        return until(f"{path} of run {run} to be {states}",
                     lambda: (t := self.tasks(run).get(path)) and t["state"] in states and t)

    # -- the command line

    def cli(self, *words, expect=0, given=None, env=None, cwd=None):
        """Runs `millrace WORDS…` against this server; gives the finished process back."""
        environment = {**self.environment(), "MILLRACE_URL": f"http://{self.host}:{self.port}", "NO_COLOR": "1",
                       "XDG_CONFIG_HOME": str(self.home / "config"), **(env or {})}
        if (self.data / "token").exists():
            environment.setdefault("MILLRACE_TOKEN", self.token)
        done = subprocess.run([BIN, *map(str, words)], env=environment, input=given, text=True, capture_output=True,
                              timeout=PATIENCE * 2, cwd=cwd or ROOT)
        if expect is not None:
            assert done.returncode == expect, (words, done.returncode, done.stdout[-3000:], done.stderr[-3000:])
        return done

    def cli_json(self, *words, **options):
        return json.loads(self.cli(*words, "-o", "json", **options).stdout)


class Database:
    """A PostgreSQL of the test's own, for servers that share one. crash() kills it as a power cut would."""

    listen = "127.0.0.1"

    def __init__(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="mr-db-", dir="/tmp"))
        self.bin = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))[-1]
        self.port = free_port()
        self.url = f"postgresql://tester@127.0.0.1:{self.port}/postgres"
        self.who = {}
        if os.getuid() == 0:  # PostgreSQL refuses to be root
            nobody = pwd.getpwnam("nobody")
            self.who = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(self.home, nobody.pw_uid, nobody.pw_gid)
        self.process = None
        self.call(self.bin / "initdb", "-D", self.home / "pg", "-U", "tester", "--auth=trust", "-E", "UTF8")

    def call(self, *words):
        subprocess.run(words, check=True, cwd=self.home, stdout=subprocess.DEVNULL, **self.who)

    def start(self):
        with open(self.home / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self.bin / "postgres", "-D", self.home / "pg", "-p", str(self.port), "-k", self.home,
                 "-c", f"listen_addresses={self.listen}"], stdout=log, stderr=log, cwd=self.home, **self.who)
        until("PostgreSQL to be up", self.up)
        return self

    def up(self):
        if self.process.poll() is not None:  # the one before may still be letting go of its memory
            self.start()
        return subprocess.run([self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)],
                              check=False).returncode == 0

    def crash(self):
        for pid in processes(str(self.home)):
            kill(pid)
        self.process.kill()
        self.process.wait()
        self.process = None

    def set_back(self):
        """To the moment of the first such call."""
        kept = self.home / "kept"
        self.crash()
        if kept.exists():
            shutil.rmtree(self.home / "pg")
        self.call("cp", "-a", *((kept, self.home / "pg") if kept.exists() else (self.home / "pg", kept)))
        self.start()

    def remove(self):
        if self.process:
            self.crash()
        shutil.rmtree(self.home, ignore_errors=True)
