"""The blocks of commands in the documents work; what stands within a sentence is not looked at. Blocks marked `sh` are
run as they stand, a block at a time, against a real server; `make` is asked only what it would do, and `cmake`,
`ninja` and `ctest` are left out. Those marked `sh serve` start a server of their own: they are run one behind the
other, as a reader copies them, with nothing set but what they set. Those marked `sh cluster…` are run by
tests/cluster/test_deploy.py."""
import re
import subprocess

import pytest
from harness import BIN, PATIENCE, ROOT, free_port, kill, processes

DOCUMENTS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "pipelines/README.md", "clients/python/README.md"]
BLOCK = re.compile(r"^```(sh[^\n]*)\n(.*?)^```$", re.M | re.S)
# What another test runs, or what would take a build: asked to make or left to its own test.
SHIMS = """
make() { command make -n "$@" >/dev/null; }
cmake() { :; }
ninja() { :; }
ctest() { :; }
set -eu
"""


def blocks():
    for document in DOCUMENTS:
        path = ROOT / document
        if not path.exists():
            continue
        text, serve = path.read_text(), ""
        for found in BLOCK.finditer(text):
            if found.group(1).startswith("sh cluster"):
                continue
            if found.group(1) == "sh serve":
                serve += found.group(2)
                continue
            line = text[: found.start()].count("\n") + 1
            yield pytest.param(found.group(1), found.group(2), id=f"{document}:{line}")
        if serve:
            yield pytest.param("sh serve", serve, id=f"{document}:serve")


@pytest.fixture(scope="module")
def place(server):
    """A folder that looks like the repository's root, so that what commands write does not land there."""
    folder = server.home / "docs"
    folder.mkdir()
    for entry in ROOT.iterdir():
        if entry.name != "build":
            (folder / entry.name).symlink_to(entry)
    (folder / "build/release").mkdir(parents=True)
    (folder / "build/release/millrace").symlink_to(BIN)
    return folder


@pytest.mark.parametrize("kind, script", list(blocks()))
def test_commands(server, place, kind, script):
    environment = {**server.environment(), "MILLRACE_URL": f"http://127.0.0.1:{server.port}", "NO_COLOR": "1",
                   "MILLRACE_TOKEN": server.token, "MILLRACE_DATA_DIR": str(server.data),
                   "XDG_CONFIG_HOME": str(place / "config")}
    environment["PATH"] = f"{place}/build/release:{environment['PATH']}"
    if kind == "sh serve":
        return from_top_to_bottom(place, environment, script)
    done = subprocess.run(["bash", "-c", SHIMS + script], cwd=place, env=environment, capture_output=True, text=True,
                          timeout=PATIENCE * 3)
    assert done.returncode == 0, (script, done.stdout[-3000:], done.stderr[-3000:])


def from_top_to_bottom(place, environment, script):
    """On a free port, and not in root's real folder."""
    environment = {k: v for k, v in environment.items() if not k.startswith("MILLRACE_")}
    environment["HOME"] = str(place)
    script = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{free_port()}", script)
    script = script.replace("/var/lib/millrace/own", f"{place}/millrace-data")
    log = place / "own.log"
    try:
        with open(log, "wb") as out:
            done = subprocess.run(["bash", "-c", f"set -eu\n{script}\nwait $!"], cwd=place, env=environment,
                                  stdout=out, stderr=out, timeout=PATIENCE * 3, check=False)
        said = log.read_text()
        assert done.returncode == 0, (script, said[-6000:])
        assert "alive" in said and '"items":[{' in said and "greet: succeeded" in said, said
        assert (place / "saved/backup.json").exists()
    finally:
        for pid in processes(f"{place}/millrace-data"):
            kill(pid)


def test_ready_pipeline_of_the_readme_is_the_one_in_the_folder():
    shown = re.search(r"^```yaml\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S).group(1)
    real = (ROOT / "pipelines/hello/pipeline.yaml").read_text()
    for line in shown.splitlines():
        assert line in real, line
