"""What the words of the format mean, run by a real server: each verb, loops, rules, retries, limits, caching."""
import json
import time

import pytest
from harness import until

HEAD = "apiVersion: millrace/v1\nkind: Pipeline\n"


@pytest.fixture
def go(server):
    """go(source, …) runs a pipeline to its end: (run, path → task)."""
    def run(text, state="succeeded", **members):
        found = server.ended(server.submit(HEAD + text, **members))
        tasks = server.tasks(found["id"])
        assert found["state"] == state, (found, tasks)
        return found, tasks
    return run


def log(server, run, path):
    return server.get(f"/api/v1/runs/{run['id']}/tasks/{path}/logs").body.decode()


# ---- verbs


def test_scripts_choose_their_interpreter(server, go):
    run, _ = go("""
name: scripts
steps:
  shell: {script: "echo $0 >/dev/null; echo from shell\\n"}
  python:
    script: |
      import sys
      print("from python", sys.argv[1:])
    interpreter: [python3, -u]
  shebang:
    script: |
      #!/usr/bin/env python3
      print("from", "shebang")
""")
    assert log(server, run, "shell") == "from shell\n"
    assert log(server, run, "python") == "from python []\n"
    assert log(server, run, "shebang") == "from shebang\n"


def test_values_pass_between_steps_with_their_types(server, go):
    run, tasks = go("""
name: values
params: {n: {type: int, default: 3}, tags: {type: list, items: string, default: [a, "b c"]}}
steps:
  make:
    run: echo 2.5 > x; echo true > b; echo '[1, {"k":"v"}]' > l; printf 'two\\nlines\\n' > s
    outputs:
      x: {type: float, path: x}
      b: {type: bool, path: b}
      l: {type: list, path: l}
      s: {type: string, path: s}
  sum: {expr: "${{ steps.make.outputs.x * double(params.n) }}"}
  tree:
    expr: {flag: "${{ !steps.make.outputs.b }}", k: "${{ steps.make.outputs.l[1].k }}", tags: "${{ params.tags }}"}
  words: {run: "printf '%s|' ${{ params.tags }} ${{ steps.make.outputs.s }}"}
outputs:
  sum: ${{ steps.sum.value }}
  tree: ${{ steps.tree.value }}
""")
    assert run["outputs"] == {"sum": 7.5, "tree": {"flag": False, "k": "v", "tags": ["a", "b c"]}}
    assert log(server, run, "words") == "a|b c|two\nlines|"


def test_numbers_beyond_64_bits_stay_what_they_are(server, go):
    run, _ = go("""
name: far
params: {x: {type: float, default: 1e21}, m: {type: map, default: {a: -1e300}}}
steps:
  loss: {run: "echo 1e16 > loss", outputs: {loss: {type: float, path: loss}}}
  half: {expr: "${{ steps.loss.outputs.loss / 3 }}"}
outputs: {all: "${{ [params.x, params.m.a, steps.half.value] }}"}
""")
    assert run["outputs"]["all"] == [1e21, -1e300, 1e16 / 3]
    assert server.cli_json("get", run["id"])["params"] == {"x": 1e21, "m": {"a": -1e300}}


def test_artifacts_files_and_folders(server, go):
    run, _ = go("""
name: files
steps:
  make:
    run: mkdir -p d/sub && echo one > d/a && echo two > d/sub/b && head -c 3000000 /dev/zero > big
    outputs: {d: {artifact: dataset, path: d}, big: {artifact: blob, path: big}}
  use:
    run: |
      cat ${{ inputs.d.path }}/a ${{ inputs.d.path }}/sub/b
      wc -c < ${{ inputs.big.path }}
      cat $MILLRACE_INPUT_D/a
    inputs: {d: "${{ steps.make.outputs.d }}", big: "${{ steps.make.outputs.big }}"}
""")
    assert log(server, run, "use") == "one\ntwo\n3000000\none\n"
    items = {a["name"]: a for a in server.get(f"/api/v1/runs/{run['id']}/artifacts").json["items"]}
    assert items["big"]["size"] == 3000000 and items["big"]["type"] == "blob" and items["d"]["type"] == "dataset"
    content = server.get(f"/api/v1/artifacts/{items['big']['id']}/content", headers={"Range": "bytes=10-19"})
    assert (content.status, content.body) == (206, bytes(10))
    lineage = server.get(f"/api/v1/artifacts/{items['big']['id']}/lineage").json
    assert "use" in json.dumps(lineage) and "make" in json.dumps(lineage)


