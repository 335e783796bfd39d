"""The command line against a peer that misbehaves: busy, redirecting, cut off, talking nonsense. A real server does
none of this on request, so this one follows a script: a list of answers to one request after the other."""
import http.server
import json
import os
import subprocess
import threading

import pytest
from harness import BIN

RUN = {"id": 1, "name": "scripted", "pipeline": "scripted", "state": "running"}
TASKS = {"items": [{"task": 0, "path": "only", "state": "running", "attempt": 1}]}


class Peer:
    """answers: for each path prefix, what to do with one request after the other; the last stays."""

    def __init__(self, answers):
        self.seen, self.lock = [], threading.Lock()
        peer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = max((p for p in answers if self.path.startswith(p)), key=len)
                with peer.lock:
                    peer.seen.append((self.command, self.path, dict(self.headers), body))
                    todo = answers[path]
                    what = todo.pop(0) if len(todo) > 1 else todo[0]
                what(self)

            do_GET = do_POST = do_PATCH = do_HEAD = do_DELETE = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def paths(self, method=None):
        return [path for m, path, _, _ in self.seen if method in (None, m)]


def say(status, body, kind="application/json", **headers):
    def act(handler):
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(text)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(text)
    return act


def hang_up(handler):
    handler.close_connection = True


def cut_off(handler):
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"items":[')
    handler.close_connection = True


def stream(*events):
    def act(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write("".join(events).encode())
        handler.close_connection = True
    return act


@pytest.fixture
def peer():
    made = []

    def make(answers):
        made.append(Peer(answers))
        return made[-1]

    yield make
    for one in made:
        one.server.shutdown()
        one.server.server_close()


def cli(peer, *words, token="secret"):
    env = {"PATH": os.environ["PATH"], "MILLRACE_URL": peer.url, "MILLRACE_TOKEN": token,
           "XDG_CONFIG_HOME": "/nonexistent"}
    env.update((k, v) for k, v in os.environ.items() if k.endswith("SAN_OPTIONS"))
    return subprocess.run([BIN, *words], env=env, capture_output=True, text=True, timeout=120)


BUSY = say(503, {"code": "unavailable", "detail": "the database is away"}, Retry_After="0")
FINE = say(200, {"items": [{"id": 7, "name": "x", "state": "failed"}]})


@pytest.mark.parametrize("answers, code, says, requests", [
    ([BUSY, BUSY, FINE], 0, "failed", 3),
    ([BUSY], 6, "the database is away", 5),
    ([say(429, {"code": "too-many-requests", "detail": "slow down"}, Retry_After="0"), FINE], 0, "failed", 2),
    ([hang_up, FINE], 0, "failed", 2),
    ([cut_off, FINE], 0, "failed", 2),
    ([say(302, b"", Location="http://127.0.0.1:1/elsewhere")], 6, "redirection", 1),
    ([say(200, b'{"items":')], 3, "error:", 1),
    ([say(200, b"<html>", kind="text/html")], 0, "RUN", 1),
    ([say(502, b"<html>bad gateway</html>", kind="text/html")], 6, "502", 1),
    ([say(500, {"code": "internal", "detail": "oh\x1b[2J no"})], 1, "oh?[2J no", 1),
    ([say(401, {"code": "unauthenticated", "detail": "who are you"})], 5, "MILLRACE_TOKEN", 1),
    ([say(403, {"code": "forbidden", "detail": "viewer is not enough"})], 5, "viewer is not enough", 1),
])
def test_answers_to_a_list(peer, answers, code, says, requests):
    made = peer({"/": answers})
    done = cli(made, "list")
    assert done.returncode == code, done
    assert says in done.stdout + done.stderr, done
    assert len(made.seen) == requests
    assert "secret" not in done.stdout + done.stderr


def test_a_create_is_repeated_only_with_its_key(peer):
    made = peer({"/": [hang_up, say(201, {"id": 5})]})
    done = cli(made, "submit", "applied")
    assert done.returncode == 0 and done.stdout == "5\n", done
    keys = {headers["Idempotency-Key"] for _, _, headers, _ in made.seen}
    assert len(made.seen) == 2 and len(keys) == 1
    made = peer({"/": [hang_up, say(201, {"token": "t"})]})
    assert cli(made, "token", "create", "x").returncode == 6
    assert len(made.seen) == 1  # it might have been made


def test_a_stream_is_resumed_behind_its_last_event(peer):
    log = ['id: 5\nevent: log\ndata: {"text":"first","attempt":1}\n\n', 'id: 6\nevent: log\ndata: {"text":"cut o']
    rest = ['id: 12\nevent: log\ndata: {"text":" second\\n","attempt":1}\n\n',
            'event: end\ndata: {"state":"succeeded"}\n\n']
    made = peer({"/api/v1/runs/1": [say(200, RUN)], "/api/v1/runs/1/tasks": [say(200, TASKS)],
                 "/api/v1/runs/1/tasks/0/logs": [stream(*log), hang_up, stream(*rest)]})
    done = cli(made, "logs", "1", "only", "-f")
    assert done.returncode == 0 and done.stdout == "first second\n", done
    followed = [headers.get("Last-Event-ID") for _, path, headers, _ in made.seen if "/logs" in path]
    assert followed == [None, "5", "5"]


def test_a_log_goes_on_by_range_when_no_stream_is_left(peer):
    begun = stream('id: 1.6\nevent: log\ndata: {"text":"first ","attempt":1}\n\n')
    ended = {"items": [{"task": 0, "path": "only", "state": "succeeded", "attempt": 1}]}
    made = peer({"/api/v1/runs/1": [say(200, RUN), say(200, {**RUN, "state": "succeeded"})],
                 "/api/v1/runs/1/tasks": [say(200, TASKS), say(200, ended)],
                 "/api/v1/runs/1/tasks/0/logs?follow=1": [begun, BUSY],
                 "/api/v1/runs/1/tasks/0/logs?follow=0": [say(206, b"second\n", kind="text/plain")]})
    done = cli(made, "logs", "1", "only", "-f")
    assert done.returncode == 0 and done.stdout == "first second\n", done
    assert [headers.get("Range") for _, path, headers, _ in made.seen if "follow=0" in path] == ["bytes=6-"]


def test_an_upload_goes_on_where_it_broke(peer, tmp_path):
    source = "apiVersion: millrace/v1\nkind: Pipeline\nname: up\nsteps:\n  a: {run: ./a}\n"
    (tmp_path / "pipeline.yaml").write_text(source)
    (tmp_path / "noise").write_bytes(os.urandom(5_000_000))
    upload = {"id": "u1", "offset": 0, "complete": False}
    made = peer({"/api/v1/bundles": [say(404, {"code": "not-found"}), say(201, {})],
                 "/api/v1/uploads": [say(201, upload)],
                 "/api/v1/uploads/u1": [
                     hang_up, hang_up,  # of the first, libcurl thinks that the connection was merely old
                     say(200, {**upload, "offset": 1_000_000}), say(201, {**upload, "complete": True})],
                 "/api/v1/runs": [say(201, {"id": 3})]})
    done = cli(made, "submit", str(tmp_path / "pipeline.yaml"))
    assert done.returncode == 0 and done.stdout == "3\n", done
    sent = [(int(h["Upload-Offset"]), len(body)) for m, _, h, body in made.seen if m == "PATCH"]
    assert sent[0][0] == 0 and sent[-1][0] == 1_000_000 and sent[-1][1] > 3_900_000, sent


def test_a_token_goes_to_its_own_server_only(peer, tmp_path):
    made = peer({"/": [FINE]})
    (tmp_path / "millrace").mkdir()
    (tmp_path / "millrace/config.yaml").write_text(
        "current: lab\ncontexts:\n  lab: {server: 'http://127.0.0.2:9', token: lab-secret}\n")
    env = {"PATH": os.environ["PATH"], "XDG_CONFIG_HOME": str(tmp_path), "MILLRACE_DATA_DIR": "/nonexistent"}
    done = subprocess.run([BIN, "list", "--server", made.url], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done
    assert "Authorization" not in made.seen[0][2]
