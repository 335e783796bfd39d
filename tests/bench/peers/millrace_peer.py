"""Millrace as its users meet it: the server as a process of its own, submissions and their ends over HTTP."""
import asyncio
import json
import os
import pathlib
import subprocess
import time
import urllib.request

from peer import serve

port = int(os.environ["PEER_PORT"])
data = pathlib.Path(os.environ["PEER_DIR"], "data")
base = f"http://127.0.0.1:{port}"
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(path, body=None):
    token = (data / "token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/yaml"}
    with direct.open(urllib.request.Request(base + path, body, headers)):
        return token


def start_server():
    """Its process and its token."""
    data.mkdir(mode=0o711)
    server = subprocess.Popen([os.environ["MILLRACE"], "serve", "--data-dir", data, "--listen", f"127.0.0.1:{port}",
                               "--log-level", "warn"], stdout=2,
                              env=dict(os.environ, DATABASE_URL=os.environ["PEER_DATABASE_URL"]))
    for _ in range(300):
        try:
            return server, call("/readyz")
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server does not become ready")


def apply(name, steps):
    lines = ["apiVersion: millrace/v1", "kind: Pipeline", f"name: {name}", "steps:"]
    for i in range(steps):
        lines += [f"  s{i}:", "    expr: null"] + ([f"    needs: [s{i - 1}]"] if i > 0 else [])
    call("/api/v1/pipelines", "\n".join(lines).encode())


async def answer_of(reader):
    """The body of an answer with Content-Length."""
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 2"):
        raise SystemExit(f"refused: {head.decode()}")
    fields = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:] if line)
    return json.loads(await reader.readexactly(int(fields["content-length"])))


async def one(pipeline):
    """Submits a run and follows its events to the last one, on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    head = f"HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
    body = json.dumps({"pipeline": pipeline})
    writer.write(f"POST /api/v1/runs {head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
                 .encode())
    run = (await answer_of(reader))["id"]
    writer.write(f"GET /api/v1/runs/{run}/events {head}Accept: text/event-stream\r\n\r\n".encode())
    await reader.readuntil(b"event: end")
    if b'"state":"succeeded"' not in await reader.readuntil(b"\n\n"):
        raise SystemExit(f"run {run} did not succeed")
    writer.close()


async def together(workflows, steps):
    await asyncio.gather(*(one(f"bench-{steps}") for _ in range(workflows)))


server, token = start_server()
try:
    for steps in (2, 10, 40):
        apply(f"bench-{steps}", steps)
    serve(lambda workflows, steps: asyncio.run(together(workflows, steps)))
finally:
    server.terminate()
    server.wait()
