"""deploy/demo and the server it leaves behind. What it trains is a stand-in here: `make demo` itself is a stage of
.ci/run."""
import os
import subprocess

import pytest
from harness import BIN, PATIENCE, ROOT, free_port, kill, processes

DIGITS = """
apiVersion: millrace/v1
kind: Pipeline
name: digits
steps:
  report: {run: echo picture > c.svg, outputs: {confusion: {artifact: image, path: c.svg}}}
outputs: {accuracy: "${{ 1.0 }}", model: "${{ 'none' }}"}
"""


@pytest.fixture
def demo(fresh, tmp_path):
    """demo(settings…) runs it in a folder that looks like the repository; gives what it said back."""
    home = fresh(start=False).home  # steps and PostgreSQL can reach what is in it
    root = tmp_path / "root"
    (root / "pipelines/digits").mkdir(parents=True)
    (root / "pipelines/digits/pipeline.yaml").write_text(DIGITS)
    (root / "pipelines/requirements.txt").symlink_to(ROOT / "pipelines/requirements.txt")
    (root / "build/release").mkdir(parents=True)
    (root / "build/release/millrace").symlink_to(BIN)
    (root / "build/venv").symlink_to(ROOT / "build/venv")
    (root / "deploy").symlink_to(ROOT / "deploy")

    def run(**settings):
        environment = {**os.environ, "DATA": str(home / "demo"), "PORT": str(free_port()), **settings}
        done = subprocess.run([root / "deploy/demo"], env=environment, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=PATIENCE * 2, check=False)
        assert done.returncode == 0, done.stdout
        return done.stdout

    run.pid_file = home / "demo.pid"
    yield run
    for pid in processes(str(home / "demo")):
        kill(pid)


def server_of(pid_file):
    pid = int(pid_file.read_text().split()[0])
    assert b"serve" in open(f"/proc/{pid}/cmdline", "rb").read(), pid
    return pid


@pytest.fixture
def other():
    """A process that has nothing to do with it."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def test_a_server_that_was_kept_is_used_and_left(demo, other):
    demo.pid_file.write_text(f"{other.pid} 1\n")  # the server's number is another process's by now
    said = demo(KEEP="1")
    assert "starting the server" in said and "is still running" in said, said
    kept = server_of(demo.pid_file)
    said = demo()
    assert f"process {kept}" in said and "goes on afterwards" in said and "is stopped now" not in said, said
    assert server_of(demo.pid_file) == kept
    assert other.poll() is None


def test_a_server_that_is_not_kept_is_stopped(demo):
    assert "is stopped now" in demo()
    assert not demo.pid_file.exists()
