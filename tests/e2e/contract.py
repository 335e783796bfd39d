"""Holds every answer that a test gets against api/openapi.yaml: its status, its type, and no member that the
description does not know. test_contract.py calls every operation."""
import json
import pathlib
import re

import jsonschema
import yaml

FILE = pathlib.Path(__file__).resolve().parents[2] / "api/openapi.yaml"
DOCUMENT = yaml.safe_load(FILE.read_text(encoding="utf-8"))
ROOT = "urn:openapi"
OPEN = {"Page"}  # parts of other schemas only


def strict(schema, part=False):
    """An object has the members that are described, unless it says which others."""
    if isinstance(schema, list):
        for one in schema:
            strict(one, part)
    elif isinstance(schema, dict):
        for key, inner in schema.items():
            strict(inner, key == "allOf")
        described = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
        if ("allOf" in schema or described) and not part and "additionalProperties" not in schema:
            schema["unevaluatedProperties"] = False


def resolved(node):
    while isinstance(node, dict) and "$ref" in node:
        target = DOCUMENT
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def templates():
    found = []
    for path, item in DOCUMENT["paths"].items():
        pattern = re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)))
        found.append((path, pattern, item))
    return sorted(found, key=lambda row: (row[0].count("{"), ":" not in row[0]))


for name, component in DOCUMENT["components"]["schemas"].items():
    strict(component, name in OPEN)
strict(DOCUMENT["paths"])
strict(DOCUMENT["components"]["responses"])
TEMPLATES = templates()
OPERATIONS = {(m.upper(), path) for path, item in DOCUMENT["paths"].items() for m in item if m != "parameters"}
seen = set()  # (method, path, status)


def validate(schema, value, where):
    whole = {"$id": ROOT, "components": DOCUMENT["components"], **schema}
    errors = list(jsonschema.Draft202012Validator(whole).iter_errors(value))
    assert not errors, f"{where}: {errors[0].json_path}: {errors[0].message[:500]}"


def operation(method, path):
    path = path.split("?", 1)[0]
    for template, pattern, item in TEMPLATES:
        if pattern.fullmatch(path):
            return template, item.get("get" if method == "HEAD" else method.lower())
    return None, None


def judge(method, path, answer):
    """What the answer shows to be wrong with the description is an AssertionError."""
    template, described = operation(method, path)
    where = f"{method} {path} → {answer.status}"
    kind = (answer.headers.get("Content-Type") or "").split(";")[0]
    assert answer.headers.get("X-Request-Id"), f"{where}: no X-Request-Id"
    if answer.status >= 400:
        if method != "HEAD":
            assert kind == "application/problem+json", f"{where}: {kind}"
            validate({"$ref": "#/components/schemas/Problem"}, json.loads(answer.body), where)
        return
    assert described, f"{where}: not described"
    seen.add((method, template, answer.status))
    if answer.status == 304:
        return
    response = resolved(described["responses"].get(str(answer.status)))
    assert response, f"{where}: this status is not described"
    content = response.get("content", {})
    if method == "HEAD" or not answer.body:
        assert method == "HEAD" or "application/json" not in content, f"{where}: no body"
        return
    assert kind in content or not content, f"{where}: {kind} is none of {', '.join(content)}"
    if kind == "application/json" and "schema" in content.get(kind, {}):
        validate(content[kind]["schema"], json.loads(answer.body), where)
