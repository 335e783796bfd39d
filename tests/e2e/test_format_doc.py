"""pipelines/FORMAT.md tells the truth: its examples pass the checker and the schema, and its tables name just the
functions, variables and keys that the code has. A block marked `yaml` is a whole pipeline; those marked `yaml steps` go
on, one after the other, below the steps of the first."""
import importlib.util
import json
import re

import jsonschema
import pytest
import yaml
from harness import ROOT

TEXT = (ROOT / "pipelines/FORMAT.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```yaml([^\n]*)\n(.*?)^```$", re.M | re.S)
FIRST = BLOCK.search(TEXT).group(2)
# The sub-pipeline that examples call.
OTHER = """---
apiVersion: millrace/v1
kind: Pipeline
name: other
params: {word: string}
steps: {say: {run: "echo ${{ params.word }}"}}
"""


def core_schema():
    """The YAML reader of tests/schema: PyYAML's own is of another version of YAML."""
    spec = importlib.util.spec_from_file_location("schema_check", ROOT / "tests/schema/check.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Core


def examples():
    so_far = FIRST
    for found in BLOCK.finditer(TEXT):
        words, source = found.group(1).split(), found.group(2)
        assert words in ([], ["steps"]), found.group(0)
        if words:
            so_far += re.sub(r"^(?=.)", "  ", source, flags=re.M)
            source = so_far + OTHER
        yield pytest.param(source, id=f"line-{TEXT[: found.start()].count(chr(10)) + 1}")


def table(heading):
    """The rows of the first table below a heading, each a list of cells."""
    section = re.search(rf"^#+ {heading}\n(.*?)(?=^#|\Z)", TEXT, re.M | re.S).group(1)
    rows = re.search(r"(?:^\|.*\n)+", section, re.M).group(0).splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def quoted(cells):
    return [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize("source", list(examples()))
def test_examples_are_valid(server, source):
    server.cli("validate", "-f", "-", given=source)
    validator = jsonschema.Draft202012Validator(json.loads((ROOT / "api/pipeline.schema.json").read_text()))
    for document in yaml.load_all(source, core_schema()):
        validator.validate(document)


def test_the_first_example_runs(server):
    found = server.ended(server.submit(FIRST))
    assert (found["state"], found["outputs"]) == ("succeeded", {"squares": [1, 4, 9]}), found


def test_functions_are_those_of_the_language():
    code = (ROOT / "engine/expr/functions.c").read_text(encoding="utf-8")
    usages = re.findall(r'^    \{"\w+",\s+"([^"]+)",\s+"', code, re.M)
    assert len(usages) > 10
    assert sorted(quoted(row[0] for row in table("Functions"))) == sorted(usages)


def test_variables_are_those_of_a_step(server):
    run = server.ended(server.submit(
        "apiVersion: millrace/v1\nkind: Pipeline\nname: variables\nsteps:\n  a:\n    run: [env]\n"
        "    inputs: {name: x}\n    outputs: {name: {type: string, optional: true}}\n"))
    log = server.get(f"/api/v1/runs/{run['id']}/tasks/a/logs").body.decode()
    seen = {line.split("=", 1)[0] for line in log.splitlines()}
    told = quoted(row[0] for row in table("What a step sees"))
    assert sorted(told) == sorted(seen)


def test_every_key_is_told():
    """The tables of fields by which the compiler reads a file are arrays of struct spec_field."""
    keys = {"apiVersion"}
    for path in [*(ROOT / "engine/flow").glob("spec_*.c"), ROOT / "engine/flow/compile.c"]:
        for fields in re.findall(r"struct spec_field \w+\[\] = \{(.*?)\};", path.read_text(), re.S):
            keys.update(re.findall(r'\{"(\w+)",', fields))
    assert len(keys) > 80, keys
    examples = "\n".join(found.group(2) for found in BLOCK.finditer(TEXT))
    spans = "\n".join(re.findall(r"`([^`\n]+)`", BLOCK.sub("", TEXT)))
    missing = {key for key in keys if not re.search(rf"\b{key}\b", spans + examples)}
    assert not missing, missing
