"""A proxy between Millrace and an API server that does harm as it is told: TLS and HTTP/1.1 on both sides, with an
authority of its own towards Millrace. What it did is counted, and so is what of Millrace's creations arrived.

Each request belongs to a class, (verb, resource) such as ("create", "jobs"); each class has a deck of faults that is
shuffled by a seed: the n-th request of a class always fares the same, and no fault is left out for long. Answers are
passed on whole or harmed, watches event by event, and never in another order. It does not speak HTTP/2: GOAWAY and
resets of single streams are not among the faults."""
import asyncio
import base64
import collections
import contextlib
import json
import logging
import random
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse

WORDS = b"failed to create fsnotify watcher: too many open files"  # of a kubelet, as if they were a log
HOLD = 120  # seconds for which it says nothing, unless the client gives up before
STATUS = {"429": ("TooManyRequests", "the test says: too many requests"),
          "500": ("InternalError", "the test says: something broke"),
          "503": ("ServiceUnavailable", "the test says: not now"),
          "503-after": ("ServiceUnavailable", "the test says: in a second"),
          "401": ("Unauthorized", "Unauthorized"),
          "410": ("Expired", "the test says: too old resource version")}
ANSWERS = ["429", "500", "503", "503-after", "cut-before", "cut-after", "cut-middle", "silent", "swallow", "delay",
           "late"]
STREAMS = ["410", "410-event", "500-event", "cut-event", "swallow", "duplicate", "429", "503", "cut-before"]
CLASSES = {("create", "jobs"): ANSWERS, ("delete", "jobs"): ANSWERS, ("get", "log"): ANSWERS,
           ("list", "jobs"): ANSWERS, ("list", "pods"): ANSWERS, ("create", "services"): ANSWERS,
           ("watch", "jobs"): STREAMS, ("watch", "pods"): STREAMS, ("connect", ""): ["mute"]}
SPREAD = {"mute": 0.05, "silent": 0.3, "swallow": 0.3}  # these cost a timeout each: seldom


logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it complains of connections that were torn on purpose


class Gone(Exception):
    """The client has hung up, or is to be."""


def status_of(kind):
    reason, message = STATUS[kind]
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason,
            "message": message, "code": int(kind[:3])}


def class_of(method, target):
    """("watch", "pods") and the like; ("watch", "all pods") where it is of the whole cluster, ("get", "other") else."""
    parts = urllib.parse.urlsplit(target)
    words = parts.path.strip("/").split("/")
    verb = "watch" if "watch=1" in parts.query else "list"
    if "namespaces" not in words:
        return (verb, f"all {words[-1]}") if len(words) == (3 if words[0] == "api" else 4) else ("get", "other")
    rest = words[words.index("namespaces") + 2:]
    if not rest:
        return "get", "other"
    if rest[-1] == "log":
        return "get", "log"
    if method == "GET" and len(rest) == 1:
        return verb, rest[0]
    return {"POST": "create", "DELETE": "delete"}.get(method, "get"), rest[0]


class Head:
    """The first line and the headers of a message."""

    def __init__(self, raw):
        lines = raw.decode("latin-1").split("\r\n")
        self.first = lines[0].split(" ", 2)
        self.headers = {k.strip().lower(): v.strip() for k, _, v in (one.partition(":") for one in lines[1:] if one)}


async def read_head(reader):
    return Head(await reader.readuntil(b"\r\n\r\n"))


