"""Every operation of api/openapi.yaml, called on a real server; contract.py holds the answers against the description.
"""
import hashlib
import io
import tarfile

import contract

SOURCE = """apiVersion: millrace/v1
kind: Pipeline
name: everything
params: {n: {type: int, default: 1}}
steps:
  make: {run: "echo made; echo ${{ params.n }} > out.txt", outputs: {out: {artifact: file, path: out.txt}}}
  ask: {approval: {message: go on?}, needs: [make]}
outputs: {n: "${{ params.n }}"}
"""
API = "/api/v1"


def digest_of(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def upload(server, content):
    begun = server.post(API + "/uploads", {"digest": digest_of(content), "size": len(content)}).json
    path = f"{API}/uploads/{begun['id']}"
    assert server.get(path).json["offset"] == 0
    for offset, piece in ((0, content[:3]), (3, content[3:])):
        done = server.request("PATCH", path, piece, headers={"Upload-Offset": str(offset)},
                              kind="application/octet-stream").json
    assert done["complete"]
    return begun["digest"]


def blobs_and_bundles(server):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("empty.txt"))
    digest = upload(server, packed.getvalue())
    assert server.get(f"{API}/blobs/{digest}").body == packed.getvalue()
    assert server.get(f"{API}/blobs/{digest}", headers={"Range": "bytes=0-3"}).status == 206
    assert server.post(API + "/uploads", {"digest": digest, "size": len(packed.getvalue())}).status == 200
    begun = server.post(API + "/uploads", {"digest": digest_of(b"sent twice"), "size": 10}).json["id"]
    upload(server, b"sent twice")
    assert server.post(f"{API}/uploads/{begun}:taken").status == 200
    for status in (201, 200):
        assert server.post(API + "/bundles", {"digest": digest}).status == status
    assert server.get(f"{API}/bundles/{digest}").json["entries"] == 1
    artifact = server.post(API + "/artifacts", {"name": "n", "type": "t", "digest": digest, "metadata": {"a": 1}})
    assert artifact.status == 201 and artifact.headers["Location"] == f"{API}/artifacts/{artifact.json['id']}"
    assert server.get(artifact.headers["Location"]).json == artifact.json
    other = server.post(API + "/uploads", {"digest": digest_of(b"never sent"), "size": 10}).json
    assert server.request("DELETE", f"{API}/uploads/{other['id']}").status == 204


def pipelines(server):
    for verb in ("validate", "plan"):
        assert server.post(f"{API}/pipelines:{verb}", SOURCE, kind="application/yaml").status == 200
    for query, status in (("?dry_run=true", 200), ("", 201), ("", 200)):
        assert server.post(f"{API}/pipelines{query}", SOURCE, kind="application/yaml").status == status
    versions = "/everything/versions"
    for path in ("", "/everything", versions, versions + "/1", versions + "/1?format=dot"):
        answer = server.get(f"{API}/pipelines{path}")
        assert answer.status == 200 and "everything" in answer.body.decode(), answer


def run_and_what_it_left(server):
    made = server.post(API + "/runs", {"pipeline": "everything", "labels": {"team": "a"}})
    assert made.status == 201 and made.headers["Location"] == f"{API}/runs/{made.json['id']}"
    run = f"{API}/runs/{made.json['id']}"
    server.wait_task(made.json["id"], "ask", "waiting")
    for action in ("pause", "resume"):
        assert server.post(f"{run}:{action}").status == 202
    assert server.post(f"{run}/tasks/ask:approve", {"approved": True}).status == 202
    assert server.ended(made.json["id"])["outputs"] == {"n": 1}
    for path in ("", "?fields=id,state", "/plan", "/plan?format=mermaid", "/plan?format=yaml", "/tasks", "/tasks/make",
                 "/tasks/make/attempts", "/tasks/make/logs", "/tasks/make/logs?follow=1", "/events", "/artifacts"):
        assert server.get(run + path).status == 200, path
    stream = server.get(run + "/events", headers={"Accept": "text/event-stream"})
    assert b"event: end" in stream.body
    artifact = f"{API}/artifacts/{server.get(run + '/artifacts').json['items'][0]['id']}"
    for path in (artifact, artifact + "/lineage", API + "/artifacts?filter=name%20%3D%20out", API + "/runs"):
        assert server.get(path).status == 200, path
    content = server.get(artifact + "/content")
    assert content.body == b"1\n"
    assert server.get(artifact + "/content", headers={"If-None-Match": content.headers["ETag"]}).status == 304
    for action in ("archive", "unarchive"):
        assert server.post(f"{run}:{action}").status == 200
    clone = server.post(f"{run}:clone", {"params": {"n": 2}})
    assert clone.status == 201
    assert server.post(f"{API}/runs/{clone.json['id']}:cancel", {"grace": "0s"}).status == 202
    assert server.ended(clone.json["id"])["state"] == "cancelled"
    assert server.post(f"{API}/runs/{clone.json['id']}:retry").status == 202
    server.post(f"{API}/runs/{clone.json['id']}:cancel")
    server.ended(clone.json["id"])
    assert server.request("DELETE", f"{API}/runs/{clone.json['id']}").status == 204


QUEUES = """{apiVersion: millrace/v1, kind: Flavor, name: h100, resource: nvidia.com/gpu}
---
{apiVersion: millrace/v1, kind: Queue, name: lab, quota: {h100: 8, cpu: 16, memory: 1Gi}}
"""


def queues(server):
    for query, status in (("?dry_run=true", 200), ("", 201), ("", 200)):
        assert server.post(f"{API}/queues{query}", QUEUES, kind="application/yaml").status == status
    for path in ("/queues", "/queues/lab", "/flavors", "/gpus"):
        assert server.get(API + path).status == 200, path
    assert server.request("DELETE", API + "/flavors/h100").status == 409
    for path in ("/queues/lab", "/flavors/h100"):
        assert server.request("DELETE", API + path).status == 204


def projects_and_tokens(server):
    assert server.post(API + "/projects", {"name": "side"}).status == 201
    token = server.post(API + "/tokens", {"name": "reader", "role": "viewer", "project": "side", "ttl": "1h"}).json
    assert server.get(API + "/version", token=token["token"]).json["role"] == "viewer"
    for path in ("/projects", "/tokens"):
        assert server.get(API + path).json["items"]
    assert server.request("DELETE", f"{API}/tokens/{token['id']}").status == 204
    assert server.get(API + "/version", token=token["token"]).status == 401


def test_every_operation_answers_as_described(fresh):
    mine = fresh()
    contract.seen.clear()
    for path in ("/healthz", "/readyz", API + "/version", API + "/schema/pipeline", API + "/schema/queue",
                 API + "/openapi.yaml"):
        assert mine.get(path).status == 200
    blobs_and_bundles(mine)
    pipelines(mine)
    run_and_what_it_left(mine)
    projects_and_tokens(mine)
    queues(mine)
    assert mine.request("DELETE", API + "/pipelines/everything").status == 204
    missed = contract.OPERATIONS - {(method, path) for method, path, _ in contract.seen}
    assert not missed, f"operations this test never saw succeed: {sorted(missed)}"
