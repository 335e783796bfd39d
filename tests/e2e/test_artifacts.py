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


def test_what_is_put_is_imported_and_knows_its_readers(server, tmp_path):
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/x").write_text("from a folder\n")
    (folder / ".millraceignore").write_text("sub\n")  # an artifact is whole
    (tmp_path / "f").write_text("from a file\n")
    (tmp_path / "none").write_text("")
    packed = server.cli_json("artifacts", "put", folder, "--name", "my data", "--type", "dataset",
                             "--metadata", '{"rows": 3}')
    assert packed["metadata"] == {"rows": 3, "folder": True} and packed["name"] == "my data"
    plain, none = (server.cli("artifacts", "put", tmp_path / name, "--name", name, "-t", "text").stdout.strip()
                   for name in ("f", "none"))
    run = ran(server, f"""
name: takes
steps:
  number: {{import: 'artifact:{packed["id"]}'}}
  digest: {{import: '{packed["digest"]}'}}
  file: {{import: 'artifact:{plain}'}}
  none: {{import: 'artifact:{none}'}}
  use:
    run: cat inputs/number/sub/x inputs/digest/sub/x inputs/file; wc -c < inputs/none
    inputs:
      number: ${{{{ steps.number.outputs.artifact }}}}
      digest: ${{{{ steps.digest.outputs.artifact }}}}
      file: ${{{{ steps.file.outputs.artifact }}}}
      none: ${{{{ steps.none.outputs.artifact }}}}
""")
    log = server.get(f"/api/v1/runs/{run['id']}/tasks/use/logs").body.decode()
    assert log == "from a folder\nfrom a folder\nfrom a file\n0\n"
    assert sorted(used_by(server, packed)) == [("digest", "import"), ("number", "import"), ("use", "digest"),
                                               ("use", "number")]
    server.cli("artifacts", "get", plain, "-O", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "from a file\n"


def test_put_refuses(server, tmp_path):
    (tmp_path / "f").write_text("x")
    for words, code, says in [
        ([tmp_path / "f", "--name", "n"], 2, "--type"),
        ([tmp_path / "g", "--name", "n", "--type", "t"], 4, "No such file"),
        (["/dev/null", "--name", "n", "--type", "t"], 3, "neither a file nor a folder"),
        ([tmp_path / "f", "--name", "n", "--type", "a b"], 3, "cannot be the type"),
        ([tmp_path / "f", "--name", "n", "--type", "t", "--metadata", "[1]"], 2, "JSON object"),
        ([tmp_path / "f", "--name", "n", "--type", "t", "--metadata", '{"a": '], 2, "not JSON"),
        ([tmp_path / "f", "--name", "n", "--type", "t", "--metadata", '{"folder": true}'], 2, "'folder'"),
    ]:
        assert says in server.cli("artifacts", "put", *words, expect=code).stderr, words
