"""The REST API as Python objects."""

import hashlib
import json
import os
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

from .bundle import digest_of, pack
from .errors import Error, RunFailed, Unavailable

LOCAL_SERVER = "http://127.0.0.1:7070"
PIECE = 4 << 20  # bytes of one part of an upload
TRIES = 5
ENDED = ("succeeded", "failed", "cancelled")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A token is for one server only."""

    def redirect_request(self, *_):
        return None


def _data_dir():
    given = os.environ.get("MILLRACE_DATA_DIR")
    if given:
        return given
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return "/var/lib/millrace"
    return os.path.join(os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"), "millrace")


def _local_token():
    try:
        with open(os.path.join(_data_dir(), "token"), encoding="ascii") as f:
            return f.read().strip()
    except OSError:
        return None


def _quote(text):
    return urllib.parse.quote(str(text), safe="")


def _events(lines, last=""):
    """The event stream format: (id, kind, data) of each event; `last` is the id that those without one have."""
    kind, data = "", []
    for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line:
            if data:
                yield last, kind or "message", "\n".join(data)
            kind, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id":
            last = value


class Client:
    """A server. Without arguments: MILLRACE_URL, MILLRACE_TOKEN and MILLRACE_PROJECT, or this machine's own server
    and its token file."""

    def __init__(self, url=None, token=None, project=None, timeout=60.0):
        self.url = (url or os.environ.get("MILLRACE_URL") or LOCAL_SERVER).rstrip("/")
        self.token = token or os.environ.get("MILLRACE_TOKEN")
        host = urllib.parse.urlsplit(self.url).hostname or ""
        if not self.token and (host in ("localhost", "::1") or host.startswith("127.")):
            self.token = _local_token()
        self.project = project or os.environ.get("MILLRACE_PROJECT") or "default"
        self.timeout = timeout
        handlers = [_NoRedirect()]
        if host in ("localhost", "::1") or host.startswith("127."):
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    # ---- transport ----

    def _open(self, method, path, query=None, body=None, headers=None, timeout=None):
        """The answer as a file-like object; raises Error or Unavailable. Tries once."""
        query = {k: v for k, v in (query or {}).items() if v is not None}
        url = self.url + path + ("?" + urllib.parse.urlencode(query) if query else "")
        all_headers = {"Accept": "application/json", "User-Agent": "millrace-python/0.1.0"}
        if self.token:
            all_headers["Authorization"] = "Bearer " + self.token
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            all_headers["Content-Type"] = "application/json"
        all_headers.update(headers or {})
        request = urllib.request.Request(url, data=body, headers=all_headers, method=method)
        try:
            return self._opener.open(request, timeout=timeout or self.timeout)
        except urllib.error.HTTPError as e:
            with e:
                try:
                    problem = json.loads(e.read())
                except ValueError:
                    problem = {}
            error = Error(e.code, problem if isinstance(problem, dict) else {})
            error.retry_after = e.headers.get("Retry-After")
            raise error from None
        except (urllib.error.URLError, OSError) as e:
            raise Unavailable("cannot reach %s: %s" % (self.url, getattr(e, "reason", e))) from e

    def request(self, method, path, query=None, body=None, headers=None, again=True):
        """The decoded JSON of an answer (None when it has no body). `again`: it may be sent twice without harm."""
        for tries in range(1, TRIES + 1):
            try:
                with self._open(method, path, query, body, headers) as answer:
                    text = answer.read()
                return json.loads(text) if text else None
            except (Error, Unavailable, OSError) as e:
                busy = isinstance(e, Error) and e.status in (429, 503)
                if not again or tries == TRIES or (isinstance(e, Error) and not busy):
                    raise
                after = getattr(e, "retry_after", None) or ""
                time.sleep(min(float(after), 10.0) if after.isdigit() else 0.2 * 2**tries)
        raise AssertionError("not reached")

    def pages(self, path, query=None):
        """All items of a list, page by page."""
        query = dict(query or {}, page_size=500)
        while True:
            page = self.request("GET", path, query)
            yield from page.get("items", [])
            if not page.get("next_page_token"):
                return
            query["page_token"] = page["next_page_token"]

    def stream(self, path, query=None):
        """Events (kind, data) without end: a stream that breaks is taken up again behind the last event that came.
        Who has enough stops reading."""
        last, pause = "", 0.2
        while True:
            headers = {"Accept": "text/event-stream"}
            if last:
                headers["Last-Event-ID"] = last
            try:
                with self._open("GET", path, query, headers=headers, timeout=60.0) as answer:
                    for last, kind, data in _events(answer, last):
                        pause = 0.2
                        yield kind, json.loads(data) if data.startswith("{") else data
            except (Unavailable, OSError, socket.timeout):
                pass
            except Error as e:
                if e.status not in (429, 503):
                    raise
            time.sleep(pause)
            pause = min(pause * 2, 5.0)

    # ---- code ----

    def upload(self, folder):
        """Packs a folder and sends it, unless the server has it; its digest."""
        packed, digest, size = pack(folder)
        with packed:
            query = {"project": self.project}
            try:
                self.request("GET", "/api/v1/bundles/" + digest, query)
                return digest
            except Error as e:
                if e.status != 404:
                    raise
            self._send(packed, digest, size)
            self.request("POST", "/api/v1/bundles", query, {"digest": digest})
        return digest

    def _send(self, file, digest, size):
        """An open file's bytes, in pieces, from where an earlier try stopped; none when the project has them."""
        upload = self.request("POST", "/api/v1/uploads", {"project": self.project}, {"digest": digest, "size": size})
        breaks = 0
        while not upload.get("complete"):
            file.seek(upload.get("offset", 0))
            headers = {"Content-Type": "application/octet-stream", "Upload-Offset": str(upload.get("offset", 0))}
            try:
                upload = self.request("PATCH", "/api/v1/uploads/" + upload["id"],
                                      None, file.read(PIECE), headers, again=False)
            except (Unavailable, Error) as e:
                breaks += 1
                if breaks > TRIES or (isinstance(e, Error) and e.status not in (409, 503)):
                    raise
                time.sleep(0.5)
                upload = self.request("GET", "/api/v1/uploads/" + upload["id"])

    def apply(self, file, bundle=True):
        """Creates or updates the pipelines of a file; what changed, one dict each. `bundle`: its folder (True),
        another one, or none (None)."""
        with open(file, encoding="utf-8") as f:
            body = {"source": f.read()}
        folder = os.path.dirname(os.path.abspath(file)) if bundle is True else bundle
        if folder:
            body["bundle"] = self.upload(folder)
        return self.request("POST", "/api/v1/pipelines", {"project": self.project}, body)["items"]

    # ---- runs ----

    def submit(self, pipeline=None, *, source=None, params=None, labels=None, name=None, version=None, bundle=True,
               ignore_resources=None, key=None):
        """Starts a run of a file (its folder is packed; `bundle` names another, or None for none), of an applied
        pipeline by its name, or of a
        `source` text. `key`: a second submit with the same one gives the same run."""
        body = {"params": params, "labels": labels, "name": name, "version": version,
                "ignoreResources": list(ignore_resources) if ignore_resources else None}
        folder = None if bundle is True else bundle
        if source is not None:
            body["source"] = source
        elif pipeline is None:
            raise ValueError("name a pipeline or give a source")
        elif os.path.isfile(pipeline) or str(pipeline).endswith((".yaml", ".yml")):
            with open(pipeline, encoding="utf-8") as f:
                body["source"] = f.read()
            if bundle is True:
                folder = os.path.dirname(os.path.abspath(pipeline))
        else:
            body["pipeline"] = str(pipeline)
        if folder:
            body["bundle"] = self.upload(folder)
        body = {k: v for k, v in body.items() if v is not None}
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        return Run(self, self.request("POST", "/api/v1/runs", {"project": self.project}, body, headers))

    def run(self, number):
        """A run that exists."""
        return Run(self, self.request("GET", "/api/v1/runs/%d" % number))

    def runs(self, filter=None, order_by=None):
        """Runs of the project, newest first; see the REST API for the filter."""
        for data in self.pages("/api/v1/runs", {"project": self.project, "filter": filter, "order_by": order_by}):
            yield Run(self, data)

    def pipelines(self):
        return self.pages("/api/v1/pipelines", {"project": self.project})

    # ---- artifacts ----

    def artifact(self, number):
        return self.request("GET", "/api/v1/artifacts/%d" % number)

    def put(self, path, name, type, metadata=None):
        """Makes an artifact of a file or a folder, and gives its dict; pipelines import it as artifact:ID. What was
        interrupted goes on where it stopped."""
        metadata = dict(metadata or {})
        if "folder" in metadata:
            raise ValueError("metadata may not have a member 'folder': that is said for it")
        if os.path.isdir(path):
            file, digest, size = pack(path, whole=True)
            metadata["folder"] = True
        else:
            file = open(path, "rb")
            digest, size = digest_of(file)
        with file:
            self._send(file, digest, size)
        body = {"name": name, "type": type, "digest": digest, "metadata": metadata}
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return self.request("POST", "/api/v1/artifacts", {"project": self.project}, body, headers)

    def download(self, artifact, path):
        """An artifact (its number or its dict) into a file. What was interrupted goes on where it stopped; the digest
        is verified."""
        if not isinstance(artifact, dict):
            artifact = self.artifact(artifact)
        part = "%s.%s.part" % (path, artifact["digest"][7:19])
        for tries in range(1, TRIES + 1):
            have = os.path.getsize(part) if os.path.exists(part) else 0
            if have >= artifact["size"]:
                break
            headers = {"Accept": "*/*"}
            if have:
                headers["Range"] = "bytes=%d-" % have
            try:
                with self._open("GET", "/api/v1/artifacts/%d/content" % artifact["id"], headers=headers) as answer:
                    with open(part, "ab" if answer.status == 206 else "wb") as out:
                        for piece in iter(lambda: answer.read(1 << 20), b""):
                            out.write(piece)
            except (Unavailable, OSError):
                if tries == TRIES:
                    raise
                time.sleep(0.2 * 2**tries)
        if artifact["size"] == 0:
            open(part, "wb").close()
        digest = hashlib.sha256()
        with open(part, "rb") as f:
            for piece in iter(lambda: f.read(1 << 20), b""):
                digest.update(piece)
        if "sha256:" + digest.hexdigest() != artifact["digest"]:
            os.unlink(part)
            raise ValueError("what was downloaded is not what the server has")
        os.replace(part, path)
        return path


