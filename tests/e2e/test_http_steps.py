"""http steps against a real server: what they send, what they take for an answer, how long they wait, and what they may
not reach; secrets on their way into headers and variables."""
import base64
import http.server
import json
import threading
import time
import urllib.parse

import pytest
from test_format import HEAD, log


class Hook(http.server.BaseHTTPRequestHandler):
    seen = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))  # told for an empty body, too
        Hook.seen.append((self.path, dict(self.headers), body))
        time.sleep(2 if self.path.startswith("/slow/") else 0)
        self.send_response(int(self.path.rsplit("/", 1)[1]))
        self.end_headers()
        self.wfile.write(b'{"ok": [1, 2]}')

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def hook():
    Hook.seen = []
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.shutdown()


def test_http_calls_and_their_limits(fresh, hook):
    mine = fresh("--allow-private-egress")
    text = HEAD + """
name: call
steps:
  post:
    http:
      method: POST
      url: %s/a/202
      headers: {X-Run: "${{ run.name }}"}
      body: {n: "${{ 1 + 1 }}"}
      expect: [202]
  answer: {expr: "${{ json(steps.post.outputs.body).ok[1] }}"}
  text: {http: {url: %s/text/200, body: "n=${{ 1 }}"}}
  form: {http: {url: %s/form/200, body: n=1, headers: {content-type: application/x-www-form-urlencoded}}}
  empty: {http: {method: POST, url: %s/empty/200}}
outputs: {answer: "${{ steps.answer.value }}", status: "${{ steps.post.outputs.status }}"}
""" % (hook, hook, hook, hook)
    run = mine.ended(mine.submit(text))
    assert run["outputs"] == {"answer": 2, "status": 202}, mine.tasks(run["id"])
    seen = {path: (headers, body) for path, headers, body in Hook.seen}
    headers, body = seen["/a/202"]
    assert (json.loads(body), headers["X-Run"]) == ({"n": 2}, run["name"])
    kinds = {path.split("/")[1]: {k.lower(): v for k, v in headers.items()}.get("content-type")
             for path, (headers, _) in seen.items()}
    assert kinds == {"a": "application/json", "text": "text/plain; charset=utf-8", "empty": None,
                     "form": "application/x-www-form-urlencoded"}
    assert headers["Idempotency-Key"].startswith(f"millrace-{run['id']}-")
    run = mine.ended(mine.submit(HEAD + "name: bad\nsteps: {post: {http: {method: POST, url: '%s/b/500'}, retry: "
                                 "{limit: 2, backoff: {base: 10ms, jitter: 0%%}}}}" % hook))
    task = mine.tasks(run["id"])["post"]
    assert run["state"] == "failed" and "500" in task["message"] and task["attempt"] == 3
    keys = [h["Idempotency-Key"] for p, h, _ in Hook.seen if p == "/b/500"]
    assert len(set(keys)) == 3


def test_a_server_stops_while_calls_are_under_way(fresh):
    """They are given up, and made again by the next server."""
    came = threading.Semaphore(0)

    class Deaf(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            came.release()
            if came.stop:
                self.send_response(200)
                self.end_headers()
            else:
                time.sleep(3600)

    came.stop = False
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Deaf)
    made.daemon_threads = True
    threading.Thread(target=made.serve_forever, daemon=True).start()
    mine = fresh("--allow-private-egress")
    url = f"http://127.0.0.1:{made.server_port}/"
    steps = "".join(f"  s{i}: {{http: {{url: '{url}', timeout: 1h}}}}\n" for i in range(6))
    run = mine.submit(HEAD + "name: deaf\nsteps:\n" + steps)
    look = mine.submit(HEAD + "name: look\nsteps: {a: {run: 'true', cache: true}}\n")
    assert mine.ended(look)["state"] == "succeeded"  # look-ups do not wait behind calls
    for _ in range(6):
        assert came.acquire(timeout=30)
    assert mine.stop() == 0
    came.stop = True
    mine.start()
    assert mine.ended(run)["state"] == "succeeded"
    made.shutdown()


def test_http_calls_end_in_time(fresh, hook):
    mine = fresh("--allow-private-egress")
    run = mine.submit(HEAD + """
name: slow
defaults: {timeout: 1h}
steps:
  step: {http: {method: POST, url: "%s/slow/200"}, timeout: 100ms, retry: {limit: 1, for: timeout, backoff: 10ms}}
  call: {http: {method: POST, url: "%s/slow/200", timeout: 100ms}, timeout: 0s}
  well: {http: {method: POST, url: "%s/slow/200"}}
""" % (hook, hook, hook))
    mine.ended(run)
    assert {p: (t["state"], t.get("reason"), t["attempt"]) for p, t in mine.tasks(run).items()} == {
        "step": ("failed", "Timeout", 2), "call": ("failed", "Timeout", 1), "well": ("succeeded", None, 1)}


