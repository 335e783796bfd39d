"""Code that a pipeline names in a git repository: fetched where it is submitted, refused where nobody fetched it."""
import http.server
import os
import subprocess
import threading

import pytest
from test_cli import pipeline

GIT = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "GIT_AUTHOR_NAME": "a",
       "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}


def git(folder, *words):
    return subprocess.run(["git", "-C", folder, *words], env=GIT, check=True, capture_output=True, text=True).stdout


def commit(folder, text):
    (folder / "data.txt").write_text(text)
    git(folder, "add", "data.txt")
    git(folder, "commit", "-qm", text)
    return git(folder, "rev-parse", "HEAD").strip()


class Handler(http.server.BaseHTTPRequestHandler):
    """git's own server side, which speaks CGI."""

    def do_GET(self):
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        env = {**GIT, "GIT_PROJECT_ROOT": str(self.server.root), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path,
               "QUERY_STRING": query, "REQUEST_METHOD": self.command, "CONTENT_LENGTH": str(len(body)),
               "CONTENT_TYPE": self.headers.get("Content-Type", ""),
               "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
               "GIT_PROTOCOL": self.headers.get("Git-Protocol", "")}
        done = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True, check=False)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET

    def log_message(self, *words):
        pass


@pytest.fixture
def repository(tmp_path):
    """A repository with two commits, the first of them tagged v1, and its address."""
    folder = tmp_path / "root/code"
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "first")
    git(folder, "tag", "v1")
    commit(folder, "second")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        web.root = folder.parent
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{web.server_port}/code/.git"
        web.shutdown()


def source(url, ref):
    of = f", ref: {ref}" if ref else ""
    return pipeline("a: {run: cp data.txt out, outputs: {text: {type: string, path: out}}}", name="coded",
                    head=f"code: {{git: {{url: '{url}'{of}}}}}\n")


def test_the_code_of_a_commit(server, repository, tmp_path):
    folder, url = repository
    first = git(folder, "rev-parse", "v1").strip()
    file = tmp_path / "coded.yaml"
    for ref, text in [("v1", "first"), ("main", "second"), (first, "first"), ("", "second")]:
        file.write_text(source(url, ref))
        done = server.cli("submit", file)
        assert git(folder, "rev-parse", ref or "HEAD").strip() in done.stderr
        number = int(done.stdout)
        assert server.ended(number)["state"] == "succeeded", server.tasks(number)
        assert server.tasks(number)["a"]["outputs"]["text"] == text, ref
    # What is applied keeps its commit, whatever happens to the branch.
    server.cli("apply", "-f", file)
    commit(folder, "third")
    number = int(server.cli("submit", "coded").stdout)
    assert server.ended(number)["state"] == "succeeded"
    assert server.tasks(number)["a"]["outputs"]["text"] == "second"
    assert not list(tmp_path.glob("millrace-code-*"))


def test_a_wrong_ref_is_told(server, repository, tmp_path):
    file = tmp_path / "coded.yaml"
    file.write_text(source(repository[1], "no-such-branch"))
    done = server.cli("run", file, expect=4, env={"TMPDIR": str(tmp_path)})
    assert "code.git" in done.stderr and "no-such-branch" in done.stderr and "--bundle" in done.stderr, done.stderr
    assert not list(tmp_path.glob("millrace-code-*"))


def test_nothing_runs_without_its_code(server, repository):
    answer = server.post("/api/v1/runs", {"source": source(repository[1], "main")})
    assert answer.status == 422, answer
    assert answer.json["path"] == "code.git" and "bundle" in answer.json["hint"], answer