def test_where_steps_find_and_leave_things(server, go):
    run, tasks = go("""
name: places
steps:
  one: {foreach: [1, 2], run: "echo ${{ item }} > f", outputs: {f: {artifact: text, path: f}}}
  make:
    script: |
      import os
      open(os.environ["MILLRACE_OUTPUT_N"], "w").write("7")
      open("deep/down/s", "w").write("found " + os.environ["HOME"])
    interpreter: [python3]
    env: {HOME: /nowhere}
    outputs: {n: int, s: {type: string, path: deep/down/s}}
  use:
    run: cd /; cat $MILLRACE_INPUT_ALL/0 $MILLRACE_INPUT_ALL/1 $MILLRACE_INPUT_N; echo $HOME
    env: {HOME: /nowhere}
    inputs: {all: "${{ steps.one.outputs.map(o, o.f) }}", n: "${{ steps.make.outputs.n }}"}
outputs: {s: "${{ steps.make.outputs.s }}"}
""")
    assert run["outputs"] == {"s": "found /nowhere"}
    assert log(server, run, "use") == "1\n2\n7/nowhere\n"


def test_one_folder_has_many_spellings(server, go):
    run, _ = go("""
name: spellings
steps:
  make:
    run: mkdir m && echo x > m/f; echo y > a/b
    outputs: {m: {artifact: model, path: ./m//}, b: {type: string, path: a//b}}
  use: {run: "cat inputs/m/f", workdir: ., inputs: {m: "${{ steps.make.outputs.m }}"}}
""")
    assert log(server, run, "use") == "x\n"


def test_folders_keep_all_that_is_in_them(server, go):
    run, _ = go("""
name: folders
steps:
  make:
    run: |
      mkdir -p d/.git && echo x > d/.git/config && echo y > d/a.pyc && echo '*.txt' > d/.millraceignore
      echo t > d/t.txt
      head -c 9000000 /dev/zero > d/zeros; ln -s t.txt d/link
    outputs: {d: {artifact: dataset, path: d}}
  use: {run: "cd inputs/d; find . ! -type d | LC_ALL=C sort", inputs: {d: "${{ steps.make.outputs.d }}"}}
""")
    names = "./.git/config\n./.millraceignore\n./a.pyc\n./link\n./t.txt\n./zeros\n"
    assert log(server, run, "use") == names
    made = server.get(f"/api/v1/runs/{run['id']}/artifacts").json["items"][0]
    run, tasks = go(f"name: import-folder\nsteps:\n  get: {{import: 'artifact:{made['id']}'}}\n"
                    "  use: {run: \"cat inputs/d/t.txt\", inputs: {d: \"${{ steps.get.outputs.artifact }}\"}}")
    assert log(server, run, "use") == "t\n" and tasks["get"]["outputs"]["artifact"]["artifact"] == "dataset"
    _, tasks = go("name: leaky\nsteps:\n"
                  "  a: {run: mkdir d; ln -s /etc/passwd d/out, outputs: {d: {artifact: x, path: d}}}\n"
                  "  b: {run: ln -s /etc/passwd f, outputs: {f: {type: string, path: f}}}", state="failed")
    assert tasks["a"]["message"].endswith("(d) cannot be kept: 'out' in it is a link that leads out of it")
    assert tasks["b"]["message"].endswith("(f) is a link that leads out of the working directory")


def test_waits_for_a_time_and_until_one(go):
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
    start = time.time()
    _, tasks = go(f"name: waits\nsteps: {{short: {{wait: 300ms}}, until: {{wait: {{until: '{soon}'}}}}, "
                  "past: {wait: {until: '2020-01-01T00:00:00Z'}}, none: {wait: 0}, "
                  "told: {wait: {for: \"${{ '2' + '00ms' }}\"}}}")
    assert time.time() - start >= 0.9
    assert {t["state"] for t in tasks.values()} == {"succeeded"}


