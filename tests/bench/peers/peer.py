"""What every Python peer shares: it reads "dag" and "chain" from standard input and answers each with seconds.

dag:   20 workflows at once, 10 no-op steps each, one after another within its workflow
chain: one workflow of 40 no-op steps
"""
import sys
import time


def serve(run_workflows):
    """run_workflows(workflows, steps) returns when all of them have ended durably."""
    run_workflows(2, 2)
    print("ready", flush=True)
    for line in sys.stdin:
        what = line.strip()
        workflows, steps = {"dag": (20, 10), "chain": (1, 40)}[what]
        start = time.monotonic()
        run_workflows(workflows, steps)
        print(time.monotonic() - start, flush=True)
