"""Code, artifacts and several outputs of steps as Jobs: moved by Millrace's own containers beside the step's own."""
import datetime
import time

from harness import ROOT, until
from test_jobs import gone, pipeline

CHAIN = """  make:
    run: |
      mkdir -p out/deep && echo one > out/deep/a && ln -s deep/a out/link && head -c 3000000 /dev/urandom > big
      sha256sum big | cut -c1-64 > sum; echo 7 > n; chmod 600 big; umask 077; echo secretive > mine
      echo '{"rows": 3}' > big.metadata.json
    outputs:
      big: {artifact: model, path: big}
      out: {artifact: dataset, path: out}
      mine: {artifact: model, path: mine}
      sum: {type: string, path: sum}
      n: {type: int, path: n}
  use:
    run: |
      test "$(sha256sum inputs/big | cut -c1-64)" = "$(cat inputs/sum)" && cat inputs/out/link inputs/mine inputs/n
      echo mended > inputs/big && touch inputs/out/new && echo fine > "$MILLRACE_OUTPUT_WORD"
    inputs:
      big: "${{ steps.make.outputs.big }}"
      out: "${{ steps.make.outputs.out }}"
      mine: "${{ steps.make.outputs.mine }}"
      sum: "${{ steps.make.outputs.sum }}"
      n: "${{ steps.make.outputs.n }}"
    outputs: {word: {type: string, path: results/word}}
"""


def test_artifacts_go_from_pod_to_pod(data_server, jobs):
    server = data_server()
    run = server.submit(pipeline(CHAIN, outputs='{w: "${{ steps.use.outputs.word }}"}'))
    done = server.ended(run)
    assert done["state"] == "succeeded" and done["outputs"] == {"w": "fine"}, (done, server.tasks(run))
    assert server.cli("logs", run, "use").stdout == "one\nsecretive\n7"
    kept = {a["name"]: a for a in server.get(f"/api/v1/runs/{run}/artifacts").json["items"]}
    assert kept["big"]["size"] == 3000000 and kept["big"]["metadata"] == {"rows": 3}
    assert kept["out"]["metadata"] == {"folder": True}
    gone(jobs)


def s3_options(server_home, s3, bucket):
    keys = server_home / "s3-keys"
    keys.write_text(f"aws_access_key_id = {s3.ACCESS}\naws_secret_access_key = {s3.SECRET}\n")
    keys.chmod(0o600)
    return ["--artifact-store", f"s3://{bucket}/millrace", "--s3-endpoint", s3.url, "--s3-path-style",
            "--s3-region", s3.REGION, "--s3-credentials", str(keys)]


def test_the_digits_demo_unchanged_through_s3(cluster, data_server, jobs, s3):
    (s3.home / "objects/digits").mkdir()
    server = data_server(image="localhost/python:1", start=False)
    server.options += s3_options(server.home, s3, "digits")
    server.start()
    server.cli("apply", "-f", ROOT / "pipelines/digits")
    run = server.cli("submit", "digits").stdout.strip()
    done = server.ended(run, patience=300)
    assert done["state"] == "succeeded", [t.get("message") for t in server.tasks(run).values()]
    assert done["outputs"]["accuracy"] > 0.9, done
    kept = server.get(f"/api/v1/runs/{run}/artifacts").json["items"]
    objects = [p.name for p in (s3.home / "objects/digits").rglob("*") if p.is_file()]
    assert kept and all(a["digest"].split(":")[1] in objects for a in kept), (kept, objects)
    pods = {t["executor"] for t in server.tasks(run).values() if t.get("executor")}
    assert pods and all(p.startswith("kubernetes:") for p in pods)
    gone(jobs)


REFUSED = {
    "absent": ("run: 'echo 1 > n', outputs: {n: {type: int, path: n}, m: {artifact: model, path: no/m}}",
               "OutputMissing", "its output 'm' (no/m) was not written"),
    "badtype": ("run: 'echo x > n; echo 1 > m', outputs: {n: {type: int, path: n}, m: {artifact: model, path: m}}",
                "OutputMissing", "its output 'n' (n) does not hold a whole number"),
    "escape": ("run: 'ln -s /etc/passwd m', outputs: {m: {artifact: model, path: m}}",
               "OutputMissing", "link that leads out of the working directory"),
    "nul": ("run: \"printf 'a\\\\0b' > n\", outputs: {n: {type: string, path: n}}", "OutputMissing",
            "its output 'n' is not UTF-8 text"),
    "fails": ("run: 'echo 1 > m; exit 4', outputs: {m: {artifact: model, path: m}}", "Error", "exited with code 4"),
    "late": ("run: 'echo 1 > m; sleep 60', timeout: 2s, outputs: {m: {artifact: model, path: m}}", "Timeout",
             "ran longer than its timeout"),
}