def test_an_approval_times_out(go):
    text = "name: late\nsteps: {ask: {approval: {message: Now?, timeout: 200ms}}, then: {needs: ask, run: 'true'}}"
    _, tasks = go(text, state="failed")
    assert tasks["ask"]["reason"] == "Expired"
    assert tasks["then"]["state"] == "skipped"


def test_imports_are_found_by_digest_and_number(server, go):
    run, _ = go("name: source\nsteps: {make: {run: 'echo imported > f', outputs: {f: {artifact: text, path: f}}}}")
    made = server.get(f"/api/v1/runs/{run['id']}/artifacts").json["items"][0]
    for uri in (made["digest"], f"artifact:{made['id']}"):
        run, _ = go(f"name: importing\nsteps:\n  get: {{import: {{uri: '{uri}', type: text}}}}\n"
                    "  use: {run: \"cat ${{ inputs.f.path }}\", inputs: {f: \"${{ steps.get.outputs.artifact }}\"}}")
        assert log(server, run, "use") == "imported\n"
    assert server.get(f"/api/v1/artifacts/{made['id']}/lineage").body.count(b"import") >= 2
    _, tasks = go(f"name: absent\nsteps: {{get: {{import: {{uri: 'sha256:{'0' * 64}', type: text}}}}}}", state="failed")
    assert "sha256:000" in tasks["get"]["message"]


# ---- loops


def test_loops(go):
    run, tasks = go("""
name: loops
params: {models: {type: list, items: string, default: [x, y]}}
steps:
  product: {foreach: {m: "${{ params.models }}", d: [1, 2]}, expr: "${{ item.m + string(item.d) }}"}
  range: {foreach: {range: {from: 1, to: 10, step: 3}}, expr: "${{ item * 10 + index }}"}
  over: {foreach: "${{ steps.range.value }}", expr: "${{ item + 1 }}"}
  none: {foreach: [], run: exit 1}
  work:
    foreach: {range: 5}
    parallelism: 2
    run: echo $((I * I)) > n
    env: {I: "${{ item }}"}
    outputs: {n: {type: int, path: n}}
  best: {expr: "${{ steps.work.outputs.maxBy(o, o.n) }}"}
  after: {needs: none, expr: "${{ size(steps.work.outputs.filter(o, o.n > 3)) }}"}
outputs:
  product: ${{ steps.product.value }}
  over: ${{ steps.over.value }}
  best: ${{ steps.best.value.n }}
  item: ${{ steps.best.value.item }}
  after: ${{ steps.after.value }}
""")
    assert run["outputs"] == {"product": ["x1", "x2", "y1", "y2"], "over": [11, 42, 73], "best": 16, "item": 4,
                              "after": 3}
    assert tasks["work[4]"]["state"] == "succeeded"


def test_parallelism_bounds_a_loop_and_a_run(server, go):
    body = "date +%s.%N > s; sleep 0.3; date +%s.%N > e"
    outputs = "outputs: {s: {type: float, path: s}, e: {type: float, path: e}}"
    for head, loop, bound in (("", "parallelism: 2", 2), ("parallelism: 3\n", "", 3)):
        run, _ = go(f"name: bounded\n{head}defaults: {{resources: {{cpu: 10m}}}}\nsteps:\n  w:\n"
                    f"    foreach: {{range: 6}}\n    {loop}\n    run: {body}\n    {outputs}\n"
                    "outputs: {all: \"${{ steps.w.outputs.map(o, [o.s, o.e]) }}\"}")
        spans = run["outputs"]["all"]
        most = max(sum(s <= at < e for s, e in spans) for at, _ in spans)
        assert 1 < most <= bound, spans


