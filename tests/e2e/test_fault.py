"""A short run of tests/fault: enough to notice when a crash costs something. `make fault` does it 300 times."""
import random
import sys

import pytest
from harness import ROOT

sys.path.insert(0, str(ROOT / "tests/fault"))
import fault  # noqa: E402


@pytest.mark.parametrize("part", [fault.alone, fault.standing_by, fault.contending])
def test_killed_at_random_moments(part):
    assert part(8, 20) == []


@pytest.fixture(scope="module", name="dag")
def a_dag():
    """Of which s1 needs s0, and no other step anything."""
    dag = fault.Dag(random.Random(1), "notes", "dag-1")
    dag.paths, dag.needs = {"s0": ["s0"], "s1": ["s1[0]", "s1[1]"]}, {"s0": [], "s1": ["s0"]}
    return dag


GOOD = ["begin s0 1", "end s0 1", "begin s1[0] 1", "begin s1[1] 1", "end s1[1] 1", "end s1[0] 1"]


@pytest.mark.parametrize("name, notes, complaint", [
    ("all well", GOOD, None),
    ("another attempt before the first note", [line.replace("s0 1", "s0 2") for line in GOOD], None),
    ("run again after its end", GOOD + ["begin s0 2", "end s0 2"], "began 2 times and ended 2 times"),
    ("begun again", GOOD[:1] + ["begin s0 2"] + GOOD[1:], "began 2 times and ended 1 times"),
    ("never ended", GOOD[:-1], "began 1 times and ended 0 times"),
    ("never run", GOOD[:2], "began 0 times and ended 0 times"),
    ("a stranger", GOOD + ["begin s9 1"], "nobody asked for it"),
    ("out of order", GOOD[2:3] + GOOD[:2] + GOOD[3:], "began before s0"),
])
def test_the_notes_are_judged(dag, name, notes, complaint):
    """The fault test itself can fail: each of these must be seen."""
    lines = [(word, 7, path, int(attempt)) for word, path, attempt in map(str.split, notes)]
    found = list(fault.check_notes(lines, {7: dag}))
    assert any(complaint in line for line in found) if complaint else not found, (name, found)


@pytest.mark.parametrize("history, complaint", [
    (["started 0", "succeeded 0", "started 1", "succeeded 1"], None),
    (["started 0", "succeeded 0", "started 0"], "task.started after its success"),
    (["started 0", "succeeded 0", "succeeded 0"], "task.succeeded after its success"),
])
def test_the_history_is_judged(history, complaint):
    events = [{"kind": f"task.{word}", "task": int(task)} for word, task in map(str.split, history)]
    found = list(fault.check_history(events))
    assert bool(found) == bool(complaint) and all(complaint in line for line in found), found
