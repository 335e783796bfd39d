#!/usr/bin/env python3
"""Holds the published JSON Schema against the files by which the C checker is tested: tests/corpus and the ready
pipelines. Good ones pass both. In a file of tests/corpus/bad, each place that the checker complains about (it stands in
the .txt beside the file) must be one that the schema complains about, too. What is wrong in meaning only
(tests/corpus/bad-meaning) is beyond a schema."""
import json
import pathlib
import re
import sys

import jsonschema
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Core(yaml.SafeLoader):
    """YAML 1.2's core schema: PyYAML reads 1.1, where `on` is true."""


Core.yaml_implicit_resolvers = {}
for tag, pattern, first in [
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?[0-9]+$", list("-+0123456789")),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", list("-+0123456789.")),
]:
    Core.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), first)


def documents(path):
    return [doc for doc in yaml.load_all(path.read_text(encoding="utf-8"), Core) if doc is not None]


def dotted(parts):
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def places(errors):
    """The paths of all errors, those within alternatives included."""
    for error in errors:
        yield dotted(error.absolute_path)
        if error.validator == "additionalProperties" and isinstance(error.instance, dict):
            for key in error.instance:
                if key not in error.schema.get("properties", {}):
                    yield dotted([*error.absolute_path, key])
        if error.validator in ("propertyNames", "enum", "pattern") and error.parent is not None:
            yield dotted([*error.parent.absolute_path, error.instance])
        yield from places(error.context or [])


def complained(path):
    """What the checker's text names: FILE[:LINE:COL]: error: PATH: message."""
    for line in path.with_suffix(".txt").read_text(encoding="utf-8").splitlines():
        found = re.match(r"^\S+?(?::\d+:\d+)?: error: (?:([^:']+): )?", line)
        if found:
            yield found.group(1) or ""


def related(a, b):
    return a == b or not a or a.startswith((b + ".", b + "[")) or b.startswith((a + ".", a + "["))


def main():
    schema = json.loads((ROOT / "api/pipeline.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    failures = []
    good = sorted((ROOT / "tests/corpus/good").glob("*.yaml")) + sorted((ROOT / "pipelines").glob("**/*.yaml"))
    for path in good:
        for doc in documents(path):
            for error in validator.iter_errors(doc):
                where = f"{path.relative_to(ROOT)}: {error.json_path}"
                failures.append(f"{where}: good, but the schema says: {error.message}")
    bad = sorted(p for p in (ROOT / "tests/corpus/bad").glob("*.yaml") if not p.name.startswith("yaml-"))
    for path in bad:
        found = set(places(validator.iter_errors(documents(path)[0])))
        if not found:
            failures.append(f"{path.relative_to(ROOT)}: bad, and the schema lets it pass")
        for place in complained(path):
            if found and not any(related(place, other) for other in found if other or not place):
                failures.append(f"{path.relative_to(ROOT)}: the checker complains of {place}, the schema does not")
    print("\n".join(failures + [f"schema: {len(good)} good and {len(bad)} bad files, {len(failures)} disagreements"]))
    return 1 if failures or not good or not bad else 0


if __name__ == "__main__":
    sys.exit(main())