def test_a_loop_over_too_much_is_refused(server):
    text = "name: wide\nsteps: {a: {foreach: {range: 2000000}, run: 'true'}}"
    answer = server.post("/api/v1/runs", {"source": HEAD + text})
    assert answer.status == 422 and answer.json["path"] == "steps.a.foreach.range", answer
    assert "more than 20000 items" in answer.json["detail"]
    run = server.ended(server.submit(HEAD + "name: wide2\nparams: {n: {type: int, default: 2000000}}\n"
                                     "steps: {a: {foreach: \"${{ range(params.n) }}\", run: 'true'}}"))
    assert run["state"] == "failed", run
    assert "20000" in server.tasks(run["id"])["a"]["message"]


# ---- order, conditions, failures


@pytest.mark.parametrize("rule, ran", [("all-succeeded", False), ("all-done", True), ("any-failed", True),
                                       ("one-succeeded", True)])
def test_rules(go, rule, ran):
    _, tasks = go(f"name: rules\nsteps: {{good: {{run: 'true'}}, bad: {{run: exit 3}}, "
                  f"next: {{needs: [good, bad], rule: {rule}, run: 'true'}}}}", state="failed")
    assert tasks["next"]["state"] == ("succeeded" if ran else "skipped"), tasks["next"]


def test_what_runs_on_exit(go):
    text = """
name: leaving
steps: {work: {run: exit %d}}
onExit:
  good: {after: success, run: "true"}
  bad: {after: failure, run: "true"}
  ever: {after: always, run: "echo ${{ run.status }} > s", outputs: {s: {type: string, path: s}}}
  then: {needs: ever, run: "true"}
"""
    for code, state, skipped in ((0, "succeeded", "bad"), (1, "failed", "good")):
        _, tasks = go(text % code, state=state)
        assert {path: t["state"] for path, t in tasks.items() if path != "work"} == {
            name: "skipped" if name == skipped else "succeeded" for name in ("good", "bad", "ever", "then")}
        assert tasks[skipped]["reason"] == "AfterNotMet"


def test_retries_by_kind(go):
    _, tasks = go("""
name: kinds
defaults: {retry: {limit: 2, backoff: {base: 10ms, factor: 2, max: 20ms, jitter: 0%}}}
steps:
  code: {run: exit 75, retry: {limit: 1, exitCodes: [75], backoff: 10ms}}
  signal: {run: kill -TERM $$, retry: {limit: 1, exitCodes: [143], backoff: 10ms}}
  other: {run: exit 76, retry: {limit: 1, exitCodes: [75], backoff: 10ms}}
  time: {run: sleep 60, timeout: 200ms, retry: {limit: 1, for: timeout, backoff: 10ms}}
  error: {run: exit 1, retry: {limit: 1, for: timeout, backoff: 10ms}}
  oom:
    run: python3 -c "import time; x = bytearray(200 << 20); time.sleep(60)"
    resources: {memory: 64Mi}
    retry: {limit: 1, for: oom, backoff: 10ms}
  always: {run: exit 1}
""", state="failed")
    assert {p: (t["attempt"], t["reason"]) for p, t in tasks.items()} == {
        "code": (2, "Error"), "signal": (2, "Error"), "other": (1, "Error"), "time": (2, "Timeout"),
        "error": (1, "Error"), "oom": (2, "OutOfMemory"), "always": (3, "Error")}


def test_a_checkpoint_survives_attempts(server, go):
    run, tasks = go("""
name: checkpoint
steps:
  train:
    run: cd $MILLRACE_CHECKPOINT_DIR; cat epoch 2>/dev/null; echo $MILLRACE_ATTEMPT >> epoch; test $MILLRACE_ATTEMPT = 3
    retry: {limit: 2, backoff: 10ms}
""")
    assert log(server, run, "train") == "1\n2\n"


