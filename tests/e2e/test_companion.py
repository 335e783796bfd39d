"""The containers beside a step in a pod, as processes: what they fetch and keep, through the server or past it, and
what they do when somebody is away."""
import hashlib
import http.client
import http.server
import json
import os
import shutil
import signal
import subprocess
import threading

import pytest
from harness import BIN, free_port
from test_s3 import Gateway


def sha(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Pod:
    """The folders of a pod, and the companions' way into them."""

    def __init__(self, server, home, url=None):
        self.work, self.plan, self.message = home / "work", home / "plan", home / "message"
        self.work.mkdir()
        self.message.touch()
        self.env = {**server.environment(), "MILLRACE_API_URL": url or f"http://127.0.0.1:{server.port}",
                    "MILLRACE_TOKEN": server.token}

    def start(self, verb, **plan):
        self.plan.write_text(json.dumps({"version": 1, "inputs": [], "outputs": [], **plan}))
        return subprocess.Popen([BIN, "__companion", verb, self.plan, self.work, self.message], env=self.env,
                                stderr=subprocess.PIPE, text=True)

    def fetch(self, **plan):
        fetching = self.start("fetch", **plan)
        said = fetching.communicate(timeout=60)[1]
        return fetching.returncode, said

    def collect(self, **plan):
        collecting = self.start("collect", **plan)
        assert collecting.stderr.readline() == "waiting for the step to end\n"
        collecting.send_signal(signal.SIGTERM)
        said = collecting.communicate(timeout=60)[1]
        assert collecting.returncode == 0, said
        return json.loads(self.message.read_text()), said


def test_whoever_collects_is_waited_for(server, tmp_path):
    """Before it handles the signal, the step's end would not be told to a first process."""
    deaf = subprocess.Popen(["sleep", "60"])
    waits = subprocess.Popen([BIN, "__companion", "ready", str(deaf.pid)])
    collecting = Pod(server, tmp_path).start("collect")
    assert subprocess.run([BIN, "__companion", "ready", str(collecting.pid)], timeout=10).returncode == 0
    assert collecting.poll() is None and waits.poll() is None
    for one in (collecting, waits, deaf):
        one.kill()
        one.wait()


def keep(server, data):
    """As an upload of anybody."""
    made = server.post("/api/v1/uploads", {"digest": sha(data), "size": len(data)}).json
    if not made["complete"]:
        sent = server.request("PATCH", f"/api/v1/uploads/{made['id']}", data,
                              headers={"Upload-Offset": "0", "Content-Type": "application/octet-stream"})
        assert sent.status == 201, sent
    return {"digest": sha(data), "size": len(data)}


@pytest.fixture
def pod(server, tmp_path):
    return Pod(server, tmp_path)


@pytest.fixture
def gateway():
    made = Gateway()
    try:
        yield made.start()
    finally:
        made.remove()


def outputs(*names):
    return [{"name": n, "path": n, "artifact": "model"} for n in names]


def test_fetch_puts_things_in_their_places(server, pod):
    data = os.urandom(3 << 20)
    inputs = [{"name": "a", "path": "sub/inputs/a", **keep(server, data)},
              {"name": "t", "path": "inputs/t", "text": "some text\n"}]
    code, said = pod.fetch(inputs=inputs, outputs=outputs("deep/er/m"))
    assert code == 0, said
    assert (pod.work / "sub/inputs/a").read_bytes() == data
    assert (pod.work / "inputs/t").read_text() == "some text\n"
    for made in ("sub/inputs", "deep/er", "sub/inputs/a"):
        assert (pod.work / made).stat().st_mode & 0o666 == 0o666  # whoever the step is


NEVER = 3  # another try would end the same


@pytest.mark.parametrize("broken, code", [
    ({"name": "x", "path": "inputs/x", "digest": sha(b"nobody has this"), "size": 5}, NEVER),
    ({"name": "x", "path": "../x", "text": "out"}, 1),
    ({"name": "x", "path": "inputs/x", "digest": "sha256:1", "size": 5}, NEVER),
])
def test_fetch_says_what_did_not_come(pod, broken, code):
    got, said = pod.fetch(inputs=[broken])
    assert got == code and pod.message.read_text().startswith("inputs"), said


def test_what_is_damaged_where_it_is_kept_is_not_asked_for_for_ever(server, pod):
    data = os.urandom(5000)
    kept = keep(server, data)
    blob, = [p for p in server.home.rglob("*") if kept["digest"].endswith(p.name) and len(p.name) > 50]
    blob.chmod(0o600)
    blob.write_bytes(bytes(5000))
    got, said = pod.fetch(inputs=[{"name": "x", "path": "x", **kept}])
    assert got == NEVER and "is damaged where it is kept" in pod.message.read_text(), said
    assert said.count("came damaged") == 2, said


def test_a_code_that_is_no_bundle_is_not_asked_for_for_ever(server, pod):
    got, said = pod.fetch(bundle=keep(server, b"no tar")["digest"])
    assert got == NEVER and pod.message.read_text().startswith("code: "), said


def test_outputs_have_their_time(fresh, tmp_path):
    server = fresh()
    pod = Pod(server, tmp_path)
    server.stop()
    (pod.work / "m").write_bytes(b"weights")
    told, _ = pod.collect(outputs=outputs("m"), uploadMs=1500)
    assert told["failed"] == "timeout", told
    assert "its uploadTimeout, 1s; last: cannot reach" in told["message"], told


def test_what_a_run_says_of_a_size_is_not_believed(server, pod):
    data = os.urandom(5000)
    kept, said = keep(server, data), {"a": 0, "b": 5, "c": 9999}
    inputs = [{"name": n, "path": n, **kept, "size": size} for n, size in said.items()]
    code, said = pod.fetch(inputs=inputs)
    assert code == 0 and all((pod.work / n).read_bytes() == data for n in "abc"), said


def test_collect_keeps_and_tells(server, pod):
    (pod.work / "m").write_bytes(b"weights")
    (pod.work / "n").write_text("41\n")
    told, _ = pod.collect(outputs=[*outputs("m"), {"name": "n", "path": "n", "param": "int"},
                                   {"name": "o", "path": "o", "artifact": "x", "optional": True}])
    assert told["outputs"]["n"] == 41 and told["artifacts"][0]["digest"] == sha(b"weights"), told
    assert server.get(f"/api/v1/blobs/{sha(b'weights')}").body == b"weights"


def test_collect_says_what_is_missing(pod):
    told, _ = pod.collect(outputs=outputs("m"))
    assert told["failed"] == "output" and "'m' (m) was not written" in told["message"], told


def test_collect_gives_up_when_the_attempt_is_over(pod):
    pod.env["MILLRACE_TOKEN"] = "mrs1.1.0.1." + "0" * 64
    (pod.work / "m").write_text("weights")
    told, _ = pod.collect(outputs=outputs("m"))
    assert told["failed"] == "infra" and "could not be stored" in told["message"], told


def test_a_long_manifest_is_kept_itself(server, pod):
    for i in range(40):
        (pod.work / f"m{i}").write_text(str(i))
    told, _ = pod.collect(outputs=outputs(*(f"m{i}" for i in range(40))))
    kept = json.loads(server.get(f"/api/v1/blobs/{told['manifest']}").body)
    assert len(kept["artifacts"]) == 40


def test_both_wait_for_a_server_that_is_away(fresh, tmp_path):
    server = fresh()
    pod = Pod(server, tmp_path)
    server.stop()
    (pod.work / "m").write_bytes(b"weights")
    collecting = pod.start("collect", outputs=outputs("m"))
    assert collecting.stderr.readline() == "waiting for the step to end\n"
    collecting.send_signal(signal.SIGTERM)
    assert "trying again" in collecting.stderr.readline()
    server.start()
    assert collecting.wait(60) == 0
    assert json.loads(pod.message.read_text())["artifacts"][0]["digest"] == sha(b"weights")


def test_data_goes_past_the_server(fresh, gateway, tmp_path):
    server = fresh(*gateway.options())
    data = os.urandom(2 << 20)
    pod = Pod(server, tmp_path)
    (pod.work / "m").write_bytes(data)
    told, said = pod.collect(outputs=outputs("m"))
    assert told["artifacts"][0]["digest"] == sha(data) and "through the server" not in said, said
    assert gateway.blobs()[sha(data)[7:]].read_bytes() == data
    led = server.get(f"/api/v1/blobs/{sha(data)}?direct=true")
    assert led.status == 307 and led.headers["Location"].startswith(f"http://127.0.0.1:{gateway.port}/"), led
    code, said = pod.fetch(inputs=[{"name": "a", "path": "a", "digest": sha(data), "size": len(data)}])
    assert code == 0 and (pod.work / "a").read_bytes() == data and "asking the server" not in said, said
    gateway.blobs()[sha(data)[7:]].unlink()
    assert pod.fetch(inputs=[{"name": "a", "path": "a", "digest": sha(data), "size": len(data)}])[0] == NEVER
    told = pod.message.read_text()
    assert told.startswith("inputs.a: there is no s3://") and "millrace retry RUN --from STEP" in told, told
    (pod.work / "m").write_bytes(data)
    assert pod.collect(outputs=outputs("m"))[0]["artifacts"] and sha(data)[7:] in gateway.blobs()  # as it runs again


def test_a_store_that_is_silent_is_named(fresh, gateway, tmp_path):
    pod = Pod(fresh(*gateway.options()), tmp_path)
    (pod.work / "m").write_bytes(b"weights")
    gateway.process.send_signal(signal.SIGSTOP)
    told, _ = pod.collect(outputs=outputs("m"), uploadMs=1500)
    assert told["failed"] == "timeout", told
    assert told["message"].endswith(f"1s; they were on their way to http://127.0.0.1:{gateway.port}"), told
    gateway.process.send_signal(signal.SIGCONT)


def test_what_the_store_has_not_got_is_not_taken(fresh, gateway):
    server = fresh(*gateway.options())
    made = server.post("/api/v1/uploads", {"digest": sha(b"never put"), "size": 9, "direct": True}).json
    assert made["link"]["url"].startswith("http")
    answer = server.post(f"/api/v1/uploads/{made['id']}:taken")
    assert answer.status == 409, answer
    answer = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", made["link"]["header"],
                             "-X", "PUT", "--data-binary", "otherwise", made["link"]["url"]],
                            capture_output=True, text=True, check=True).stdout
    assert answer.startswith("4"), answer  # only the bytes of that digest
    assert server.post(f"/api/v1/uploads/{made['id']}:taken").status == 409


