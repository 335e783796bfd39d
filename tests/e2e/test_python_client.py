"""The Python client against a real server: all that its README shows."""
import os
import re
import sys

import pytest
from harness import PIPELINES, ROOT

sys.path.insert(0, str(ROOT / "clients/python"))

import millrace  # noqa: E402


def pipeline(*steps, name="py", head=""):
    body = "".join(f"  {s}\n" for s in steps)
    return f"apiVersion: millrace/v1\nkind: Pipeline\nname: {name}\n{head}steps:\n{body}"


@pytest.fixture
def client(server):
    return millrace.Client(f"http://127.0.0.1:{server.port}", server.token)


def test_submit_wait_logs(client):
    run = client.submit(PIPELINES / "hello/pipeline.yaml", params={"who": "python"}, labels={"from": "py"})
    assert run.wait(timeout=60).state == "succeeded"
    assert "Hello, python" in run.logs("greet")
    assert [t["path"] for t in run.tasks()] == ["greet", "repeat"]
    assert run.id in [r.id for r in client.runs(filter="labels.from = py")]
    assert client.run(run.id).data["labels"] == {"from": "py"}


def test_events_and_follow_end_with_the_run(client):
    run = client.submit(source=pipeline("talk: {run: 'for i in 1 2 3; do echo line $i; sleep 0.2; done'}"))
    assert "".join(run.follow("talk")) == "line 1\nline 2\nline 3\n"
    kinds = [event["kind"] for event in run.events()]
    assert kinds[0] == "run.started" and kinds[-1] == "run.succeeded"
    assert run.ended