def test_secret_params_reach_env_and_headers(fresh, hook):
    """A param of type secret is a reference until the step starts; a map of the same shape is only a map."""
    mine = fresh("--allow-private-egress", start=False)
    folder = mine.home / "secrets"
    (folder / "default").mkdir(parents=True)
    folder.chmod(0o700)
    (folder / "default" / "KEY").write_text("sesame-4712")
    mine.options += ["--secrets-dir", str(folder)]
    mine.start()
    child = HEAD + ("name: keeper\nparams: {k: {type: secret}, m: {type: map}, o: {type: secret, optional: true}}\n"
                    "defaults: {env: {D: '${{ params.k }}'}}\nsteps:\n  a:\n"
                    "    run: echo \"$K$D$O\" | rev; echo \"$M\"\n"
                    "    env: {K: '${{ params.k }}', M: '${{ params.m }}', O: '${{ params.o }}'}\n")
    assert mine.post("/api/v1/pipelines", child, kind="application/yaml").status == 201
    run = mine.submit(HEAD + "name: parent\nparams: {k: secret, m: {default: {secret: {env: KEY}}}}\nsteps:\n"
                      "  sub: {pipeline: keeper, params: {k: '${{ params.k }}', m: '${{ params.m }}'}}\n"
                      "  post: {http: {method: POST, url: '%s/k/200', headers: {X-Key: '${{ params.k }}'}}}\n" % hook,
                      params={"k": {"secret": {"env": "KEY"}}})
    assert mine.ended(run)["state"] == "succeeded", mine.tasks(run)
    assert log(mine, {"id": run}, "sub.a") == '2174-emases' * 2 + '\n{"secret":{"env":"KEY"}}\n'
    assert Hook.seen[-1][1]["X-Key"] == "sesame-4712"
    plan = mine.get(f"/api/v1/runs/{run}/plan").body + mine.get(f"/api/v1/runs/{run}").body
    assert b"sesame" not in plan, plan
    absent = mine.submit(HEAD + "name: none\nparams: {k: secret}\nsteps: {a: {run: 'true', env: {K: "
                         "'${{ params.k }}'}}}\n", params={"k": {"secret": {"env": "OTHER"}}})
    assert mine.ended(absent)["state"] == "failed" and "'OTHER'" in mine.tasks(absent)["a"]["message"]
    (folder / "default" / "of").mkdir()
    (folder / "default" / "of" / "cluster").write_text("sesame-4713")
    elsewhere = mine.submit(HEAD + "name: cluster\nsteps: {post: {http: {url: '%s/cluster/200', headers: {X-Key: "
                            "{secret: {kubernetes: of/cluster}}}}}}\n" % hook)
    assert mine.ended(elsewhere)["state"] == "failed"
    message = mine.tasks(elsewhere)["post"]["message"]
    assert "http.headers.X-Key" in message and "secrets of Kubernetes do not exist" in message, message
    assert not [p for p, _, _ in Hook.seen if p == "/cluster/200"]


ECHOES = {
    "json": json.dumps,
    "slashes": lambda s: json.dumps(s).replace("/", "\\/"),
    "codes": lambda s: '"' + "".join(f"\\u{ord(c):04X}" for c in s) + '"',
    "within": lambda s: json.dumps(json.dumps({"x": s})),
    "base64": lambda s: json.dumps(base64.b64encode(s.encode()).decode()),
    "url": lambda s: json.dumps(urllib.parse.quote(s, safe="")),
}


class Echo(http.server.BaseHTTPRequestHandler):
    """Tells the header X-Key in the way that the path names, as the value and the name of a member."""

    def do_GET(self):
        status, way = self.path.strip("/").split("/")
        told = ECHOES[way](self.headers["X-Key"])
        self.send_response(int(status))
        self.end_headers()
        self.wfile.write(f'{{ "n":1.50, "got":{told},"in":{{{told}: [{told}]}} }}\n'.encode())

    def log_message(self, *args):
        pass


def test_answers_that_tell_a_secret_are_covered(fresh):
    """However they write it: it is in no output, message or file, and what is said besides stays byte for byte."""
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    secret = 'q"uo\\te/se same <4714>'
    mine = fresh("--allow-private-egress")
    folder = mine.data / "secrets" / "default"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "KEY").write_text(secret)
    call = "{http: {url: 'http://127.0.0.1:%d/%%d/%%s', headers: {X-Key: {secret: {file: KEY}}}}}" % made.server_port
    steps = "".join(f"  {way}: {call % (200, way)}\n  got-{way}: "
                    f"{{expr: '${{{{ json(steps.{way}.outputs.body).got }}}}'}}\n" for way in ECHOES)
    run = mine.ended(mine.submit(HEAD + "name: echo\nsteps:\n" + steps + "outputs:\n" + "".join(
        f"  {way}: \"${{{{ steps['got-{way}'].value }}}}\"\n" for way in ECHOES)))
    assert run["state"] == "succeeded", mine.tasks(run["id"])
    shown = {way: told.strip('{}" :\\x') for way, told in run["outputs"].items()}
    assert all(set(told) <= set("*=") and told for told in shown.values()), shown
    for way in ECHOES:
        body = mine.tasks(run["id"])[way]["outputs"]["body"]
        assert body.startswith('{ "n":1.50, "got":"') and body.endswith("]} }\n"), body
        assert len(body) == len(f'{{ "n":1.50, "got":,"in":{{: []}} }}\n') + 3 * len(ECHOES[way](secret)), body
    bad = mine.submit(HEAD + "name: bad\nsteps:\n" + "".join(f"  {w}: {call % (500, w)}\n" for w in ECHOES))
    assert mine.ended(bad)["state"] == "failed"
    messages = {way: task["message"] for way, task in mine.tasks(bad).items()}
    assert all("****" in text for text in messages.values()), messages
    made.shutdown()
    assert mine.stop() == 0
    forms = [secret] + [tell(secret).strip('"').rstrip("=") for tell in ECHOES.values()]
    forms += [form.replace("\\", "\\\\") for form in forms]
    for path in mine.data.rglob("*"):
        if path.is_file() and path.parent.name not in ("default", ".given"):
            assert not [form for form in forms if form.encode() in path.read_bytes()], path


def test_private_addresses_are_not_called(server, hook):
    text = f"name: inside\nsteps: {{get: {{http: {{method: POST, url: '{hook}/c/200'}}}}}}"
    run = server.ended(server.submit(HEAD + text))
    message = server.tasks(run["id"])["get"]["message"]
    assert run["state"] == "failed" and "127.0.0.1" in message, message
    assert not [p for p, _, _ in Hook.seen if p == "/c/200"]