def test_pods_of_a_node_share_what_they_fetched(server, pod, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    pod.env |= {"MILLRACE_CACHE": str(cache), "MILLRACE_CACHE_BYTES": "2500"}
    kept = [keep(server, bytes([i]) * 1000) for i in range(3)]

    def fetch(i, code=0):
        got, said = pod.fetch(inputs=[{"name": "a", "path": f"a{i}", **kept[i]}])
        assert got == code, said
        return {p.name for p in cache.iterdir()}

    names = [k["digest"][7:] for k in kept]
    assert fetch(0) == {names[0]}
    os.utime(cache / names[0], (1, 1))
    assert fetch(1) == {names[0], names[1]}
    assert fetch(0) == {names[0], names[1]}  # used again: now the other one is older
    os.utime(cache / names[1], (1, 1))
    assert fetch(2) == {names[0], names[2]}
    (cache / names[0]).write_bytes(b"damaged")
    assert fetch(0) == {names[0], names[2]} and (pod.work / "a0").read_bytes() == bytes(1000)
    (cache / names[2]).write_bytes(bytes([9]) * 1000)
    shutil.rmtree(pod.work / "a2", ignore_errors=True)
    fetch(2)
    assert (pod.work / "a2").read_bytes() == bytes([2]) * 1000
    away = free_port()
    pod.env["MILLRACE_API_URL"] = f"http://127.0.0.1:{away}"
    fetch(2)  # nobody is asked


def misleading(port):
    """A way to the server's API on which links lead to where nobody listens."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            behind = http.client.HTTPConnection("127.0.0.1", port)
            behind.request(self.command, self.path, headers={k: v for k, v in self.headers.items() if k != "Host"})
            answer = behind.getresponse()
            body = answer.read()
            self.send_response(answer.status)
            if answer.status == 307:
                self.send_header("Location", f"http://127.0.0.1:{free_port()}/")
            self.send_header("Content-Length", answer.headers["Content-Length"] or "0")
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    return made


def test_data_goes_through_the_server_where_the_store_is_out_of_reach(fresh, gateway, tmp_path):
    server = fresh(*gateway.options())
    data = os.urandom(1 << 20)
    pod = Pod(server, tmp_path)
    pod.env["http_proxy"] = f"http://127.0.0.1:{free_port()}"  # the link's only: a server of this machine needs none
    (pod.work / "m").write_bytes(data)
    told, said = pod.collect(outputs=outputs("m"))
    assert told["artifacts"][0]["digest"] == sha(data) and "through the server" in said, said
    with misleading(server.port) as way:
        pod.env["MILLRACE_API_URL"] = f"http://127.0.0.1:{way.server_port}"
        code, said = pod.fetch(inputs=[{"name": "a", "path": "a", "digest": sha(data), "size": len(data)}])
        assert code == 0 and (pod.work / "a").read_bytes() == data and "asking the server" in said, said
        way.shutdown()