def test_a_checkpoint_survives_retries(server):
    """Also where a retry opens a loop or sub-pipeline anew, and then only for the same item."""
    run = server.submit(HEAD + """
name: outer
steps:
  list:
    run: cd $MILLRACE_CHECKPOINT_DIR; echo "[1, $((2 + $(ls | wc -l)))]" > $MILLRACE_OUTPUT_L; touch second
    outputs: {l: {type: list, path: l}}
  plain: {run: cd $MILLRACE_CHECKPOINT_DIR; echo x >> seen; cat seen}
  l: {foreach: "${{ steps.list.outputs.l }}", pipeline: inner}
---
""" + HEAD + """
name: inner
steps:
  a: {run: cd $MILLRACE_CHECKPOINT_DIR; echo x >> seen; cat seen}
""")
    assert server.ended(run)["state"] == "succeeded"

    def again(*steps):
        for step in steps:
            assert server.post(f"/api/v1/runs/{run}:retry", {"from": step}).status == 202
            assert server.ended(run)["state"] == "succeeded"
        return [log(server, {"id": run}, path).count("x") for path in ("plain", "l[0].a", "l[1].a")]

    assert again() == [1, 1, 1]
    assert again("plain", "l[1]", "l[1]") == [2, 1, 3]
    assert again("list") == [2, 2, 1]


def test_deadline_ends_a_run(go):
    start = time.time()
    run, tasks = go("name: dead\ndeadline: 500ms\nsteps: {long: {run: sleep 60}, next: {needs: long, run: 'true'}}\n"
                    "onExit: {tell: {run: 'true'}}", state="failed")
    assert time.time() - start < 30 and tasks["tell"]["state"] == "succeeded"
    assert tasks["long"]["reason"] == "Deadline" and "deadline" in run["message"].lower(), (run, tasks)


# ---- sub-pipelines


def test_sub_pipelines_by_name_and_file(server, go, tmp_path):
    child = HEAD + ("name: child-of-test\nparams: {n: {type: int}}\nsteps: {double: {expr: '${{ params.n * 2 }}'}}\n"
                    "outputs: {twice: '${{ steps.double.value }}'}\n")
    answer = server.post("/api/v1/pipelines", child, kind="application/yaml")
    assert answer.status in (200, 201), answer
    run, tasks = go("name: parent\nsteps:\n"
                    "  sub: {foreach: {range: 3}, pipeline: child-of-test, params: {n: '${{ item }}'}}\n"
                    "outputs: {all: \"${{ steps.sub.outputs.map(o, o.twice) }}\"}")
    assert run["outputs"] == {"all": [0, 2, 4]} and tasks["sub[2].double"]["state"] == "succeeded", tasks
    (tmp_path / "child.yaml").write_text(child)
    (tmp_path / "pipeline.yaml").write_text(
        HEAD + "name: parent2\nsteps:\n  sub: {pipeline: {file: child.yaml}, params: {n: 21}}\n"
        "outputs: {n: '${{ steps.sub.outputs.twice }}'}\n")
    server.cli("run", tmp_path / "pipeline.yaml")
    newest = server.get("/api/v1/runs?filter=pipeline%20%3D%20parent2").json["items"][0]
    assert server.run(newest["id"])["outputs"] == {"n": 42}


def test_problems_of_a_sub_pipeline_are_told_with_its_file(server, tmp_path):
    parent = HEAD + "name: outer\nsteps:\n  one: {pipeline: {file: sub/child.yaml}}\n  two: {run: echo, needs: gone}\n"
    (tmp_path / "sub").mkdir()
    (tmp_path / "pipeline.yaml").write_text(parent)
    (tmp_path / "sub/child.yaml").write_text(HEAD + "name: child\nsteps:\n  a: {run: \"echo ${{ params.x }}\"}\n"
                                             "  b: {pipeline: ../deep.yaml}\n")
    (tmp_path / "deep.yaml").write_text(HEAD + "name: deep\nsteps:\n  a: {rn: echo}\n  b: {pipeline: never-heard-of}\n")
    (tmp_path / "helper.yaml").write_text(HEAD + "name: carries-the-folder\nsteps: {a: {run: echo}}\n")
    done = server.cli("validate", "pipeline.yaml", expect=3, cwd=tmp_path).stderr
    for line in ("pipeline.yaml:6:27: error: steps.two.needs: there is no step 'gone'",
                 "sub/child.yaml:5:29: error: steps.a.run: there is no param 'x'",
                 "      = used by steps.one of pipeline.yaml:5",
                 "sub/../deep.yaml:5:7: error: steps.a.rn: unknown key 'rn'",
                 "      = used by steps.b of sub/child.yaml:6, and that by steps.one of pipeline.yaml:5"):
        assert line in done.splitlines(), done
    assert done.count("error: ") == 4 and "millrace apply" in done, done
    server.cli("apply", "helper.yaml", "--bundle", ".", cwd=tmp_path)
    bundle = server.get("/api/v1/pipelines/carries-the-folder").json["bundle"]
    answer = server.post("/api/v1/runs", {"source": parent, "bundle": bundle})
    assert answer.status == 422 and "file" not in answer.json, answer
    found = [(e.get("file"), e["line"], e["path"], e.get("usedBy")) for e in answer.json["errors"]]
    within = "steps.b of sub/child.yaml:6, and that by steps.one, line 5"
    assert found == [(None, 6, "steps.two.needs", None), ("deep.yaml", 5, "steps.a.rn", within),
                     ("deep.yaml", 6, "steps.b.pipeline", within),
                     ("sub/child.yaml", 5, "steps.a.run", "steps.one, line 5")], answer.json