class Run:
    """A run as it was when last looked at: see refresh(). Every member of the API's Run is in `data`."""

    def __init__(self, client, data):
        self.client = client
        self.data = data
        self.id = data["id"]

    def __repr__(self):
        return "<millrace.Run %d %s>" % (self.id, self.state)

    @property
    def state(self):
        return self.data.get("state", "")

    @property
    def message(self):
        return self.data.get("message") or ""

    @property
    def outputs(self):
        return self.data.get("outputs") or {}

    @property
    def ended(self):
        return self.state in ENDED

    def _path(self, rest=""):
        return "/api/v1/runs/%d%s" % (self.id, rest)

    def refresh(self):
        self.data = self.client.request("GET", self._path())
        return self

    def wait(self, timeout=None, check=True):
        """Until the run has ended. TimeoutError after `timeout` seconds; with `check`, RunFailed unless it
        succeeded."""
        until = None if timeout is None else time.monotonic() + timeout
        after = 0
        while not self.refresh().ended:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError("run %d is still %s" % (self.id, self.state))
            hold = 20 if left is None else max(1, min(20, int(left)))
            page = self.client.request("GET", self._path("/events"), {"after": after, "wait": hold})
            after = max([after] + [e["seq"] for e in page.get("items", [])])
        if check and self.state != "succeeded":
            raise RunFailed(self)
        return self

    def events(self):
        """The history as it happens, until the run has ended."""
        for kind, data in self.client.stream(self._path("/events")):
            if kind == "end":
                self.data = data
                return
            if kind != "waiting":
                yield data

    def tasks(self):
        return self.client.pages(self._path("/tasks"))

    def logs(self, step, attempt=None):
        """What a step (its path, or its task's number) wrote, as text."""
        path = self._path("/tasks/%s/logs" % _quote(step))
        with self.client._open("GET", path, {"attempt": attempt}, headers={"Accept": "text/plain"}) as answer:
            return answer.read().decode("utf-8", "replace")

    def follow(self, step, attempt=None):
        """Pieces of a step's log as they are written, until the step has ended."""
        path = self._path("/tasks/%s/logs" % _quote(step))
        for kind, data in self.client.stream(path, {"follow": "1", "attempt": attempt}):
            if kind == "end":
                return
            if kind == "log":
                yield data["text"]

    def artifacts(self):
        return self.client.pages(self._path("/artifacts"))

    def download(self, step, name, path):
        """The artifact that a step left under this name, into a file; that of the newest task of this path, and of its
        newest attempt."""
        found = [a for a in self.artifacts() if a.get("path") == step and a["name"] == name]
        if not found:
            raise KeyError("run %d has no artifact %s of step %s" % (self.id, name, step))
        newest = max(found, key=lambda a: (a.get("task") or 0, a.get("attempt") or 0, a["id"]))
        return self.client.download(newest, path)

    def _act(self, action, body=None):
        self.data = self.client.request("POST", self._path(":" + action), None, body or {})
        return self

    def cancel(self, grace=None):
        return self._act("cancel", {"grace": grace} if grace else None)

    def pause(self):
        return self._act("pause")

    def resume(self):
        return self._act("resume")

    def retry(self, from_step=None, bundle=None):
        """Runs again what failed, or a step and all behind it; `bundle`: a folder with mended code. The run has not
        ended from then on: wait() waits for its new end."""
        body = {"from": from_step, "bundle": self.client.upload(bundle) if bundle else None}
        return self._act("retry", {k: v for k, v in body.items() if v is not None})

    def approve(self, step, approved=True, comment=None):
        body = {"approved": approved}
        if comment:
            body["comment"] = comment
        self.client.request("POST", self._path("/tasks/%s:approve" % _quote(step)), None, body)
        return self.refresh()