def test_code_is_packed_like_the_command_line_does(client, server, tmp_path):
    (tmp_path / ".millraceignore").write_text("*.big\n!keep.big\n/top/\n")
    for name in ["pipeline.yaml", "a.big", "keep.big", "top/x", "sub/top/y", "sub/__pycache__/z.pyc", "run.sh"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("ls -A . sub\n")
    (tmp_path / "run.sh").chmod(0o700)
    assert millrace.bundle.names(tmp_path) == ["keep.big", "pipeline.yaml", "run.sh", "sub/top/y"] or \
        millrace.bundle.names(tmp_path) == [".millraceignore", "keep.big", "pipeline.yaml", "run.sh", "sub/top/y"]
    assert client.upload(tmp_path) == client.upload(tmp_path)
    run = client.submit(source=pipeline("ls: {run: ./run.sh}"), bundle=str(tmp_path)).wait(timeout=60)
    listed = run.logs("ls").split()
    assert "keep.big" in listed and "a.big" not in listed and "top" in listed


def test_what_cannot_be_packed_is_named(client, tmp_path):
    (tmp_path / "inside").symlink_to("file")
    (tmp_path / "file").write_text("x")
    assert client.upload(tmp_path).startswith("sha256:")
    (tmp_path / "out").symlink_to("/etc/hostname")
    os.mkfifo(tmp_path / "pipe")
    with pytest.warns(UserWarning, match="not packed.*: out, pipe$"):
        client.upload(tmp_path)


def test_artifacts(client, tmp_path):
    run = client.submit(source=pipeline(
        "make: {run: 'head -c 2500000 /dev/zero > z; : > empty', outputs: "
        "{z: {artifact: dataset, path: z}, e: {artifact: dataset, path: empty}}}"))
    run.wait(timeout=60)
    found = sorted((a["path"], a["name"], a["size"]) for a in run.artifacts())
    assert found == [("make", "e", 0), ("make", "z", 2500000)]
    run.download("make", "z", str(tmp_path / "z"))
    assert (tmp_path / "z").read_bytes() == bytes(2500000)
    run.download("make", "e", str(tmp_path / "e"))
    assert (tmp_path / "e").read_bytes() == b""
    with pytest.raises(KeyError):
        run.download("make", "nothing", str(tmp_path / "n"))


def test_put_makes_artifacts_that_pipelines_import(client, tmp_path):
    (tmp_path / "folder/empty").mkdir(parents=True)
    (tmp_path / "folder/.millraceignore").write_text("*.csv\n")
    (tmp_path / "folder/a.csv").write_text("in it\n")
    (tmp_path / "folder/link").symlink_to("a.csv")
    (tmp_path / "big").write_bytes(bytes(range(256)) * 20000)
    (tmp_path / "none").write_bytes(b"")
    folder = client.put(tmp_path / "folder", name="my folder", type="dataset", metadata={"rows": 1})
    assert folder["metadata"] == {"rows": 1, "folder": True} and "run" not in folder
    big = client.put(tmp_path / "big", name="big", type="blob")
    assert (big["size"], big["metadata"]) == (5120000, {})
    assert client.put(tmp_path / "big", name="again", type="blob")["id"] > big["id"]
    none = client.put(str(tmp_path / "none"), name="none", type="blob")
    run = client.submit(source=pipeline(
        f"folder: {{import: 'artifact:{folder['id']}'}}", f"big: {{import: '{big['digest']}'}}",
        f"none: {{import: 'artifact:{none['id']}'}}",
        "use: {run: 'cd inputs/folder && ls -A && cat link && wc -c < ../big && wc -c < ../none', inputs: "
        "{folder: '${{ steps.folder.outputs.artifact }}', big: '${{ steps.big.outputs.artifact }}', "
        "none: '${{ steps.none.outputs.artifact }}'}}")).wait(timeout=60)
    assert run.logs("use").split() == [".millraceignore", "a.csv", "empty", "link", "in", "it", "5120000", "0"]
    (tmp_path / "folder/out").symlink_to("/etc/passwd")
    with pytest.raises(ValueError):
        client.put(tmp_path / "folder", name="x", type="dataset")
    with pytest.raises(millrace.Error) as wrong:
        client.put(tmp_path / "none", name="x", type="no word")
    assert wrong.value.status == 422 and "type of an artifact" in str(wrong.value)


def test_what_goes_wrong_is_said(client, server):
    with pytest.raises(millrace.Error) as wrong:
        client.submit(source=pipeline("a: {rnu: x}", "b: {needs: [zzz], run: x}"))
    assert wrong.value.status == 422 and wrong.value.code == "invalid" and len(wrong.value.errors) >= 2
    assert "did you mean" in str(wrong.value.errors)
    told = str(wrong.value).splitlines()
    assert len(told) == len(wrong.value.errors)
    assert re.search(r"^line 5: steps\.a.*: .*rnu.* \(did you mean 'run'\?\)$", str(wrong.value), re.M), told
    assert re.search(r"^line 6: steps\.b.*: .*zzz", str(wrong.value), re.M), told
    with pytest.raises(millrace.Error, match="^version: version must be 1 or more$"):
        client.submit("anything", version=0)
    with pytest.raises(millrace.Error) as missing:
        client.run(999999999)
    assert missing.value.status == 404
    with pytest.raises(millrace.Error) as denied:
        millrace.Client(client.url, "wrong").run(1)
    assert denied.value.status == 401
    with pytest.raises(millrace.Unavailable):
        millrace.Client("http://127.0.0.1:1", "x")._open("GET", "/api/v1/version")
    run = client.submit(source=pipeline("bad: {run: exit 3}"))
    with pytest.raises(millrace.RunFailed) as failed:
        run.wait(timeout=60)
    assert failed.value.run.state == "failed"
    assert run.wait(check=False).state == "failed"


def test_actions(client):
    run = client.submit(source=pipeline("ask: {approval: {message: ok?}}", "then: {needs: [ask], run: 'true'}"))
    with pytest.raises(TimeoutError):
        run.wait(timeout=1)
    run.approve("ask", comment="fine")
    assert run.wait(timeout=60).state == "succeeded"
    nap = client.submit(source=pipeline("nap: {run: sleep 60}"))
    nap.cancel(grace="0s")
    assert nap.wait(timeout=60, check=False).state == "cancelled"


def test_wait_after_retry_waits_for_the_new_end(client, tmp_path):
    """Every retry brings other code: each attempt says which it ran, also one that was kept."""
    def codes(step):
        return [a["bundle"] for a in client.request("GET", run._path(f"/tasks/{step}/attempts"))["items"]]

    (tmp_path / "step.sh").write_text("exit 7\n")
    source = pipeline("kept: {run: 'true'}", "then: {needs: [kept], run: sh step.sh}")
    run = client.submit(source=source, bundle=str(tmp_path)).wait(timeout=60, check=False)
    ran = [run.data["bundle"]]
    for status in (2, 1, 0):
        (tmp_path / "step.sh").write_text(f"sleep 0.{status}; exit {status}\n")
        run.retry(bundle=str(tmp_path))
        assert not run.ended and run.state in ("queued", "running")
        assert run.wait(timeout=60, check=False).state == ("failed" if status else "succeeded")
        ran.append(run.data["bundle"])
        assert codes("then") == ran
    assert len(set(ran)) == 4
    assert codes("kept") == ran[:1]


def test_the_newest_artifact_of_a_loop_that_was_opened_anew(client, server, tmp_path):
    run = client.submit(source=pipeline(
        "each: {foreach: {range: 1}, retry: {limit: 1, backoff: 10ms}, outputs: {o: {artifact: text, path: o}}, "
        "run: 'date +%s%N > o; test -e $MILLRACE_CHECKPOINT_DIR/x || ! touch $MILLRACE_CHECKPOINT_DIR/x'}"))
    run.wait(timeout=60)
    run.retry("each").wait(timeout=60)
    assert [(t["path"], t["task"]) for t in run.tasks()] == [("each", 0), ("each[0]", 2)]
    made = sorted(run.artifacts(), key=lambda a: a["id"])
    assert [a["task"] for a in made] == [1, 2]
    run.download("each[0]", "o", str(tmp_path / "o"))
    newest = (tmp_path / "o").read_bytes()
    client.download(made[1], str(tmp_path / "p"))
    assert newest == (tmp_path / "p").read_bytes()
    server.cli("artifacts", "get", f"{run.id}/each[0]/o", "-O", tmp_path / "q")
    assert newest == (tmp_path / "q").read_bytes()


def test_the_same_key_gives_the_same_run(client):
    source = pipeline("x: {expr: '1'}")
    assert client.submit(source=source, key="py-1").id == client.submit(source=source, key="py-1").id


def test_apply(client, tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text(pipeline("x: {expr: '1'}", name="py-applied"))
    assert client.apply(str(file), bundle=None)[0]["action"] == "created"
    assert client.apply(str(file), bundle=None)[0]["action"] == "unchanged"
    assert "py-applied" in [p["name"] for p in client.pipelines()]
    assert client.submit("py-applied").wait(timeout=60).state == "succeeded"
