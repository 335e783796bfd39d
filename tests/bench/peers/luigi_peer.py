"""Luigi: no store of its own; a task is done when its target, here a file, exists. Nothing is synced to disk.
Its scheduler and one worker are in this process: more workers are processes, which cost no-op
tasks more than they give.
"""
import logging
import os
import tempfile

import luigi

from peer import serve

logging.disable(logging.CRITICAL)
folder = tempfile.mkdtemp(prefix="luigi-peer-", dir=os.environ.get("PEER_DIR"))


class Step(luigi.Task):
    run_id = luigi.IntParameter()
    number = luigi.IntParameter()

    def requires(self):
        return Step(self.run_id, self.number - 1) if self.number > 0 else []

    def output(self):
        return luigi.LocalTarget(os.path.join(folder, f"{self.run_id}-{self.number}"))

    def run(self):
        with self.output().open("w") as out:
            out.write("done")


next_run = 0


def run_workflows(workflows: int, steps: int) -> None:
    global next_run
    last = [Step(next_run + w, steps - 1) for w in range(workflows)]
    next_run += workflows
    if not luigi.build(last, local_scheduler=True, workers=1, log_level="CRITICAL", detailed_summary=False):
        raise SystemExit("luigi failed")


serve(run_workflows)