def test_pipelines_of_one_call_find_each_other(server, tmp_path):
    (tmp_path / "a.yaml").write_text(HEAD + "name: caller\nsteps: {a: {pipeline: called, params: {n: 1}}}\n")
    (tmp_path / "b.yaml").write_text(HEAD + "name: called\nparams: {n: int}\nsteps: {a: {run: 'true'}}\n")
    nobody = {"MILLRACE_URL": "http://127.0.0.1:1"}
    assert server.cli("validate", ".", cwd=tmp_path, env=nobody).stdout.count("valid") == 2
    (tmp_path / "b.yaml").write_text(HEAD + "name: called\nparams: {n: int}\nsteps: {a: {rn: 'true'}}\n")
    done = server.cli("validate", ".", cwd=tmp_path, env=nobody, expect=3).stderr
    assert done.count("error: ") == 2 and "unknown key 'rn'" in done and "see ./b.yaml" in done, done


def test_a_sub_pipeline_is_tried_again_as_a_whole_only_where_it_says_so(go):
    text = """
name: outer
defaults: {retry: {limit: 3, backoff: 10ms}}
steps: {plain: {pipeline: inner}, again: {pipeline: inner, retry: {limit: 1, backoff: 10ms}}}
---
apiVersion: millrace/v1
kind: Pipeline
name: inner
steps: {x: {run: exit 1}}
"""
    _, tasks = go(text, state="failed")
    assert {p: (t["attempt"], t["reason"]) for p, t in tasks.items()} == {
        "plain": (1, "ChildFailed"), "plain.x": (1, "Error"), "again": (2, "ChildFailed"), "again.x": (1, "Error")}


# ---- caching


def test_cache_hits_cost_no_process_and_keep_their_artifacts(server, go):
    text = """
name: cached
params: {n: {type: int, default: 1}}
steps:
  make:
    cache: {ttl: 1h}
    run: date +%%s%%N > t; echo ${{ params.n }} >> t
    outputs: {t: {artifact: text, path: t}}
  use: {run: "cat ${{ inputs.t.path }}", inputs: {t: "${{ steps.make.outputs.t }}"}, cache: %s}
"""
    unique = f"  # {time.time()}\n"
    first, tasks = go(text % "false" + unique, params={"n": int(time.time())})
    again, hit = go(text % "false" + unique, params={"n": int(first["params"]["n"])})
    assert tasks["make"].get("reason") != "Cached" and hit["make"]["reason"] == "Cached"
    assert log(server, first, "use") == log(server, again, "use")
    other, miss = go(text % "false" + unique, params={"n": 1})
    assert log(server, other, "use") != log(server, again, "use")
    assert server.request("DELETE", f"/api/v1/runs/{first['id']}").status == 204
    kept = server.get(f"/api/v1/runs/{again['id']}/artifacts").json["items"]
    assert [(a["name"], a["type"]) for a in kept] == [("t", "text")]
    assert server.get(f"/api/v1/artifacts/{kept[0]['id']}/content").body.decode() == log(server, again, "use")


