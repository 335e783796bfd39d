"""Prefect: flows and tasks reported to its own server process, which keeps them in PostgreSQL. The server runs with all
its services, since one of them is what records task runs."""
import asyncio
import logging
import os
import socket
import subprocess
import sys
import time

port = int(os.environ["PEER_PORT"])
os.environ.update(
    PREFECT_HOME=os.environ["PEER_DIR"], PREFECT_SERVER_ANALYTICS_ENABLED="false", PREFECT_LOGGING_LEVEL="CRITICAL",
    PREFECT_API_URL=f"http://127.0.0.1:{port}/api",
    PREFECT_API_DATABASE_CONNECTION_URL=os.environ["PEER_DATABASE_URL"].replace("postgresql:", "postgresql+asyncpg:"))


def start_server():
    server = subprocess.Popen([sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port",
                               str(port), "--no-ui"], stdout=2, stdin=subprocess.DEVNULL)
    for _ in range(300):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return server
        time.sleep(0.3)
    raise SystemExit("prefect's server did not start")


server = start_server()
from prefect import flow, task  # noqa: E402  it reads the environment when it is imported

from peer import serve  # noqa: E402

logging.disable(logging.CRITICAL)


@task
async def noop(i: int) -> int:
    return i


@flow
async def chain(steps: int) -> int:
    for i in range(steps):
        await noop(i)
    return steps


async def together(workflows: int, steps: int) -> None:
    await asyncio.gather(*(chain(steps) for _ in range(workflows)))


try:
    serve(lambda workflows, steps: asyncio.run(together(workflows, steps)))
finally:
    server.terminate()
    server.wait(15)