def test_what_is_not_there_is_said(data_server, jobs):
    server = data_server("--grace", "1s")
    steps = "".join(f"  {name}: {{{text}}}\n" for name, (text, _, _) in REFUSED.items())
    run = server.submit(pipeline(steps))
    done = server.ended(run)
    tasks = server.tasks(run)
    for name, (_, reason, message) in REFUSED.items():
        assert tasks[name]["reason"] == reason and message in tasks[name]["message"], tasks[name]
    assert done["state"] == "failed"
    gone(jobs)


def test_more_than_a_message_holds(data_server, jobs):
    server = data_server()
    outputs = ", ".join(f"o{i}: {{artifact: model, path: o{i}}}" for i in range(30))
    step = "run: 'for i in $(seq 0 29); do echo $i > o$i; done; yes | head -c 60000 > long', outputs: {" + outputs
    run = server.submit(pipeline(f"  many: {{{step}, long: {{type: string, path: long}}}}}}\n"
                                 "  next: {run: 'wc -c < inputs/l; cat inputs/m', "
                                 "inputs: {l: '${{ steps.many.outputs.long }}', "
                                 "m: '${{ steps.many.outputs.o29 }}'}}\n"))
    assert server.ended(run)["state"] == "succeeded", server.tasks(run)
    assert len(server.get(f"/api/v1/runs/{run}/artifacts").json["items"]) == 30
    assert server.cli("logs", run, "next").stdout == "59999\n29\n"


def test_code_reaches_pods(data_server, jobs, tmp_path):
    server = data_server()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/tool.sh").write_text("#!/bin/sh\necho tool $(cat inputs/who)\n")
    (tmp_path / "lib/tool.sh").chmod(0o755)
    (tmp_path / "lib/beside.py").write_text("name = 'beside it'\n")
    (tmp_path / "pipeline.yaml").write_text(pipeline(
        "  code: {run: 'lib/tool.sh; touch lib/mine', inputs: {who: '${{ params.who }}'}}\n"
        "  script: {script: 'import sys, beside; print(sys.argv[0], beside.name)', interpreter: python3,\n"
        "           workdir: lib, image: localhost/python:1}\n"
        "  alone: {image: localhost/busybox:1, command: [ls]}\n",
        params='{who: {type: string, default: me}}'))
    done = server.cli_json("run", "--detach", tmp_path)
    run = done["id"]
    assert server.ended(run)["state"] == "succeeded", server.tasks(run)
    assert server.cli("logs", run, "code").stdout == "tool me\n"
    assert server.cli("logs", run, "script").stdout == ".millrace-script beside it\n"


def test_a_node_keeps_what_its_pods_fetched(data_server, jobs, tmp_path):
    server = data_server("--kube-cache", str(tmp_path / "cache"))
    (tmp_path / "f").mkdir()
    (tmp_path / "f/tool.sh").write_text("echo tool\n")
    (tmp_path / "f/pipeline.yaml").write_text(pipeline("  use: {run: 'sh tool.sh'}\n"))
    run = server.cli_json("run", "--detach", tmp_path / "f")
    assert server.ended(run["id"])["state"] == "succeeded", server.tasks(run["id"])
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [server.run(run["id"])["bundle"][7:]]


def test_a_pipeline_alone_moves_nothing(data_server, jobs, tmp_path):
    """A folder with nothing but the pipeline in it is no code: its steps are their own containers alone."""
    server = data_server()
    (tmp_path / "pipeline.yaml").write_text(pipeline("  alone: {run: 'sleep 30'}\n"))
    run = server.cli_json("run", "--detach", tmp_path)["id"]
    server.wait_task(run, "alone", "running")
    pod, = until("its pod", lambda: jobs.items("pods", "-l", f"millrace.dev/run={run}"))
    assert not pod["spec"].get("initContainers"), pod["spec"]
    server.post(f"/api/v1/runs/{run}:cancel")
    server.ended(run)


