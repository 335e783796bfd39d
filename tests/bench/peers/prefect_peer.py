"""Prefect: flows and tasks reported to its own server process, which keeps them in PostgreSQL."""
import asyncio
import logging

from prefect import flow, task

from peer import serve

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


serve(lambda workflows, steps: asyncio.run(together(workflows, steps)))
