"""DBOS: durable steps in PostgreSQL, synchronous commits of the database's own setting."""
import os

from dbos import DBOS, DBOSConfig

from peer import serve

config: DBOSConfig = {
    "name": "bench",
    "system_database_url": os.environ["PEER_DATABASE_URL"],
    "run_admin_server": False,
    "log_level": "ERROR",
}
DBOS(config=config)


@DBOS.step()
def noop(i: int) -> int:
    return i


@DBOS.workflow()
def chain(steps: int) -> int:
    for i in range(steps):
        noop(i)
    return steps


def run_workflows(workflows: int, steps: int) -> None:
    handles = [DBOS.start_workflow(chain, steps) for _ in range(workflows)]
    for handle in handles:
        handle.get_result()


DBOS.launch()
serve(run_workflows)
DBOS.destroy()
