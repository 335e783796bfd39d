"""Bad input over REST: a 4xx that names place and cure, all problems of a file at once, nothing stored in half."""
import hashlib
import http.client
import json
import os
import re
import socket
import subprocess
import urllib.request

import pytest
from harness import BIN, PATIENCE, free_port, until
from test_cli import pipeline

STEP = "a: {run: 'true'}"

SOURCES = {
    # name: (source, something the answer must say)
    "no yaml at all": ("{]", "line"),
    "tab as indentation": ("apiVersion: millrace/v1\n\tkind: Pipeline\n", "line"),
    "not utf-8": (b"name: \xff\xfe", "UTF-8"),
    "a list": ("- 1\n", "found a list"),
    "nothing": ("", ""),
    "unknown kind": ("apiVersion: millrace/v1\nkind: Pipelin\nname: x\nsteps: {}\n", "Pipeline"),
    "unknown version": ("apiVersion: millrace/v9\nkind: Pipeline\nname: x\nsteps: {a: {run: x}}\n", "millrace/v1"),
    "duplicate key": (pipeline(STEP, STEP), "twice"),
    "unknown key": (pipeline("a: {run: x, timeuot: 3s}"), "did you mean 'timeout'"),
    "two verbs": (pipeline("a: {run: x, script: y}"), "run"),
    "no verb": (pipeline("a: {timeout: 3s}"), "run"),
    "cycle": (pipeline("a: {run: x, needs: [c]}", "b: {run: x, needs: [a]}", "c: {run: x, needs: [b]}"),
              "a → c → b → a"),
    "undefined need": (pipeline("data: {run: x}", "b: {run: x, needs: [date]}"), "did you mean 'data'"),
    "undefined param": (pipeline("a: {run: 'echo ${{ params.x }}'}"), "x"),
    "unknown function": (pipeline("a: {expr: '${{ siez([1]) }}'}"), "did you mean 'size'"),
    "type of a condition": (pipeline("a: {when: '${{ 1 + 1 }}', run: x}"), "true or false"),
    "bare number as a duration": (pipeline("a: {run: x, timeout: 30}"), "30s"),
    "quoted expression": (pipeline("a: {run: \"echo '${{ run.id }}'\"}"), "env"),
    "cpu that nobody has": (pipeline("a: {run: x, resources: {cpu: 100000}}"), "cpu"),
    "gpu on a laptop": (pipeline("a: {run: x, resources: {gpu: {count: 1}}}"), "gpu"),
    "only an image": (pipeline("a: {image: busybox}"), "image"),
    "alias bomb": ("a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)), ""),
    "deep nesting": ("a: " + "[" * 5000 + "]" * 5000, ""),
    "name with a path": (pipeline("../../etc/passwd: {run: x}"), "name"),
    "output outside": (pipeline("a: {run: x, outputs: {o: {artifact: t, path: ../../etc/passwd}}}"), "path"),
    "secret as a value": ("apiVersion: millrace/v1\nkind: Pipeline\nname: x\n"
                          "params: {k: {type: secret, default: hunter2}}\nsteps: {a: {run: x}}\n", "secret"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_source(server, name):
    source, says = SOURCES[name]
    before = server.get("/api/v1/runs?page_size=1").json["items"]
    answer = server.post("/api/v1/runs", source, kind="application/yaml")
    assert answer.status in (400, 413, 422), answer
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    problem = answer.json
    assert problem["status"] == answer.status and problem["code"] and problem["title"] and problem["requestId"]
    assert "hunter2" not in answer.body.decode()
    assert says.lower() in answer.body.decode().lower(), answer
    assert server.get("/api/v1/runs?page_size=1").json["items"] == before


def test_circles_are_named_by_their_path(server, tmp_path):
    def calls(name, what):
        return pipeline(f"s: {{pipeline: {what}}}", name=name)

    def told(*words):
        done = server.cli("validate", *words, expect=3, cwd=tmp_path)
        return re.findall(r"^(\S+?):\d.* the pipeline would contain itself: (.*)$", done.stderr, re.M)

    (tmp_path / "sub").mkdir()
    (tmp_path / "a.yaml").write_text(calls("a", "{file: sub/b.yaml}"))
    (tmp_path / "sub/b.yaml").write_text(calls("b", "{file: ../a.yaml}"))
    (tmp_path / "self.yaml").write_text(calls("self", "{file: self.yaml}"))
    both = f"{calls('m', 'n')}---\n{calls('n', 'm')}"
    (tmp_path / "both.yaml").write_text(both)
    assert told("a.yaml") == [("sub/b.yaml", "a.yaml → sub/b.yaml → a.yaml")]
    assert told("a.yaml", "sub/b.yaml")[0] == ("a.yaml", "a.yaml → sub/b.yaml → a.yaml")
    assert told("self.yaml") == [("self.yaml", "self.yaml → self.yaml")]
    assert told("both.yaml") == [("both.yaml", "m → n → m"), ("both.yaml", "n → m → n")]
    problem = server.post("/api/v1/pipelines:validate", both, kind="application/yaml").json
    assert [e["message"].split(": ")[1] for e in problem["errors"]] == ["m → n → m", "n → m → n"], problem

    # The same file name in another folder is another file.
    (tmp_path / "sub/self.yaml").write_text(pipeline("a: {run: 'true'}", name="leaf"))
    (tmp_path / "sub/b.yaml").write_text(calls("b", "{file: self.yaml}"))
    (tmp_path / "self.yaml").write_text(calls("self", "{file: sub/b.yaml}"))
    server.cli("apply", "self.yaml", cwd=tmp_path)


def test_all_problems_at_once(server):
    source = pipeline("a: {run: x, needs: [zz]}", "b: {run: x, timeuot: 1s}", "c: {run: x, timeout: 3}",
                      "d: {expr: '${{ params.nix }}'}")
    problem = server.post("/api/v1/pipelines:validate", source, kind="application/yaml").json
    lines = {e["line"] for e in problem["errors"]}
    assert {5, 6, 7, 8} <= lines, problem
    assert all(e["message"] and e["path"] for e in problem["errors"])


def test_what_is_let_in_can_be_loaded(fresh):
    """Long lists of small things cost much more to read than their length says."""
    server = fresh()
    text = ("apiVersion: millrace/v1\nkind: Pipeline\nname: p\nparams:\n  x: {type: list, default: [%s]}\n"
            "steps:\n  a: {run: 'echo ${{ size(params.x) }} > n', outputs: {n: {type: int, path: n}}}\n"
            "  b: {needs: a, wait: 1h}\n")
    for one, n in ("{}", 100000), ("{a: 1}", 100000), ("{id: 1, x: 0.5}", 150000):
        run = server.submit(text % ",".join([one] * n))
        assert server.wait_task(run, "a", "succeeded")["outputs"] == {"n": n}
        server.crash()
        server.start()
        assert server.post(f"/api/v1/runs/{run}:cancel", {}).status == 202
        assert server.ended(run)["state"] == "cancelled"
    deep = server.submit(text.replace("size(params.x)", "1") % ("[" * 58 + "]" * 58))
    server.wait_task(deep, "a", "succeeded")
    assert server.get(f"/api/v1/runs/{deep}").status == server.get(f"/api/v1/runs/{deep}/tasks").status == 200
    server.post(f"/api/v1/runs/{deep}:cancel", {})
    assert server.ended(deep)["state"] == "cancelled"
    too_deep = server.post("/api/v1/runs", {"source": text % ("[" * 70 + "]" * 70)})
    assert too_deep.status == 422 and "nested" in str(too_deep.json), too_deep
    wrong = server.post("/api/v1/runs", {"source": text % ",".join(["{}"] * 1000000)})
    assert wrong.status == 422 and "holds too many values for its length" in wrong.json["errors"][0]["message"], wrong


REQUESTS = {
    # name: (method, path, body, headers, statuses)
    "no such route": ("GET", "/api/v1/nothing", None, {}, [404]),
    "wrong method": ("PUT", "/api/v1/runs", None, {}, [405]),
    "no such run": ("GET", "/api/v1/runs/999999999", None, {}, [404]),
    "run that is no number": ("GET", "/api/v1/runs/abc", None, {}, [400, 404, 422]),
    "huge run number": ("GET", "/api/v1/runs/99999999999999999999999", None, {}, [400, 404, 422]),
    "json that is none": ("POST", "/api/v1/runs", b"{", {}, [400, 422]),
    "json that is a list": ("POST", "/api/v1/runs", b"[]", {}, [400, 422]),
    "json with a double key": ("POST", "/api/v1/runs", b'{"pipeline":"a","pipeline":"b"}', {}, [400, 422]),
    "json nested deep": ("POST", "/api/v1/runs", b"[" * 100000, {}, [400, 413, 422]),
    "json, not utf-8": ("POST", "/api/v1/runs", b'{"pipeline":"\xff"}', {}, [400, 422]),
    "unknown member": ("POST", "/api/v1/runs", {"pipelin": "x"}, {}, [400, 422]),
    "no such pipeline": ("POST", "/api/v1/runs", {"pipeline": "x-y"}, {}, [404, 422]),
    "wrong content type": ("POST", "/api/v1/runs", b"x", {"Content-Type": "image/png"}, [415]),
    "page size zero": ("GET", "/api/v1/runs?page_size=0", None, {}, [400, 422]),
    "page token of somebody else": ("GET", "/api/v1/runs?page_token=xyz", None, {}, [400, 422]),
    "filter that is none": ("GET", "/api/v1/runs?filter=state%20%3D%3D%3D%201", None, {}, [400, 422]),
    "filter as SQL": ("GET", "/api/v1/runs?filter=1%3D1%3B%20drop%20table%20runs", None, {}, [400, 422]),
    "unknown field to order by": ("GET", "/api/v1/runs?order_by=password", None, {}, [400, 422]),
    "no such project": ("GET", "/api/v1/runs?project=nobody", None, {}, [403, 404]),
    "no such blob": ("GET", "/api/v1/blobs/sha256:" + "0" * 64, None, {}, [404]),
    "digest that is none": ("GET", "/api/v1/blobs/sha256:zz", None, {}, [400, 404, 422]),
    "bundle nobody uploaded": ("POST", "/api/v1/bundles", {"digest": "sha256:" + "1" * 64}, {}, [404, 422]),
    "path tricks": ("GET", "/api/v1/../../../etc/passwd", None, {}, [400, 404]),
    "another host": ("GET", "/api/v1/runs", None, {"Host": "evil.example"}, [400, 403, 421]),
    "another origin": ("GET", "/api/v1/runs", None, {"Origin": "http://evil.example"}, [403]),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_request(server, name):
    method, path, body, headers, statuses = REQUESTS[name]
    answer = server.request(method, path, body, headers)
    assert answer.status in statuses, answer
    if answer.body:
        problem = answer.json
        assert problem["code"] and problem["title"], problem


@pytest.mark.parametrize("path", ["/api/v1/runs", "/api/v1/version", "/api/v1/tokens", "/api/v1/openapi.yaml"])
def test_nobody_without_a_token(server, path):
    assert server.get(path, token=False).status == 401
    assert server.get(path, token="x" * 40).status == 401
    assert server.get("/healthz", token=False).status == 200


def test_token_file_is_private(server):
    assert (server.data / "token").stat().st_mode & 0o777 == 0o600
    assert server.token not in server.log.read_text()


def test_roles(server):
    made = {}
    for role in ["viewer", "operator", "editor"]:
        made[role] = server.post("/api/v1/tokens", {"name": f"t-{role}", "role": role}).json["token"]
    source = pipeline(STEP)
    rows = [("viewer", "GET", "/api/v1/runs", None, 200), ("viewer", "POST", "/api/v1/runs", {"source": source}, 403),
            ("operator", "POST", "/api/v1/runs", {"source": source}, 403),
            ("editor", "POST", "/api/v1/runs", {"source": source}, 201), ("editor", "GET", "/api/v1/tokens", None, 403)]
    for role, method, path, body, status in rows:
        answer = server.request(method, path, body, token=made[role])
        assert answer.status == status, (role, method, path, answer)


def test_idempotency_key(server):
    body, headers = {"source": pipeline(STEP)}, {"Idempotency-Key": "once-and-only"}
    first = server.post("/api/v1/runs", body, headers=headers)
    again = server.post("/api/v1/runs", body, headers=headers)
    assert first.status == 201 and again.json["id"] == first.json["id"], again
    other = server.post("/api/v1/runs", {"source": pipeline(STEP, "b: {run: 'true'}")}, headers=headers)
    assert other.status in (409, 422), other


def test_oversize_body(server):
    try:
        answer = server.post("/api/v1/runs", b"x" * (64 << 20), kind="application/yaml")
        assert answer.status == 413
    except OSError:
        pass  # it may hang up on us while we send
    assert server.get("/healthz").status == 200


# What the kernel refuses to start at all: refused with its place and the cure, and not tried again.
TOO_MUCH = {
    # name: (step, what the message names)
    "one argument": ("a: {run: [echo, '${{ params.long }}'], retry: 3}", "steps.a.run: "),
    "the line": ("a: {run: 'echo ${{ params.long }}', retry: 3}", "steps.a.run: "),
    "one variable": ("a: {run: 'true', env: {LONG: '${{ params.long }}'}, retry: 3}", "steps.a.env.LONG: "),
    "a variable with its name": ("a: {run: 'true', env: {LONG: '${{ params.edge }}'}, retry: 3}", "steps.a.env.LONG: "),
    "all arguments": ("a: {run: [echo, '${{ params.many }}'], retry: 3}", "steps.a: "),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_more_than_a_process_takes(server, name):
    step, place = TOO_MUCH[name]
    head = "params: {long: {type: string}, edge: {type: string}, many: {type: list}}\n"
    params = {"long": "x" * 131072, "edge": "x" * 131070, "many": ["y" * 100000] * 65}
    number = server.submit(pipeline(step, head=head), params=params)
    assert server.ended(number)["state"] == "failed"
    task = server.tasks(number)["a"]
    assert task["reason"] == "Invalid" and task["attempt"] == 1, task
    assert task["message"].startswith(place) and "inputs: each is a file" in task["message"], task


def test_upload_truncated_and_of_another_digest(server):
    digest = "sha256:" + "2" * 64
    upload = server.post("/api/v1/uploads", {"digest": digest, "size": 4}).json
    place = f"/api/v1/uploads/{upload['id']}"
    kind = "application/octet-stream"
    half = server.request("PATCH", place, b"ab", {"Upload-Offset": "0"}, kind=kind)
    assert half.status == 200 and half.json["offset"] == 2
    assert server.request("PATCH", place, b"x", {"Upload-Offset": "1"}, kind=kind).status == 409
    wrong = server.request("PATCH", place, b"cd", {"Upload-Offset": "2"}, kind=kind)
    assert wrong.status == 422, wrong
    assert server.get(f"/api/v1/blobs/{digest}").status == 404


def test_half_a_request_does_not_hold_the_server(server):
    lazy = []
    try:
        for _ in range(20):
            s = socket.create_connection(("127.0.0.1", server.port))
            s.sendall(b"POST /api/v1/runs HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
            lazy.append(s)
        assert server.get("/healthz", patience=10).status == 200
    finally:
        for s in lazy:
            s.close()


def test_many_connections_are_refused_within_bounds(server):
    held = []
    try:
        for _ in range(300):
            try:
                held.append(socket.create_connection(("127.0.0.1", server.port), timeout=2))
            except OSError:
                break
    finally:
        for s in held:
            s.close()
    assert server.get("/healthz", patience=30).status == 200


def test_garbage_on_the_port(server):
    for junk in [b"\0" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"A" * 100000,
                 b"POST /api/v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
                 b"POST /api/v1/runs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"]:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as s:
            try:
                s.sendall(junk)
                s.shutdown(socket.SHUT_WR)
                s.settimeout(40)
                status = s.recv(64).split(b" ")[1:2]
                refused = [b"400", b"401", b"403", b"411", b"414", b"431", b"501", b"505"]
                assert not status or status[0] in refused, junk[:40]
            except OSError:
                pass
    assert server.get("/healthz").status == 200


SECRET = b"sesame-4711"


def test_secrets_stay_secret(fresh):
    """A planted secret reaches the step that declares it, and nothing else: not the database, log, API or plan."""
    server = fresh(start=False)
    folder = server.home / "secrets"
    (folder / "default").mkdir(parents=True)
    folder.chmod(0o700)
    (folder / "default" / "API_KEY").write_bytes(SECRET)
    server.options += ["--secrets-dir", str(folder)]
    server.start()
    number = server.submit(pipeline(
        "use: {env: {KEY: {secret: {env: API_KEY}}}, "
        f"run: 'test $(printf %s \"$KEY\" | sha256sum | cut -d \" \" -f 1) = {hashlib.sha256(SECRET).hexdigest()}'}}",
        "other: {needs: [use], run: 'env'}"))
    found = server.ended(number)
    assert found["state"] == "succeeded", (server.tasks(number), server.tail())
    assert server.stop() == 0
    hits = []
    for path in server.data.rglob("*"):
        if path.is_file() and SECRET in path.read_bytes():
            hits.append(path)
    assert not hits
    assert SECRET not in server.log.read_bytes()


def test_secrets_that_a_step_shows_are_covered(fresh):
    """In its log, live as well as afterwards, in what is quoted from that, and in outputs, which are recorded."""
    server = fresh(start=False)
    folder = server.home / "secrets"
    (folder / "default").mkdir(parents=True)
    folder.chmod(0o700)
    (folder / "default" / "API_KEY").write_bytes(SECRET + b"\n")
    server.options += ["--secrets-dir", str(folder)]
    server.start()
    deep = folder / "default" / "a/b/c/d/e/f"
    deep.mkdir(parents=True)
    (deep / "key").write_bytes(b"-- BEGIN --\n" + SECRET[::-1] + b"\n-- END --\n")
    go = server.home / "go"
    env = "env: {KEY: {secret: {env: API_KEY}}}"
    number = server.submit(pipeline(
        f"live: {{{env}, run: 'echo it is $KEY; printf %s ${{KEY%4711}}; until test -e {go}; do sleep 0.05; done; "
        "echo 4711; exit 3'}",
        f"out: {{{env}, run: 'echo x$KEY > o', outputs: {{o: {{type: string, path: o}}}}}}",
        f"good: {{{env}, run: 'echo $KEY'}}",
        "line: {env: {KEY: {secret: {file: a/b/c/d/e/f/key}}}, run: 'echo \"$KEY\" | sed -n 2p; exit 4'}"))
    covered = b"*" * len(SECRET)
    logs = f"/api/v1/runs/{number}/tasks/%s/logs"
    until("the log", lambda: b"it is" in server.get(logs % "live").body)
    assert server.get(logs % "live").body.startswith(b"it is " + covered)
    asked = urllib.request.Request(f"http://127.0.0.1:{server.port}{logs % 'live'}?follow=1",
                                   headers={"Authorization": f"Bearer {server.token}"})
    with urllib.request.urlopen(asked, timeout=PATIENCE) as stream:
        told = next(line for line in stream if line.startswith(b"data:"))
    assert json.loads(told[5:])["text"] == f"it is {covered.decode()}\n"  # "sesame-" may be the begin of it
    go.touch()
    run = server.ended(number)
    tasks = server.tasks(number)
    assert tasks["live"]["message"].endswith("it is " + covered.decode() + "\n" + covered.decode()), tasks["live"]
    assert "holds a secret" in tasks["out"]["message"], tasks["out"]
    assert tasks["good"]["state"] == "succeeded" and run["state"] == "failed"
    assert server.get(logs % "good").body == covered + b"\n"
    assert server.get(logs % "line").body == covered + b"\n"
    assert server.stop() == 0
    written = [p for p in server.data.rglob("*") if p.is_file()]
    assert not [p for p in written if SECRET in p.read_bytes() or SECRET[::-1] in p.read_bytes()]


def test_a_secret_that_changes_while_its_step_runs_stays_covered(fresh, tmp_path):
    """Live, in a backup, and at the end, also where the server was killed meanwhile."""
    server = fresh()
    secret = server.data / "secrets" / "default" / "API_KEY"
    secret.parent.mkdir(parents=True)
    secret.write_bytes(SECRET + b"\r\n")
    go = server.home / "go"
    number = server.submit(pipeline(
        f"a: {{env: {{KEY: {{secret: {{file: API_KEY}}}}}}, run: 'echo $KEY; until test -e {go}; do sleep 0.05; done; "
        "echo $KEY; exit 3'}"))
    written = server.data / "logs" / str(number) / "0-1.log"
    until("the log", lambda: written.exists() and SECRET in written.read_bytes())
    secret.write_bytes(b"another-one")
    server.cli("backup", "--data-dir", server.data, tmp_path / "saved")
    assert not [p for p in (tmp_path / "saved").rglob("*.log") if SECRET in p.read_bytes()]
    covered = b"*" * len(SECRET) + b"\n"
    assert server.get(f"/api/v1/runs/{number}/tasks/a/logs").body == covered
    server.crash()
    go.touch()
    server.start()
    server.ended(number)
    assert SECRET.decode() not in json.dumps(server.tasks(number))
    assert written.read_bytes() == 2 * covered
    again = server.submit(pipeline("a: {env: {KEY: {secret: {file: .given/x}}}, run: 'true'}"))
    assert server.ended(again)["state"] == "failed"
    assert "not the name of a secret" in server.tasks(again)["a"]["message"]


def test_a_backup_covers_from_the_folder_that_the_server_uses(fresh, tmp_path):
    """Though only the server's command line names it; and without it there is no backup."""
    server = fresh(start=False)
    folder = server.home / "keys"
    (folder / "default").mkdir(parents=True)
    folder.chmod(0o700)
    (folder / "default" / "API_KEY").write_bytes(SECRET)
    server.options += ["--secrets-dir", str(folder)]
    server.start()
    number = server.submit(pipeline("a: {env: {KEY: {secret: {file: API_KEY}}}, run: 'echo $KEY; sleep 600'}"))
    written = server.data / "logs" / str(number) / "0-1.log"
    until("the log", lambda: written.exists() and SECRET in written.read_bytes())
    folder.rename(server.home / "moved")
    lost = server.cli("backup", "--data-dir", server.data, tmp_path / "lost", expect=None)
    assert lost.returncode != 0 and not (tmp_path / "lost").exists()
    assert f"the folder of secrets {folder} cannot be read" in lost.stderr and "--secrets-dir" in lost.stderr
    words = ["backup", "--data-dir", server.data]
    server.cli(*words, "--secrets-dir", server.home / "moved", tmp_path / "named")
    (server.home / "moved").rename(folder)
    server.cli(*words, tmp_path / "remembered")
    for saved in ("named", "remembered"):
        log = tmp_path / saved / "logs" / str(number) / "0-1.log"
        assert log.read_bytes() == b"*" * len(SECRET) + b"\n", saved
    assert SECRET in written.read_bytes(), "it was the backups' work"
    server.post(f"/api/v1/runs/{number}:cancel")


def test_half_a_secret_is_not_shown(fresh, tmp_path):
    """Of a step that is about to write the rest: in a backup, and while it is told to stop."""
    server = fresh()
    secret = server.data / "secrets" / "default" / "API_KEY"
    secret.parent.mkdir(parents=True)
    secret.write_bytes(SECRET)
    source = server.home / "half.yaml"
    source.write_text("""apiVersion: millrace/v1
kind: Pipeline
name: half
steps:
  a:
    env: {KEY: {secret: {file: API_KEY}}}
    run: |
      trap 'printf "bye %s" "${KEY%4711}"; sleep 600' TERM
      printf "up %s" "${KEY%4711}"
      while :; do sleep 0.1; done
""")
    number = server.submit(source.read_text())
    written = server.data / "logs" / str(number) / "0-1.log"
    until("the log", lambda: written.exists() and written.read_bytes() == b"up sesame-")
    server.cli("backup", "--data-dir", server.data, tmp_path / "saved")
    assert (tmp_path / "saved" / "logs" / str(number) / "0-1.log").read_bytes() == b"up "
    assert f"{number} 0 1 3\n" in (tmp_path / "saved" / "logs.manifest").read_text()
    logs = f"/api/v1/runs/{number}/tasks/a/logs"
    assert server.get(logs).body == b"up "
    server.post(f"/api/v1/runs/{number}:cancel", {"grace": "60s"})
    until("the step to hear of it", lambda: written.read_bytes().endswith(b"bye sesame-"))
    assert server.tasks(number)["a"]["state"] == "stopping"
    assert server.get(logs).body.endswith(b"bye ")  # the shell may have said something of its own before


def test_what_is_no_secret_fails_its_step_at_once(fresh):
    """Nothing that passes by itself: it is not tried again and again."""
    server = fresh()
    folder = server.data / "secrets" / "default"
    (folder / "db").mkdir(parents=True)
    (folder / ".given").mkdir()
    os.mkfifo(folder / "pipe")
    for name, said in [("db", "is a folder"), ("pipe", "is no file"), (".given", "is not the name of a secret")]:
        number = server.submit(pipeline(f"a: {{env: {{KEY: {{secret: {{file: {name}}}}}}}, run: 'true'}}"))
        assert server.ended(number)["state"] == "failed", name
        assert said in server.tasks(number)["a"]["message"], name


def test_folder_of_secrets_is_closed(fresh):
    server = fresh()
    folder = server.data / "secrets"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert server.stop() == 0
    folder.chmod(0o755)
    done = subprocess.run([BIN, "serve", "--data-dir", server.data], env=server.environment(), capture_output=True,
                          text=True, check=False)
    assert done.returncode != 0 and f"chmod o-rwx {folder}" in done.stderr


def test_environment_of_the_server_is_not_the_steps(fresh):
    server = fresh(env={"PLANTED": "server-only"})
    number = server.submit(pipeline("look: {run: env}"))
    server.ended(number)
    assert "server-only" not in server.get(f"/api/v1/runs/{number}/tasks/look/logs").body.decode()


def test_names_of_the_server_and_its_health(fresh):
    health = free_port()
    server = fresh("--hosts", "lab.example, lab", "--health-listen", f"127.0.0.1:{health}")
    for host, status in [("lab.example", 200), (f"lab:{server.port}", 200), ("127.0.0.1", 200), ("evil.example", 403)]:
        assert server.get("/api/v1/runs", headers={"Host": host}).status == status, host
    main, server.port = server.port, health
    try:
        assert server.get("/readyz", token=False).status == 200  # a token is for the other address
        assert server.get("/api/v1/runs").status == 404
    finally:
        server.port = main
    done = subprocess.run([BIN, "serve", "--health-listen", "here"], env=server.environment(), capture_output=True,
                          text=True, check=False)
    assert done.returncode == 2 and "health-listen: 'here' is not HOST:PORT" in done.stderr
    words = subprocess.run([BIN, "serve", "--help"], capture_output=True, text=True, check=True).stdout
    assert "--health-listen HOST:PORT" in words and "--hosts NAMES" in words


def test_http_10_and_head(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("HEAD", "/api/v1/version", headers={"Authorization": f"Bearer {server.token}"})
    answer = connection.getresponse()
    assert answer.status == 200 and answer.read() == b""
