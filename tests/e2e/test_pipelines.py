"""Every ready pipeline of pipelines/ does what its comment says."""
import re

import pytest
from harness import PIPELINES, ROOT


def run(server, name, *words, expect=0):
    """`millrace run` of that pipeline; gives the run back."""
    server.cli("run", PIPELINES / name / "pipeline.yaml", *words, expect=expect)
    newest = server.get(f"/api/v1/runs?filter=pipeline%20%3D%20%22{name}%22&page_size=1").json["items"][0]
    return server.run(newest["id"])


def states(server, found):
    return {path: task["state"] for path, task in server.tasks(found["id"]).items()}


def test_hello(server):
    found = run(server, "hello", "-p", "who=it's $HOME; true")
    assert found["state"] == "succeeded"
    assert found["outputs"] == {"greeting": "Hello, it's $HOME; true"}
    log = server.get(f"/api/v1/runs/{found['id']}/tasks/repeat/logs")
    assert log.body.decode() == "greet said: Hello, it's $HOME; true\n"


def test_fan_out(server):
    found = run(server, "fan-out", "-p", "n=12")
    assert found["outputs"]["sum"] == sum(i * i for i in range(1, 13))
    assert found["outputs"]["pairs"] == ["red1", "red2", "red3", "green1", "green2", "green3"]
    tasks = states(server, found)
    assert [tasks[f"square[{i}]"] for i in range(12)] == ["succeeded"] * 12


@pytest.mark.parametrize("score, verdict, ran, skipped", [
    ("0.8", "not yet", "poor", ["good", "celebrate", "alarm"]),
    ("0.95", "good enough", "good", ["poor", "alarm"]),
])
def test_conditions(server, score, verdict, ran, skipped):
    found = run(server, "conditions", "-p", f"score={score}")
    tasks = states(server, found)
    assert found["outputs"] == {"verdict": verdict}
    assert {path for path, state in tasks.items() if state == "skipped"} == set(skipped)
    assert tasks[ran] == tasks["tell"] == "succeeded"


def test_conditions_after_a_failure(server):
    found = run(server, "conditions", "-p", "score=0.5", "-p", "threshold=0.4")
    assert found["state"] == "succeeded"


def test_retries(server):
    found = run(server, "retries")
    assert found["outputs"] == {"attempts": 3}
    attempts = server.get(f"/api/v1/runs/{found['id']}/tasks/flaky/attempts").json["items"]
    assert [a["state"] for a in attempts] == ["failed", "failed", "succeeded"]
    assert [a.get("exitCode") for a in attempts] == [1, 1, 0]
    assert [a.get("reason") for a in attempts] == ["Error", "Error", None]
    first = server.get(f"/api/v1/runs/{found['id']}/tasks/flaky/logs?attempt=1").body.decode()
    assert "failing on purpose" in first


def test_retries_run_out(server):
    source = (PIPELINES / "retries/pipeline.yaml").read_text()
    assert "limit: 5" in source
    found = run(server, "retries", "-p", "fail=0")
    assert found["outputs"] == {"attempts": 1}


@pytest.mark.parametrize("verb, state, published", [("approve", "succeeded", "succeeded"), ("reject", "failed", None)])
def test_approval(server, verb, state, published):
    number = server.cli("submit", PIPELINES / "approval/pipeline.yaml", "-p", "version=v2").stdout.strip()
    task = server.wait_task(number, "release", "waiting")
    assert "Release v2?" in str(task)
    server.cli(verb, number, "release", "-m", "as agreed")
    found = server.ended(number)
    assert found["state"] == state
    tasks = states(server, found)
    assert tasks["release"] == state
    assert tasks.get("publish") == (published or tasks["publish"]) and (published or tasks["publish"] != "succeeded")
    assert tasks["sorry"] == ("skipped" if published else "succeeded")


def test_sub_pipeline(server):
    found = run(server, "sub-pipeline", "-p", 'words=["one","two"]')
    assert found["outputs"] == {"loud": ["ONE", "TWO"]}
    assert any(re.search(r"^shout\[1\].*upper$", path) for path in states(server, found))


def test_digits(server):
    found = run(server, "digits", "-p", 'models=["logistic","svm"]')
    assert found["state"] == "succeeded", server.tasks(found["id"])
    assert found["outputs"]["model"] == "svm"
    assert found["outputs"]["accuracy"] > 0.95
    number = found["id"]
    server.cli("artifacts", "get", f"{number}/report/confusion", "-O", server.home / "confusion.svg")
    picture = (server.home / "confusion.svg").read_text()
    assert picture.startswith("<svg") and "svm: accuracy" in picture
    artifacts = server.get(f"/api/v1/runs/{number}/artifacts").json["items"]
    assert {a["name"] for a in artifacts} == {"train", "validation", "test", "model", "predictions", "confusion"}
    test = next(a for a in artifacts if a["name"] == "test")
    lineage = server.get(f"/api/v1/artifacts/{test['id']}/lineage").json
    assert [u["path"] for u in lineage["producedBy"]] == ["data"]
    assert [u["path"] for u in lineage["usedBy"]] == ["evaluate"]


def test_every_pipeline_is_tested():
    text = (ROOT / "tests/e2e/test_pipelines.py").read_text()
    for folder in PIPELINES.iterdir():
        if (folder / "pipeline.yaml").exists():
            assert f'"{folder.name}' in text, f"{folder.name} is run by no test"


def test_every_pipeline_is_valid(server):
    for path in sorted(PIPELINES.rglob("*.yaml")):
        server.cli("validate", path)
