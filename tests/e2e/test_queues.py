"""Flavors and queues: declared by files, shown and deleted by the command line; and pipelines/QUEUES.md tells the truth
of them."""
import json
import re

import jsonschema
import pytest
import yaml
from harness import ROOT, Database

TEXT = (ROOT / "pipelines/QUEUES.md").read_text(encoding="utf-8")
SCHEMA = json.loads((ROOT / "api/queue.schema.json").read_text(encoding="utf-8"))
EXAMPLE = re.search(r"^```yaml\n(.*?)^```$", TEXT, re.M | re.S).group(1)
DEVICES = re.search(r"^```yaml flavor\n(.*?)^```$", TEXT, re.M | re.S).group(1)
BAD = """apiVersion: millrace/v1
kind: Queue
name: q
quota: {h100: 1}
borow: {h100: 1}
"""


def keys(heading):
    rows = re.search(rf"^\| key of a {heading} \|.*\n\|---.*\n((?:\|.*\n)+)", TEXT, re.M).group(1)
    return {word for row in rows.splitlines() for word in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_the_example_is_what_the_server_takes(fresh, tmp_path):
    server = fresh()
    file = tmp_path / "queues.yaml"
    file.write_text(EXAMPLE)
    for document in yaml.safe_load_all(EXAMPLE):
        jsonschema.validate(document, SCHEMA)
    done = json.loads(server.cli("queue", "apply", str(file), "-o", "json").stdout)
    assert [d["name"] for d in done] == ["h100", "t4", "research", "teaching"]
    assert {d["action"] for d in done} == {"created"}
    again = server.cli("queue", "apply", str(file)).stdout
    assert again.count("unchanged") == 4
    for kind in ("Flavor", "Queue"):
        assert keys(kind) == set(SCHEMA["$defs"][kind]["properties"]) - {"apiVersion", "kind"}


def test_a_flavor_of_described_devices(fresh, tmp_path):
    server = fresh()
    file = tmp_path / "flavor.yaml"
    file.write_text(DEVICES)
    document, = yaml.safe_load_all(DEVICES)
    jsonschema.validate(document, SCHEMA)
    server.cli("queue", "apply", str(file))
    flavor, = server.get("/api/v1/flavors").json["items"]
    assert flavor["spec"] == document
    rows = re.search(r"^\| key of `devices` \|.*\n\|---.*\n((?:\|.*\n)+)", TEXT, re.M).group(1)
    told = {re.search(r"`(\w+)`", row).group(1) for row in rows.splitlines()}
    assert told == set(SCHEMA["$defs"]["Flavor"]["properties"]["devices"]["properties"])
    for good, bad, words in (
            ("deviceClass: gpu.nvidia.com", "resource: nvidia.com/gpu", "only a Flavor with a deviceClass"),
            ("type: gpu", "type: 1.5", "expected a text, a whole number, true or false"),
            ("memory: 40Gi", "memory: much", "flavor.yaml:7")):
        file.write_text(DEVICES.replace(good, bad))
        assert words in server.cli("queue", "apply", str(file), expect=3).stderr
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(yaml.safe_load(file.read_text()), SCHEMA)


def test_queues_are_shown_and_deleted(fresh, tmp_path):
    server = fresh()
    file = tmp_path / "queues.yaml"
    file.write_text(EXAMPLE)
    assert server.cli("queue", "apply", "--dry-run", str(file)).stdout.count("would be created") == 4
    assert [line.split()[0] for line in server.cli("queue").stdout.splitlines()] == ["QUEUE", "default"]
    server.cli("queue", "apply", str(file))
    shown = server.cli("queue").stdout
    assert re.search(r"research +lab +0 +0 +t4 0/8, cpu 0/200, h100 0/16, memory 0B/2Ti", shown), shown
    research = json.loads(server.cli("queue", "research", "-o", "json").stdout)
    assert research["cohort"] == "lab" and research["works"] == []
    assert {"of": "h100", "used": 0, "nominal": 16, "borrow": 8, "lend": 4} in research["use"]
    assert "has a quota of flavor 'h100'" in server.cli("queue", "delete", "flavor/h100", expect=7).stderr
    said = server.cli("queue", "delete", "research", "queue/teaching", "flavor/h100", "flavor/t4").stderr
    assert [f"{name} is deleted" in said for name in ("queue/research", "queue/teaching", "flavor/h100")] == [True] * 3
    assert [line.split()[0] for line in server.cli("queue").stdout.splitlines()] == ["QUEUE", "default"]
    assert "there is no queue 'research'" in server.cli("queue", "research", expect=4).stderr
    assert "is there without being declared" in server.cli("queue", "delete", "default", expect=7).stderr
    server.cli("gpus")


def test_mistakes_have_a_place(fresh, tmp_path):
    server = fresh()
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    said = server.cli("queue", "apply", str(file), expect=3).stderr
    assert "bad.yaml:5:1" in said and "unknown key 'borow'" in said and "did you mean 'borrow'?" in said, said
    file.write_text(BAD.replace("borow: {h100: 1}\n", ""))
    said = server.cli("queue", "apply", str(file), expect=3).stderr
    assert "bad.yaml:4" in said and "there is no flavor 'h100'" in said, said
    assert json.loads(server.cli("queue", "-o", "json").stdout)[0]["name"] == "default"


def test_only_administrators_declare(fresh, tmp_path):
    server = fresh()
    file = tmp_path / "queues.yaml"
    file.write_text(EXAMPLE)
    for role, words in (("editor", "admin"),):
        token = server.post("/api/v1/tokens", {"name": "someone", "role": role}).json["token"]
        refused = server.post("/api/v1/queues", EXAMPLE, kind="application/yaml", token=token)
        assert refused.status == 403 and words in refused.body.decode(), refused
    assert server.get("/api/v1/flavors").json["items"] == []


def test_gpus_says_that_it_knows_none(fresh):
    shown = fresh().cli("gpus")
    assert len(shown.stdout.splitlines()) == 1 and "note: no GPUs are known" in shown.stderr, shown


@pytest.fixture(name="database")
def own_database():
    made = Database()
    yield made.start()
    made.remove()


def test_gpus_of_other_projects_are_not_free(fresh, database):
    """What a placer and the owners of runs wrote is there already: a node of two GPUs, and a step of each project."""
    server = fresh("--database-url", database.url)
    assert server.post("/api/v1/projects", {"name": "side"}).status == 201
    node = {"name": "n1", "schedulable": True, "cpu": 1, "memory": 1, "labels": [], "taints": [],
            "devices": [{"name": "nvidia.com/gpu", "n": 4, "taken": 1}]}
    has, waits = "2, 'gpu', '{n1%s}', now()", "1, NULL, NULL, NULL"
    rows = [(1, 0, "side", 2, has % ",n1"), (2, 0, "default", 1, has % ""), (2, 1, "default", 1, waits),
            (1, 1, "side", 1, waits)]
    values = ", ".join(f"({run}, {task}, 1, (SELECT id FROM projects WHERE name = '{project}'), 'me', 0, 'd', 'train', "
                       f"'default', '', 1000, {pods}, 1, 1, 0, now(), {state})"
                       for run, task, project, pods, state in rows)
    database.call(database.bin / "psql", "-q", "-v", "ON_ERROR_STOP=1", database.url, "-c", f"""
        INSERT INTO placers (domain, epoch, nodes, nodes_at) VALUES ('d', 1, '{json.dumps([node])}', now());
        INSERT INTO queue_work (run_id, task, attempt, project_id, created_by, shard, domain, path, queue, flavor, gpu,
                                pods, cpu, memory, priority, submitted_at, state, got, nodes, admitted_at)
        VALUES {values}""")
    token = server.post("/api/v1/tokens", {"name": "reader", "role": "viewer", "project": "side", "ttl": "1h"}).json
    for who, runs in ((True, [1, 2]), (token["token"], [1])):
        shown, = server.get("/api/v1/gpus", token=who).json["items"]
        assert shown["gpus"] == [{"flavor": "gpu", "resource": "nvidia.com/gpu", "total": 4, "used": 3, "others": 1}]
        assert sorted(step["run"] for step in shown["steps"]) == runs
    mine, = [w for w in server.get("/api/v1/queues/default", token=token["token"]).json["works"]
             if w["state"] == "waits"]
    assert (mine["run"], mine["of"]) == (1, 2)


def test_what_kueue_has_is_not_called_running(fresh, database):
    server = fresh("--database-url", database.url)
    file = server.home / "queues.yaml"
    file.write_text("{apiVersion: millrace/v1, kind: Queue, name: theirs, kueue: team-a}\n")
    server.cli("queue", "apply", str(file))
    database.call(database.bin / "psql", "-q", "-v", "ON_ERROR_STOP=1", database.url, "-c", """
        INSERT INTO queue_work (run_id, task, attempt, project_id, created_by, shard, domain, path, queue, flavor, gpu,
                                pods, cpu, memory, priority, submitted_at, state, got, nodes, admitted_at, pin)
        VALUES (7, 0, 1, 1, 'me', 0, 'd', 'train', 'theirs', '', 1000, 1, 1, 1, 5, now(), 2, '', '{}', now(),
                '{"kueue": "team-a"}')""")
    shown = server.get("/api/v1/queues/theirs").json
    assert (shown["waiting"], shown["running"], shown["handed"]) == (0, 0, 1), shown
    assert [w["state"] for w in shown["works"]] == ["handed"]
    said = server.cli("queue", "theirs").stdout
    assert "handed" in said and "Kueue decides: millrace get 7" in said, said
    assert "1 handed over" in server.cli("queue").stdout