def test_folders_of_outputs_are_made_before(data_server, jobs):
    """Also where a step has nothing fetched, whoever it runs as."""
    server = data_server()
    user = "securityContext: {runAsUser: 1234}"
    run = server.submit(pipeline(
        "  ints: {run: 'echo 5 > outputs/a && echo 6 > outputs/b', outputs: {a: int, b: int}}\n"
        f"  mixed: {{run: 'echo 7 > deep/er/m && echo 8 > outputs/n', {user},\n"
        "          outputs: {m: {artifact: model, path: deep/er/m}, n: int}}\n"
        f"  one: {{run: 'echo 9 > outputs/n', {user}, outputs: {{n: int}}}}\n"
        f"  within: {{run: 'echo 1 > outputs/a && echo 2 > outputs/b', workdir: sub, {user}, "
        "outputs: {a: int, b: int}}\n",
        outputs='{a: "${{ steps.ints.outputs.a + steps.ints.outputs.b }}", n: "${{ steps.mixed.outputs.n }}", '
                'o: "${{ steps.one.outputs.n }}", w: "${{ steps.within.outputs.b }}"}'))
    done = server.ended(run)
    assert done["outputs"] == {"a": 11, "n": 8, "o": 9, "w": 2}, (done, server.tasks(run))
    gone(jobs)


def test_cancelled_steps_have_their_grace_and_no_more(data_server, jobs):
    """A pod whose outputs are kept has ten minutes for that; a step that is cancelled has not."""
    server = data_server("--grace", "2s")
    run = server.submit(pipeline("  deaf: {run: 'trap \"\" TERM; while :; do sleep 1; done', "
                                 "outputs: {m: {artifact: model, path: m}}}\n"))
    server.wait_task(run, "deaf", "running")
    until("its pod to run", lambda: [p for p in jobs.items("pods") if p["status"]["phase"] == "Running"])
    server.post(f"/api/v1/runs/{run}:cancel")
    assert server.ended(run, patience=60)["state"] == "cancelled"
    until("its pod to be gone", jobs.empty, patience=30)


def test_a_server_that_comes_back_finds_the_outputs(data_server, jobs):
    """The step ends while no server is there: its sidecar keeps trying."""
    server = data_server()
    run = server.submit(pipeline("  make: {run: 'echo begun; sleep 4; echo 5 | tee m > n', "
                                 "outputs: {m: {artifact: model, path: m}, n: {type: int, path: n}}}\n"))
    until("its log", lambda: server.cli("logs", run, "make").stdout == "begun\n")
    server.crash()
    server.process = None

    def over():
        pod, = jobs.items("pods")
        return [c for c in pod["status"]["containerStatuses"] if "terminated" in c["state"]]

    until("the step to be over", over)
    server.start()
    done = server.ended(run)
    assert done["state"] == "succeeded", server.tasks(run)
    task = server.tasks(run)["make"]
    assert task["attempt"] == 1 and task["outputs"]["n"] == 5, task
    gone(jobs)


def test_a_late_step_is_late_for_the_next_server(data_server, jobs):
    """It has had its time, whoever looks at the clock, its pod's own deadline comes minutes later; and who stops it for
    that may be killed before it has stopped."""
    server = data_server("--grace", "5s")
    run = server.submit(pipeline("  late: {run: 'echo begun; sleep 600', timeout: 12s, "
                                 "outputs: {m: {artifact: model, path: m}}}\n"))
    until("its log", lambda: server.cli("logs", run, "late").stdout == "begun\n")
    server.crash()
    server.process = None

    def old():
        pod, = jobs.items("pods")
        began = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
        return time.time() > 12 + datetime.datetime.fromisoformat(began.replace("Z", "+00:00")).timestamp()

    until("its time to be over", old)
    server.start()
    until("it to be told to stop", lambda: jobs.items("pods")[0]["metadata"].get("deletionTimestamp"), 8)
    server.crash()
    until("it to be stopped", lambda: not jobs.items("pods"))
    server.start()
    server.ended(run)
    task = server.tasks(run)["late"]
    assert (task["state"], task["attempt"], task["reason"]) == ("failed", 1, "Timeout"), task
    gone(jobs)