def test_a_mended_document_keeps_what_is_cached_and_mended_code_does_not(server, tmp_path):
    def reasons(last):
        (tmp_path / "pipeline.yaml").write_text(
            HEAD + f"name: iterated\nsteps:\n  a: {{cache: true, run: cat data.txt}}\n  z: {{run: [echo, {last}]}}\n")
        run = server.cli_json("run", tmp_path)
        items = server.get(f"/api/v1/runs/{run['id']}/tasks").json["items"]
        return {t["path"]: t.get("reason") for t in items}

    (tmp_path / "data.txt").write_text(str(time.time()))
    assert reasons("one")["a"] != "Cached"
    assert reasons("two")["a"] == "Cached"
    (tmp_path / "data.txt").write_text(str(time.time()))
    assert reasons("two")["a"] != "Cached"


def test_a_cache_entry_expires(server, go):
    text = ("name: short\nsteps:\n  a: {cache: {ttl: 1s, key: '%s'}, run: date +%%s%%N > t, "
            "outputs: {t: {type: string, path: t}}}")
    key = time.time()
    go(text % key)
    time.sleep(1.2)
    _, tasks = go(text % key)
    assert tasks["a"].get("reason") != "Cached"


# ---- runs


def test_limits_of_a_pipeline_hold_its_runs_back(server):
    text = HEAD + "name: one-at-a-time\nmaxRuns: 1\nsteps: {a: {run: sleep 0.3}}"
    ids = [server.submit(text) for _ in range(4)]
    runs = sorted((server.ended(i) for i in ids), key=lambda r: r["startedAt"])
    assert [r["state"] for r in runs] == ["succeeded"] * 4
    for before, after in zip(runs, runs[1:]):
        assert after["startedAt"] >= before["endedAt"]


def test_pause_holds_and_resume_goes_on(server):
    run = server.submit(HEAD + "name: held\nsteps: {a: {run: sleep 0.5}, b: {needs: a, run: 'true'}}")
    server.wait_task(run, "a", "running")
    assert server.post(f"/api/v1/runs/{run}:pause").status == 202
    server.wait_task(run, "a", "succeeded")
    time.sleep(0.5)
    assert server.tasks(run)["b"]["state"] not in ("running", "succeeded")
    assert server.post(f"/api/v1/runs/{run}:resume").status == 202
    assert server.ended(run)["state"] == "succeeded"


def test_cancel_gives_a_step_its_grace(server):
    run = server.submit(HEAD + "name: graceful\nsteps:\n  a:\n    run: |\n      trap 'echo bye; exit 0' TERM\n"
                        "      echo ready\n      while :; do sleep 0.05; done\n  b: {needs: a, run: 'true'}\n")
    server.wait_task(run, "a", "running")
    while "ready" not in server.get(f"/api/v1/runs/{run}/tasks/a/logs").body.decode():
        time.sleep(0.05)
    assert server.post(f"/api/v1/runs/{run}:cancel", {"grace": "20s"}).status == 202
    ended = server.ended(run)
    assert ended["state"] == "cancelled"
    assert server.get(f"/api/v1/runs/{run}/tasks/a/logs").body.decode().endswith("bye\n")
    assert {t["state"] for t in server.tasks(run).values()} <= {"cancelled", "skipped"}


def test_retry_keeps_what_succeeded_and_clone_takes_other_params(server):
    text = HEAD + """
name: again
params: {fail: {type: bool, default: true}}
steps:
  a: {run: "date +%s%N > t", outputs: {t: {type: string, path: t}}}
  b:
    needs: a
    run: cd $MILLRACE_CHECKPOINT_DIR; test -e ok || ! touch ok || ! ${{ params.fail }}
outputs: {t: "${{ steps.a.outputs.t }}"}
"""
    run = server.submit(text)
    assert server.ended(run)["state"] == "failed"
    before = server.tasks(run)
    assert server.post(f"/api/v1/runs/{run}:retry").status == 202
    server.wait_task(run, "b", "succeeded")
    after = server.ended(run)
    assert after["state"] == "succeeded" and server.tasks(run)["a"]["attempt"] == before["a"]["attempt"] == 1
    assert server.post(f"/api/v1/runs/{run}:retry", {"from": "a"}).status == 202
    assert server.ended(run)["state"] == "succeeded"  # what the tasks were before is no answer yet
    assert server.tasks(run)["a"]["attempt"] == 2
    clone = server.post(f"/api/v1/runs/{run}:clone", {"params": {"fail": False}})
    assert clone.status == 201 and server.ended(clone.json["id"])["state"] == "succeeded"
    assert clone.json["params"] == {"fail": False} and clone.json["clonedFrom"] == run