async def body_of(reader, head):
    """Its parts, as they come."""
    if head.headers.get("transfer-encoding", "") == "chunked":
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            yield (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
    elif n := int(head.headers.get("content-length", 0)):
        yield await reader.readexactly(n)


class FaultProxy:
    """One proxy; as many servers as wanted may use its kubeconfig. Harmless until `rate` or `script` is set."""

    def __init__(self, cluster, folder, seed=1):
        self.cluster, self.folder, self.seed = cluster, folder, seed
        self.rate = 0.0      # part of the requests that a fault is drawn for
        self.only = None     # classes that faults are drawn for; None: all
        self.lives = (2, 6)  # seconds for which a watch that is not harmed lasts while the rate is not 0
        self.script = []     # [class, kind, times]: comes before what is drawn
        self.done = []       # (seconds, class, kind), as it happened
        self.created = collections.Counter()  # names of Jobs that the API server says it has made
        self.asked = collections.Counter()    # requests by class
        self.answers = collections.Counter()  # (class, status) of the API server's own, also of errors within watches
        self.decks, self.dice = {}, {}
        self.began = time.monotonic()
        self._read_upstream(cluster)
        self._make_keys()
        self.loop, self.stopping = asyncio.new_event_loop(), asyncio.Event()
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.sock.setblocking(False)
        self.port = self.sock.getsockname()[1]
        self.kubeconfig = folder / "kubeconfig"
        self.write_kubeconfig(self.kubeconfig)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    # -- what tests ask

    def counts(self):
        return collections.Counter(kind for _, _, kind in self.done)

    def by_class(self):
        return collections.Counter((of, kind) for _, of, kind in self.done)

    def next(self, verb, resource, kind, times=1):
        """Harms the next requests of a class."""
        self.script.append([(verb, resource), kind, times])

    def well(self):
        """No more harm."""
        self.rate, self.script = 0.0, []

    def write_kubeconfig(self, path, **user):
        """Without a user of its own the proxy is the administrator of the cluster."""
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{self.port}",
                                                   "certificate-authority": str(self.folder / "ca.crt")}}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "proxy", "context": {"cluster": "c", "user": "u"}}]}))

    def close(self):
        self.loop.call_soon_threadsafe(self.stopping.set)
        self.thread.join(10)
        self.sock.close()

    # -- beginnings

    def _read_upstream(self, cluster):
        config = json.loads(cluster.kubectl("config", "view", "--raw", "--flatten", "--minify", "-o", "json"))
        at, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.upstream = urllib.parse.urlsplit(at["server"])
        self.upstream_token = user.get("token")
        self.anonymous = ssl.create_default_context(
            cadata=base64.b64decode(at["certificate-authority-data"]).decode())
        self.admin = ssl.create_default_context(cadata=base64.b64decode(at["certificate-authority-data"]).decode())
        if "client-certificate-data" in user:
            pair = self.folder / "admin.pem"
            pair.write_bytes(base64.b64decode(user["client-certificate-data"]) +
                             base64.b64decode(user["client-key-data"]))
            self.admin.load_cert_chain(pair)

    def _make_keys(self):
        def openssl(*words):
            subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=self.folder)

        for name in ("ca", "proxy"):
            openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
        openssl("req", "-x509", "-new", "-key", "ca.key", "-subj", "/CN=fault-proxy-ca", "-days", "30",
                "-out", "ca.crt")
        openssl("req", "-new", "-key", "proxy.key", "-subj", "/CN=fault-proxy", "-out", "proxy.csr")
        (self.folder / "proxy.ext").write_text("subjectAltName=IP:127.0.0.1\n")
        openssl("x509", "-req", "-in", "proxy.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "30", "-out", "proxy.crt", "-extfile", "proxy.ext")
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(self.folder / "proxy.crt", self.folder / "proxy.key")
        self.tls.set_alpn_protocols(["http/1.1"])

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.set_exception_handler(lambda *_: None)  # connections that were torn on purpose
        self.loop.run_until_complete(self._accept())

    async def _accept(self):
        ends = asyncio.ensure_future(self.stopping.wait())
        tasks = set()
        while not ends.done():
            comes = asyncio.ensure_future(self.loop.sock_accept(self.sock))
            await asyncio.wait([ends, comes], return_when=asyncio.FIRST_COMPLETED)
            if not comes.done():
                comes.cancel()
                break
            task = asyncio.ensure_future(self._connection(comes.result()[0]))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- what is to happen

    def _draw(self, of):
        self.asked[of] += 1
        for row in self.script:
            if row[0] == of and row[2] > 0:
                row[2] -= 1
                return row[1]
        if self.rate <= 0 or of not in CLASSES or (self.only is not None and of not in self.only):
            return None
        dice = self.dice.setdefault(of, random.Random(f"{self.seed}/{of}"))
        deck = self.decks.setdefault(of, [])
        if not deck:
            kinds = [kind for kind in CLASSES[of] if dice.random() < SPREAD.get(kind, 1)]
            # Of a watch something always becomes: one that is left alone lasts for minutes.
            passes = 1 if of[0] == "watch" else max(1, round(len(CLASSES[of]) * (1 / self.rate - 1)))
            deck += kinds + [None] * passes
            dice.shuffle(deck)
        return deck.pop()

    def _did(self, of, kind):
        self.done.append((round(time.monotonic() - self.began, 3), of, kind))

    # -- one connection

    async def _connection(self, sock):
        writer = None
        try:
            if self._draw(("connect", "")) == "mute":
                self._did(("connect", ""), "mute")
                await asyncio.wait_for(self._unheard(sock), HOLD)
                return
            reader = asyncio.StreamReader()
            transport, protocol = await self.loop.connect_accepted_socket(
                lambda: asyncio.StreamReaderProtocol(reader), sock, ssl=self.tls)
            writer = asyncio.StreamWriter(transport, protocol, reader, self.loop)
            while True:
                await self._request(reader, writer)
        except (OSError, EOFError, Gone, asyncio.TimeoutError, asyncio.LimitOverrunError):
            pass  # TLS errors are OSErrors, too
        finally:
            if writer is not None:
                writer.transport.abort()
            else:
                sock.close()

    async def _unheard(self, sock):
        while await self.loop.sock_recv(sock, 4096):
            pass

    async def _request(self, reader, writer):
        head = await read_head(reader)
        body = b"".join([part async for part in body_of(reader, head)])
        method, target = head.first[0], head.first[1]
        of = class_of(method, target)
        kind = self._draw(of)
        if kind in STATUS:
            self._did(of, kind)
            return await self._status(writer, kind)
        if kind == "cut-before":
            self._did(of, kind)
            raise Gone
        if kind == "silent":
            self._did(of, kind)
            await self._still(reader, HOLD)
            raise Gone
        if kind == "delay":
            self._did(of, kind)
            await self._still(reader, self.dice_of(of).uniform(0.3, 2))
        up_reader, up_writer = await self._ask(head, method, target, body)
        try:
            answer = await read_head(up_reader)
            self.answers[of, int(answer.first[1])] += 1
            if of == ("create", "jobs") and answer.first[1] == "201":
                self.created[json.loads(body)["metadata"]["name"]] += 1
            if of[0] == "watch" and answer.first[1] == "200":
                await self._watch(reader, writer, up_reader, answer, of, kind)
            elif of == ("get", "log") and answer.first[1] == "200" and "follow=true" in target:
                await self._follow(reader, writer, up_reader, answer, of, kind)
            else:
                whole = b"".join([part async for part in body_of(up_reader, answer)])
                await self._answer(reader, writer, answer, whole, of, kind)
        finally:
            up_writer.transport.abort()

    def dice_of(self, of):
        return self.dice.setdefault(of, random.Random(f"{self.seed}/{of}"))

    async def _still(self, reader, seconds):
        """Says nothing. Not passed on is what somebody asked for who has gone meanwhile."""
        try:
            await asyncio.wait_for(reader.read(1), seconds)
        except asyncio.TimeoutError:
            return
        raise Gone

    async def _ask(self, head, method, target, body):
        own = "authorization" in head.headers
        headers = {k: v for k, v in head.headers.items() if k not in ("host", "connection", "content-length")}
        if not own and self.upstream_token:
            headers["authorization"] = f"Bearer {self.upstream_token}"
        headers |= {"host": self.upstream.netloc, "connection": "close", "content-length": str(len(body))}
        reader, writer = await asyncio.open_connection(self.upstream.hostname, self.upstream.port or 443,
                                                       ssl=self.anonymous if own else self.admin, limit=1 << 20)
        lines = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        writer.write(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body)
        await writer.drain()
        return reader, writer

    # -- answers

    async def _send(self, writer, *parts):
        writer.write(b"".join(parts))
        await writer.drain()

    def _opening(self, answer, more):
        kept = {k: v for k, v in answer.headers.items() if k in ("content-type", "retry-after", "warning")}
        lines = "".join(f"{k}: {v}\r\n" for k, v in {**kept, **more}.items())
        return f"HTTP/1.1 {' '.join(answer.first[1:])}\r\n{lines}\r\n".encode("latin-1")

    async def _status(self, writer, kind):
        body = json.dumps(status_of(kind)).encode()
        after = "Retry-After: 1\r\n" if kind in ("429", "503-after") else ""
        await self._send(writer, f"HTTP/1.1 {kind[:3]} Harmed\r\nContent-Type: application/json\r\n{after}"
                                 f"Content-Length: {len(body)}\r\n\r\n".encode(), body)

    async def _answer(self, reader, writer, answer, body, of, kind):
        opening = self._opening(answer, {"content-length": len(body)})
        if kind == "cut-middle" and not body:
            kind = "cut-after"
        if kind in ("cut-after", "cut-middle", "swallow", "late"):
            self._did(of, kind)
        if kind == "cut-after":
            raise Gone
        if kind in ("cut-middle", "swallow"):
            await self._send(writer, opening, body[:len(body) // 2])
            if kind == "swallow":
                await self._still(reader, HOLD)
            writer.close()  # what was written still arrives
            await asyncio.wait_for(writer.wait_closed(), 5)
            raise Gone
        if kind == "late":
            await self._still(reader, self.dice_of(of).uniform(0.3, 2))
        await self._send(writer, opening, body)

    @staticmethod
    def _chunk(text):
        return f"{len(text):x}\r\n".encode() + text + b"\r\n"

    async def _beside(self, reader, work):
        """Until the work is done or the client has gone."""
        mine, gone = asyncio.ensure_future(work), asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait([mine, gone], return_when=asyncio.FIRST_COMPLETED)
            if not mine.done():
                raise Gone
            return mine.result()
        finally:
            mine.cancel()
            gone.cancel()
            await asyncio.gather(mine, gone, return_exceptions=True)

    async def _follow(self, reader, writer, up_reader, answer, of, kind):
        """A log that is followed: cut or silent after its first bytes; or ended by its node, where it is at its end."""
        async def at_once():
            await self._send(writer, self._opening(answer, {"transfer-encoding": "chunked"}))
            parts = body_of(up_reader, answer)
            with contextlib.suppress(asyncio.TimeoutError):
                while part := await asyncio.wait_for(anext(parts, None), 0.3):
                    await self._send(writer, self._chunk(part))
            self._did(of, kind)
            await self._send(writer, self._chunk(WORDS), b"0\r\n\r\n")

        async def go():
            await self._send(writer, self._opening(answer, {"transfer-encoding": "chunked"}))
            async for part in body_of(up_reader, answer):
                if kind in ("cut-after", "cut-middle", "swallow", "late"):
                    self._did(of, kind)
                    if kind == "late":
                        await asyncio.sleep(self.dice_of(of).uniform(0.3, 2))
                    else:
                        await self._send(writer, self._chunk(part)[:len(part) // 2 + 4])
                        await asyncio.sleep(HOLD if kind == "swallow" else 0)
                        raise Gone
                await self._send(writer, self._chunk(part))
            await self._send(writer, b"0\r\n\r\n")

        await self._beside(reader, at_once() if kind == "words" else go())

    async def _watch(self, reader, writer, up_reader, answer, of, kind):
        """Some events as they are, then the harm."""
        dice = self.dice_of(of)
        spared, lasts = dice.randrange(4), dice.uniform(*self.lives)
        ends = self.loop.time() + lasts if self.rate > 0 or kind else None

        async def lines():
            rest = b""
            async for part in body_of(up_reader, answer):
                *whole, rest = (rest + part).split(b"\n")
                for line in whole:
                    if line.startswith(b'{"type":"ERROR"'):
                        self.answers[of, json.loads(line)["object"]["code"]] += 1
                    yield line + b"\n"

        async def go():
            left, events = spared, lines()
            await self._send(writer, self._opening(answer, {"transfer-encoding": "chunked"}))
            following = asyncio.ensure_future(anext(events, None))
            try:
                while True:
                    within = None if ends is None else max(0.0, ends - self.loop.time())
                    await asyncio.wait([following], timeout=within)
                    late = not following.done()
                    line = None if late else following.result()
                    if line is None and not late:
                        break
                    left -= 1
                    if kind == "duplicate" and line and left < 0:  # and all that follow, counted as one
                        if left == -1:
                            self._did(of, kind)
                        line += line
                    if (late or left < 0) and kind not in (None, "duplicate"):
                        await self._harm(writer, line, of, kind)
                    if late:
                        break  # as when its time is over
                    await self._send(writer, self._chunk(line))
                    following = asyncio.ensure_future(anext(events, None))
            finally:
                following.cancel()
            await self._send(writer, b"0\r\n\r\n")

        await self._beside(reader, go())

    async def _harm(self, writer, line, of, kind):
        self._did(of, kind)
        if kind.endswith("-event"):
            if kind == "cut-event":
                half = (line or b'{"type":"BOOKMARK"}\n')
                await self._send(writer, self._chunk(half[:len(half) // 2]))
                await asyncio.sleep(0.05)
            else:
                event = {"type": "ERROR", "object": status_of(kind.removesuffix("-event"))}
                await self._send(writer, self._chunk(json.dumps(event).encode() + b"\n"), b"0\r\n\r\n")
                await asyncio.sleep(0.05)
        elif kind == "swallow":
            await asyncio.sleep(HOLD)
        raise Gone