def test_a_namespace_that_limits_what_pods_ask_for(data_server, jobs):
    jobs.apply(kind="ResourceQuota", metadata={"name": "all"}, spec={"hard": {
        "requests.cpu": "1", "requests.memory": "100Mi", "limits.memory": "1Gi"}})
    try:
        server = data_server()
        run = server.submit(pipeline("  make: {run: 'echo 1 > m', outputs: {m: {artifact: model, path: m}}, "
                                     "resources: {cpu: 1, memory: 100Mi}}\n"
                                     "  use: {run: 'cat inputs/m', inputs: {m: '${{ steps.make.outputs.m }}'}, "
                                     "resources: {cpu: 1, memory: 100Mi}}\n"))
        assert server.ended(run)["state"] == "succeeded", server.tasks(run)
    finally:
        jobs("delete", "resourcequota", "all")


def test_inputs_that_are_gone_are_the_steps_end(data_server, jobs):
    """Nobody asks for them ten times more."""
    server = data_server()
    run = server.submit(pipeline("  make: {run: 'echo 1 > m', outputs: {m: {artifact: model, path: m}}}\n"))
    assert server.ended(run)["state"] == "succeeded", server.tasks(run)
    digest = server.get(f"/api/v1/runs/{run}/artifacts").json["items"][0]["digest"]
    blob, = (b for b in server.home.rglob("*") if digest.endswith(b.name) and len(b.name) > 50)
    blob.chmod(0o600)
    blob.write_bytes(b"X\n")
    use = pipeline("  use: {run: 'cat inputs/m', inputs: {m: '${{ params.m }}'}}\n", params='{m: {type: map}}')
    for said in ("is damaged where it is kept", "there is no blob sha256:"):
        run = server.submit(use, params={"m": {"artifact": "model", "digest": digest}})
        assert server.ended(run)["state"] == "failed"
        task = server.tasks(run)["use"]
        assert (task["reason"], task["attempt"]) == ("Invalid", 1), task
        assert said in task["message"], task
        blob.unlink(missing_ok=True)


def test_what_cannot_be_moved_is_said_at_submission(cluster_server, jobs):
    server = cluster_server()
    answer = server.post("/api/v1/runs", {"source": pipeline(
        "  make: {run: 'true', outputs: {m: {artifact: model, path: m}}}\n")})
    assert answer.status == 422 and "--kube-companion" in answer.json["errors"][0]["hint"], answer


def test_secrets_of_the_server_reach_pods_and_nobody_else(data_server, jobs):
    server = data_server("--grace", "1s")
    folder = server.data / "secrets/default"
    folder.mkdir(parents=True, mode=0o700)
    folder.parent.chmod(0o700)
    (folder / "key").write_text("s3cret-value-of-the-server\n")
    env = "env: {KEY: {secret: {file: key}}}"
    run = server.submit(pipeline(
        f"  show: {{run: 'echo is $KEY; sleep 3; echo again $KEY', {env}}}\n"
        f"  tell: {{run: 'echo $KEY > n', {env}, outputs: {{n: {{type: string, path: n}}}}}}\n"
        f"  both: {{run: 'echo $KEY > n; echo 1 > m', {env}, "
        "outputs: {n: {type: string, path: n}, m: {artifact: model, path: m}}}\n"
        f"  fails: {{run: 'echo broke with $KEY; exit 3', {env}}}\n"
        "  none: {run: 'true', env: {KEY: {secret: {file: absent}}}}\n"))
    secret, = until("its Secret", lambda: [s["metadata"] for s in jobs.items("secrets")
                                           if s["metadata"]["name"].startswith("show-")])
    owner, = secret["ownerReferences"]
    assert secret["name"].startswith(owner["name"] + "-") and len(secret["name"]) > len(owner["name"]) + 32, secret
    server.ended(run)
    tasks = server.tasks(run)
    assert tasks["show"]["state"] == "succeeded", tasks["show"]
    assert server.cli("logs", run, "show").stdout == f"is {'*' * 26}\nagain {'*' * 26}\n"
    for name, reason, words in (("tell", "OutputMissing", "holds a secret"),
                                ("both", "OutputMissing", "holds a secret"),
                                ("fails", "Error", f"broke with {'*' * 26}"), ("none", "Invalid", "env.KEY")):
        assert tasks[name]["reason"] == reason and words in tasks[name]["message"], tasks[name]
    shown = [p for p in server.home.rglob("*") if p.is_file() and ".given" not in p.parts and p != folder / "key"
             and b"s3cret-value-of-the-server" in p.read_bytes()]
    assert not shown, shown
    gone(jobs)
    until("all Secrets to be gone", lambda: not [s for s in jobs.items("secrets") if "-" in s["metadata"]["name"]])