def test_what_means_nothing_here_is_said_once(server, tmp_path):
    """An image (and what else only a cluster understands) does not keep a step from running as a process."""
    (tmp_path / "pipeline.yaml").write_text(HEAD + "name: elsewhere\ndefaults: {image: busybox}\nsteps:\n"
                                            "  a: {run: 'true', nodeSelector: {disk: ssd}}\n  b: {run: 'true'}\n")
    done = server.cli("run", tmp_path / "pipeline.yaml")
    assert done.stderr.count("image") == 1 and "ignored here" in done.stderr and "nodeSelector" in done.stderr
    newest = server.get("/api/v1/runs?filter=pipeline%20%3D%20elsewhere").json["items"][0]
    assert sorted(server.run(newest["id"])["options"]["unused"]) == ["image", "nodeSelector"]


def test_a_gpu_that_is_not_there(server):
    text = HEAD + "name: gpu\nsteps: {a: {run: 'true', resources: {gpu: 1}}}"
    refused = server.post("/api/v1/runs", {"source": text})
    assert refused.status in (400, 422) and b"ignore" in refused.body, refused
    assert server.ended(server.submit(text, ignoreResources=["gpu"]))["state"] == "succeeded"


def test_what_never_fits_is_refused_and_what_waits_says_why(fresh):
    mine = fresh("--cpus", "1", "--memory", "512Mi")
    refused = mine.post("/api/v1/runs", {"source": HEAD + "name: big\nsteps: {a: {run: 'true', resources: {cpu: 64}}}"})
    assert refused.status in (400, 422) and b"steps.a" in refused.body, refused
    waived = mine.submit(HEAD + "name: waived\nsteps: {a: {run: python3 -c 'x = bytearray(64 << 20)', "
                         "resources: {cpu: 64, memory: 8Gi}}}", ignoreResources=["cpu", "memory"])
    assert mine.ended(waived)["state"] == "succeeded"
    text = HEAD + "name: full\nsteps: {a: {run: sleep 2, resources: {cpu: 1}}, b: {run: 'true', resources: {cpu: 1}}}"
    run = mine.submit(text)
    why = until("a reason", lambda: mine.tasks(run)["b"].get("waitingFor"))
    assert why == "waits for room: needs 1 CPUs, 0 of 1 are free"
    assert mine.run(run)["waiting"]["examples"][0]["path"] == "b"
    assert mine.ended(run)["state"] == "succeeded"


def test_priorities_hold_between_runs(fresh):
    mine = fresh("--cpus", "1")
    text = HEAD + "name: ranked\nsteps: {a: {run: sleep %s, resources: {cpu: 1}, priority: %d}}"
    first = mine.submit(text % ("1.5", 0))
    mine.wait_task(first, "a", "running")
    runs = {priority: mine.submit(text % ("0", priority)) for priority in (-3, 0, 4, 9)}
    started = {priority: mine.ended(run)["endedAt"] for priority, run in runs.items()}
    assert sorted(started, key=started.get) == [9, 4, 0, -3]


def test_ten_thousand_steps(server):
    lines = [HEAD, "name: wide\nsteps:\n"]
    for layer in range(100):
        for i in range(100):
            need = f", needs: [l{layer - 1}x{i}, l{layer - 1}x{(i + 1) % 100}]" if layer else ""
            lines.append(f"  l{layer}x{i}: {{expr: \"${{{{ {layer} + {i} }}}}\"{need}}}\n")
    run = server.submit("".join(lines))
    found = server.ended(run)
    assert found["state"] == "succeeded" and found["tasksTotal"] == 10000, found
