"""Artifacts and code in S3, for which versitygw stands: it checks signatures and digests as S3 does."""
import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import pytest

from harness import BIN, PATIENCE, Server, free_port, until

HEAD = "apiVersion: millrace/v1\nkind: Pipeline\n"
KEY, SECRET = "millrace-test", "not-to-be-seen-in-any-log"
PREFIX = "some/where"
MIB = 1 << 20


def gateway_program():
    named = os.environ.get("MILLRACE_VERSITYGW")
    found = pathlib.Path(named or pathlib.Path.home() / ".cache/millrace/cluster/bin/versitygw")
    if not os.access(found, os.X_OK):
        pytest.skip(f"no versitygw at {found}: tests/cluster/build brings it, MILLRACE_VERSITYGW names another")
    return found


class Gateway:
    """One versitygw over a folder. start() and crash() may follow each other as often as wanted."""

    def __init__(self):
        self.program = gateway_program()
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="mr-s3-", dir="/tmp"))
        self.bucket = self.home / "root/bucket"
        self.bucket.mkdir(parents=True)
        self.port = free_port()
        self.process = None

    def start(self):
        with open(self.home / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self.program, "--port", f"127.0.0.1:{self.port}", "posix", self.home / "root"], stdout=log, stderr=log,
                cwd=self.home, env={**os.environ, "ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET})
        until("versitygw to listen", self.up)
        return self

    def up(self):
        assert self.process.poll() is None, (self.home / "log").read_text()
        done = subprocess.run(["curl", "-s", "-o", "/dev/null", f"http://127.0.0.1:{self.port}/"], check=False)
        return done.returncode == 0

    def crash(self):
        self.process.kill()
        self.process.wait()

    def remove(self):
        self.crash()
        shutil.rmtree(self.home, ignore_errors=True)

    def options(self, prefix=PREFIX):
        keys = self.home / "keys"
        if not keys.exists():
            keys.touch(0o600)
            keys.write_text(f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
        return ["--artifact-store", f"s3://bucket/{prefix}", "--s3-endpoint", f"http://127.0.0.1:{self.port}",
                "--s3-path-style", "--s3-credentials", str(keys)]

    def environment(self, prefix=PREFIX):
        words = [w for w in self.options(prefix) if w != "--s3-path-style"]
        named = {w[2:].upper().replace("-", "_"): v for w, v in zip(words[::2], words[1::2])}
        return {**{f"MILLRACE_{name}": value for name, value in named.items()}, "MILLRACE_S3_PATH_STYLE": "true"}

    def blobs(self, prefix=PREFIX):
        return {p.name: p for p in (self.bucket / prefix / "blobs").glob("*") if len(p.name) == 64}

    def parts(self):
        """Folders of uploads that are under way."""
        return [p for p in self.bucket.glob(".sgwtmp/multipart/*/*") if p.is_dir()]


@pytest.fixture
def gateway():
    made = Gateway()
    try:
        yield made.start()
    finally:
        made.remove()


@pytest.fixture
def stored(gateway):
    server = Server(*gateway.options())
    try:
        yield server.start()
        assert SECRET not in server.log.read_text() and KEY not in server.log.read_text()
    finally:
        server.remove()


def sha(data):
    return hashlib.sha256(data).hexdigest()


def upload(server, data, pieces=1):
    """As a client does it that sends piece after piece; gives the digest back."""
    digest = f"sha256:{sha(data)}"
    made = server.post("/api/v1/uploads", {"digest": digest, "size": len(data)}).json
    size = -(-len(data) // pieces)
    for at in range(made["offset"], len(data), size):
        answer = server.request("PATCH", f"/api/v1/uploads/{made['id']}", data[at:at + size],
                                headers={"Upload-Offset": str(at)}, kind="application/octet-stream")
        assert answer.status in (200, 201), answer
    assert answer.status == 201 and answer.json["complete"], answer
    return digest


def content(server, digest, **headers):
    return server.get(f"/api/v1/blobs/{digest}", headers={k.replace("_", "-"): v for k, v in headers.items()})


CHAIN = """
name: chain
steps:
  make:
    run: |
      seq 100000 > out.txt; mkdir folder; echo inside > folder/file
    outputs: {text: {artifact: text, path: out.txt}, folder: {artifact: data, path: folder}}
  use:
    run: |
      cmp inputs/text <(seq 100000) && grep -q inside inputs/folder/file && cp inputs/text again
    shell: bash
    inputs: {text: "${{ steps.make.outputs.text }}", folder: "${{ steps.make.outputs.folder }}"}
    outputs: {again: {artifact: text, path: again}}
"""


def succeeded(server, run):
    found = server.ended(run)
    assert found["state"] == "succeeded", (server.tasks(run), server.tail())
    return found


def test_a_pipeline_with_artifacts_and_code_lives_in_s3(gateway, stored, tmp_path):
    text = CHAIN.replace("    shell: bash\n", "").replace("cmp inputs/text <(seq 100000)",
                                                         "seq 100000 | cmp - inputs/text")
    run = stored.submit(HEAD + text)
    succeeded(stored, run)
    lines = "".join(f"{i}\n" for i in range(1, 100001)).encode()
    assert sha(lines) in gateway.blobs()
    assert not [p for p in (stored.data / "blobs").rglob("*") if len(p.name) == 62]  # none is on disk but in the cache
    assert list((stored.data / "cache/blobs").glob("??/*"))
    shutil.rmtree(stored.data / "cache/blobs" / sha(lines)[:2])  # so that it comes from S3
    digest = f"sha256:{sha(lines)}"
    assert content(stored, digest).body == lines
    part = content(stored, digest, Range="bytes=100-199")
    assert part.status == 206 and part.body == lines[100:200]
    code = tmp_path / "code"
    code.mkdir()
    (code / "main.py").write_text("print('from the bundle')\n")
    (code / "pipeline.yaml").write_text(HEAD + "name: coded\nsteps: {go: {run: python3 main.py}}\n")
    stored.cli("run", code / "pipeline.yaml", "--bundle", code)
    assert len(gateway.blobs()) == 3  # text, folder, code


def test_uploads_go_on_and_big_ones_leave_no_parts(gateway, stored):
    data = os.urandom(MIB) * 40
    assert upload(stored, data, pieces=3) == f"sha256:{sha(data)}"
    assert gateway.blobs()[sha(data)].stat().st_size == len(data) and not gateway.parts()
    assert content(stored, f"sha256:{sha(data)}").body == data


def test_what_is_damaged_in_s3_is_not_passed_on(gateway, stored):
    data = os.urandom(3 * MIB)
    digest = upload(stored, data)
    shutil.rmtree(stored.data / "cache/blobs", ignore_errors=True)
    stored.stop()
    where = gateway.blobs()[sha(data)]
    where.write_bytes(data[:-5] + b"wrong")
    stored.start()
    with pytest.raises((OSError, AssertionError)):
        assert len(content(stored, digest).body) == len(data)
    assert "damaged in S3" in stored.tail()


def test_a_gateway_that_dies_is_waited_for(gateway, stored):
    run = stored.submit(HEAD + """
name: patient
steps:
  make: {run: "while [ ! -e /tmp/mr-go-%d ]; do sleep 0.1; done; head -c 40000000 /dev/urandom > o",
         outputs: {o: {artifact: data, path: o}}}
""" % gateway.port)
    go = pathlib.Path(f"/tmp/mr-go-{gateway.port}")
    try:
        stored.wait_task(run, "make", "running")
        go.touch()
        until("parts to come", gateway.parts)
        gateway.crash()
        gateway.start()
        succeeded(stored, run)
    finally:
        go.unlink(missing_ok=True)
    until("no parts to be left", lambda: not gateway.parts())
    name, where = next(iter(gateway.blobs().items()))
    assert sha(where.read_bytes()) == name


def test_who_uploads_hears_at_once_that_the_store_is_away(gateway, stored, tmp_path):
    gateway.crash()
    (tmp_path / "file").write_text("to be kept")
    sending = subprocess.Popen([BIN, "artifacts", "put", tmp_path / "file", "--name=f", "--type=text"], text=True,
                               env={**stored.environment(), "MILLRACE_URL": f"http://127.0.0.1:{stored.port}",
                                    "MILLRACE_TOKEN": stored.token}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first = [sending.stderr.readline(), sending.stderr.readline()]
    assert "uploading" in first[0] and "does not answer" in first[1] and "trying again" in first[1], first
    gateway.start()
    said, rest = sending.communicate(timeout=PATIENCE)
    assert sending.returncode == 0 and said.strip().isdigit(), (said, rest)
    assert sha(b"to be kept") in gateway.blobs()


def test_a_server_that_dies_in_an_upload_leaves_no_parts(gateway, stored):
    data = os.urandom(MIB) * 200
    made = stored.post("/api/v1/uploads", {"digest": f"sha256:{sha(data)}", "size": len(data)}).json
    sending = subprocess.Popen(
        ["curl", "-s", "-X", "PATCH", "-H", f"Authorization: Bearer {stored.token}", "-H", "Upload-Offset: 0", "-H",
         "Content-Type: application/octet-stream", "--data-binary", "@-", "-o", "/dev/null",
         f"http://127.0.0.1:{stored.port}/api/v1/uploads/{made['id']}"], stdin=subprocess.PIPE)
    sending.stdin.write(data)
    sending.stdin.close()
    until("parts to come", gateway.parts)
    os.kill(stored.process.pid, signal.SIGKILL)
    stored.process.wait()
    stored.process = None
    sending.wait(PATIENCE)
    assert gateway.parts() and not gateway.blobs()
    stored.start()
    until("parts of the dead to go", lambda: not gateway.parts())
    offset = stored.get(f"/api/v1/uploads/{made['id']}").json["offset"]
    assert offset == len(data)  # all came, only the last word was missing
    answer = stored.request("PATCH", f"/api/v1/uploads/{made['id']}", b"", headers={"Upload-Offset": str(offset)},
                            kind="application/octet-stream")
    assert answer.status == 201 and sha(data) in gateway.blobs(), answer


def test_backups_hold_the_bytes_and_go_into_any_store(gateway, stored):
    data = os.urandom(20 * MIB)
    digest = upload(stored, data)
    where = stored.home / "saved"
    stored.cli("backup", where, "--data-dir", stored.data, env=gateway.environment())
    assert [p for p in (where / "blobs").rglob("*") if p.is_file() and sha(p.read_bytes()) == sha(data)]
    on_disk, elsewhere = Server(), Server(*gateway.options("other"))
    try:
        on_disk.cli("restore", where, "--data-dir", on_disk.data)
        refused = on_disk.cli("restore", where, "--data-dir", on_disk.home / "x", env=gateway.environment(),
                              expect=None)
        assert refused.returncode != 0 and "in use by another database" in refused.stderr, refused
        elsewhere.cli("restore", where, "--data-dir", elsewhere.data, env=gateway.environment("other"))
        assert sha(data) in gateway.blobs("other")
        kept = [p.read_bytes() for p in (elsewhere.data / "cache").rglob("*") if p.is_file()]
        assert data in kept, "what it brought into S3 is in the cache, too"
        token = stored.token
        for restored in on_disk, elsewhere:
            restored.start()
            assert restored.get(f"/api/v1/blobs/{digest}", token=token).body == data
    finally:
        on_disk.remove()
        elsewhere.remove()


def test_stores_and_databases_belong_together(gateway, stored):
    upload(stored, b"some bytes")
    other = Server(*gateway.options())
    try:
        other.start(wait=False)
        assert other.process.wait(PATIENCE) != 0 and "artifact store of another database" in other.tail()
        other.process = None
    finally:
        other.remove()
    stored.stop()
    options, stored.options = stored.options, []
    stored.start(wait=False)
    assert stored.process.wait(PATIENCE) != 0
    assert "has artifacts which are not in" in stored.tail() and f"s3://bucket/{PREFIX}" in stored.tail()
    stored.process = None
    stored.options = options
    stored.start()


@pytest.mark.parametrize("wrong, said", [
    ({"--s3-credentials": "wrong-keys"}, "SignatureDoesNotMatch"),
    ({"--artifact-store": "s3://no-such-bucket/x"}, "NoSuchBucket"),
    ({"--s3-credentials": "open-keys"}, "open to everybody"),
    ({"--artifact-store": "s3:/x"}, "is no place in S3"),
])
def test_a_wrong_setting_is_named_at_the_start(gateway, wrong, said):
    options = gateway.options()
    for name, value in wrong.items():
        if value.endswith("-keys"):
            value = gateway.home / value
            value.touch(0o600 if "wrong" in value.name else 0o644)
            value.write_text(f"aws_access_key_id = {KEY}\naws_secret_access_key = wrong-secret\n")
        options[options.index(name) + 1] = str(value)
    server = Server(*options)
    try:
        server.start(wait=False)
        assert server.process.wait(PATIENCE) != 0 and said in server.tail(), server.tail()
        assert "wrong-secret" not in server.tail() and KEY not in server.tail()
        server.process = None
    finally:
        server.remove()


def test_a_server_that_knows_its_store_starts_without_it(gateway, stored):
    """What needs no artifacts goes on; whose the store is, is looked at once it answers, and only then it is swept."""
    dead = gateway.bucket / PREFIX / "aside/dead"

    def dies():
        dead.parent.mkdir(exist_ok=True)
        dead.touch()
        os.utime(dead, (0, 0))

    dies()
    stored.crash()
    gateway.crash()
    stored.start()
    assert "the artifact store does not answer: going on without it" in stored.tail()
    succeeded(stored, stored.submit(HEAD + "name: plain\nsteps: {go: {run: 'true'}}\n"))
    gateway.start()
    until("the store to be seen", lambda: "the artifact store is this database's, as it was" in stored.tail())
    until("the store to be swept", lambda: not dead.exists())
    succeeded(stored, stored.submit(HEAD + CHAIN.replace("    shell: bash\n", "").replace(
        "cmp inputs/text <(seq 100000)", "seq 100000 | cmp - inputs/text")))
    stored.crash()
    gateway.crash()
    (gateway.bucket / PREFIX / "store.id").write_text("0" * 32)
    dies()
    stored.start()
    gateway.start()
    assert stored.process.wait(PATIENCE) != 0 and "artifact store of another database" in stored.tail()
    assert dead.exists()
    stored.process = None


def test_a_first_start_waits_for_the_store(gateway):
    gateway.crash()
    server = Server(*gateway.options())
    try:
        server.start(wait=False)
        until("the store to be waited for", lambda: "waiting for the artifact store" in server.tail())
        gateway.start()
        server.wait_ready()
    finally:
        server.remove()


def test_a_store_that_does_not_answer_is_said_at_once(gateway):
    """The first try tells the log; the host of a bucket that nobody knows tells what to do about it, and a stop while
    it is waited for does not blame the database."""
    options = [o for o in gateway.options() if o != "--s3-path-style"]
    options[options.index("--s3-endpoint") + 1] = f"http://store.invalid:{gateway.port}"
    server = Server(*options)
    try:
        server.start(wait=False)
        until("the first try to be told", lambda: "the artifact store fails" in server.tail(), 15)
        assert server.process.poll() is None
        assert "bucket.store.invalid" in server.tail() and "--s3-path-style" in server.tail(), server.tail()
        server.process.terminate()
        assert server.process.wait(PATIENCE) == 0
        server.process = None
        assert "the database" not in server.tail(), server.tail()
    finally:
        server.remove()
