"""What is known of artifacts: metadata that steps give, who read them; those that were uploaded."""
import json

HEAD = "apiVersion: millrace/v1\nkind: Pipeline\n"


def ran(server, text):
    found = server.ended(server.submit(HEAD + text))
    assert found["state"] == "succeeded", server.tasks(found["id"])
    return found


def artifacts(server, run):
    return {(a["path"], a["name"]): a for a in server.get(f"/api/v1/runs/{run['id']}/artifacts").json["items"]}


def used_by(server, artifact):
    lineage = server.get(f"/api/v1/artifacts/{artifact['id']}/lineage").json
    return [(use["path"], use["name"]) for use in lineage["usedBy"]]


def test_metadata_of_a_step_is_shown_and_found(server):
    run = ran(server, """
name: told
steps:
  make:
    foreach: [0.5, 0.95]
    run: |
      echo x > out/model; mkdir out/data; echo y > out/data/y
      echo '{"accuracy": '${{ item }}', "by": {"name": "é"}}' > out/model.metadata.json
      echo '{"rows": 1}' > out/data.metadata.json
    outputs: {model: {artifact: told-model, path: out/model}, data: {artifact: told-data, path: out/data}}
""")
    made = artifacts(server, run)
    assert made["make[1]", "model"]["metadata"] == {"accuracy": 0.95, "by": {"name": "é"}}
    assert made["make[0]", "data"]["metadata"] == {"rows": 1, "folder": True}
    listed = server.cli_json("artifacts", "ls", run["id"])
    assert {json.dumps(a["metadata"], sort_keys=True) for a in listed} == \
        {json.dumps(a["metadata"], sort_keys=True) for a in made.values()}
    best = server.cli_json("artifacts", "ls", "--filter", "metadata.accuracy > 0.9", "--type", "told-model")
    assert [a["id"] for a in best] == [made["make[1]", "model"]["id"]]
    assert len(server.cli_json("artifacts", "ls", run["id"], "--type", "told-data")) == 2


def test_each_item_of_a_list_knows_its_reader(server):
    run = ran(server, """
name: readers
steps:
  make: {foreach: {range: 3}, run: "echo ${{ item }} > o", outputs: {o: {artifact: text, path: o}}}
  use: {run: "cat inputs/all/*", inputs: {all: "${{ steps.make.outputs.map(o, o.o) }}"}}
""")
    made = artifacts(server, run)
    for i in range(3):
        assert ("use", f"all/{i}") in used_by(server, made[f"make[{i}]", "o"])
