"""The command line as its user meets it: exit codes, messages with the source line, tables, JSON."""
import json
import os
import re

import pytest
from harness import PIPELINES, ROOT, Database

HELLO = PIPELINES / "hello/pipeline.yaml"


def pipeline(*steps, name="test", head=""):
    body = "".join(f"  {s}\n" for s in steps)
    return f"apiVersion: millrace/v1\nkind: Pipeline\nname: {name}\n{head}steps:\n{body}"


def test_help_lists_every_command(server):
    words = server.cli("help").stdout
    for name in ["serve", "run", "submit", "apply", "diff", "validate", "plan", "get", "list", "logs", "cancel",
                 "pause", "resume", "retry", "approve", "artifacts get", "artifacts ls", "artifacts put",
                 "pipelines", "config", "backup", "restore", "completion"]:
        assert re.search(rf"\b{name}\b", words), name
    headings = re.findall(r"^(\S.*):$", words, re.M)
    assert "Server" in headings and len(set(headings)) == len(headings), headings


@pytest.mark.parametrize("words, code, says", [
    (["rnu"], 2, "run"),
    (["run"], 2, "FILE|DIR|NAME"),
    (["run", "--detahc", "x"], 2, "--detach"),
    (["list", "-o", "xml"], 2, "json"),
    (["get", "999999999"], 4, "999999999"),
    (["run", "no-such-pipeline"], 4, "no-such-pipeline"),
    (["run", str(HELLO), "-p", "whom=x"], 3, "did you mean 'who'"),
    (["logs", "999999999"], 4, "999999999"),
    (["validate", "/nonexistent.yaml"], 4, "/nonexistent.yaml"),
])
def test_mistakes(server, words, code, says):
    done = server.cli(*words, expect=code)
    assert says in done.stderr + done.stdout, done


def test_wrong_token_and_no_server(server):
    server.cli("list", expect=5, env={"MILLRACE_TOKEN": "wrong"})
    server.cli("list", expect=6, env={"MILLRACE_URL": "http://127.0.0.1:1"})


def test_validate_needs_no_server_and_points(server, tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(pipeline("date: {run: make it, outputs: {train: {artifact: dataset, path: t}}}",
                             "train: {run: x, inputs: {data: '${{ steps.data.outputs.train }}'}}"))
    done = server.cli("validate", file, expect=3, env={"MILLRACE_URL": "http://127.0.0.1:1"})
    assert f"{file}:6:" in done.stderr
    assert "error: " in done.stderr and "did you mean 'date'?" in done.stderr
    lines = done.stderr.splitlines()
    source = next(i for i, line in enumerate(lines) if line.lstrip().startswith("6 |"))
    caret = lines[source + 1].index("^")
    assert lines[source][caret:].startswith("data"), done.stderr


@pytest.mark.parametrize("form, says", [("dot", "digraph"), ("mermaid", "flowchart"), ("json", '"greet"')])
def test_plan_without_a_server(server, form, says):
    done = server.cli("plan", HELLO, "-o", form, env={"MILLRACE_URL": "http://127.0.0.1:1"})
    assert says in done.stdout and "repeat" in done.stdout


def test_a_folder_stands_for_its_pipeline(server, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.txt").write_text("no pipeline")
    one = tmp_path / "one"
    one.mkdir()
    (one / "only.yaml").write_text(pipeline("a: {run: cat data.txt}", name="only"))
    (one / "data.txt").write_text("beside it")
    assert server.cli_json("plan", one)["name"] == "only"
    number = int(server.cli("submit", f"{one}/").stdout)
    assert server.ended(number)["state"] == "succeeded", server.tasks(number)  # its folder went along
    assert "a: succeeded" in server.cli("run", "one", cwd=tmp_path).stdout
    (one / "other.yaml").write_text(pipeline("a: {run: 'true'}", name="other"))
    for words in (["run", one], ["submit", "."], ["plan", one]):
        done = server.cli(*words, expect=4, cwd=one)
        assert "several YAML files" in done.stderr and "only.yaml" in done.stderr and "other.yaml" in done.stderr
    (one / "pipeline.yaml").write_text(pipeline("a: {run: 'true'}", name="main"))
    assert server.cli_json("plan", ".", cwd=one)["name"] == "main"
    server.cli("validate", one)
    assert "no .yaml file" in server.cli("run", tmp_path / "empty", expect=4).stderr
    server.cli("apply", "-f", one / "pipeline.yaml", "--no-bundle")
    (tmp_path / "main").mkdir()  # an empty folder does not hide the applied pipeline of its name
    assert server.ended(int(server.cli("submit", "main", cwd=tmp_path).stdout))["state"] == "succeeded"


def test_what_cannot_be_packed_is_named(server, tmp_path):
    file = tmp_path / "pipeline.yaml"
    file.write_text(pipeline("a: {run: cat beside}", name="packed"))
    (tmp_path / "beside").symlink_to("pipeline.yaml")
    assert "packed" not in server.cli("submit", file).stderr
    (tmp_path / "data").symlink_to("/srv/data")
    os.mkfifo(tmp_path / "pipe")
    for words in (["run", file], ["submit", tmp_path], ["diff", file], ["apply", tmp_path]):
        said = server.cli(*words, expect=9 if "diff" in words else 0).stderr
        assert re.search("^warning: 2 not packed.*: data, pipe$", said, re.M), words
    assert not server.cli("submit", file, "-q").stderr


def test_a_file_of_several_pipelines(server, tmp_path):
    first, second = (pipeline("a: {expr: '1'}", name=name) for name in ("one-of-two", "two-of-two"))
    file = tmp_path / "both.yaml"
    file.write_text(f"{first}---\n{second}")
    for verb in ("run", "submit", "plan"):
        said = server.cli(verb, file, expect=3).stderr
        assert "one-of-two, two-of-two" in said and "hint: apply the file and name one" in said, said
    server.cli("apply", file)
    assert "run" in server.cli("run", "two-of-two").stdout
    uses = pipeline("a: {pipeline: two-of-two}", name="uses")
    file.write_text(f"{uses}---\n{second}")  # then there is no doubt
    assert server.cli_json("plan", file)["name"] == "uses"
    assert "run" in server.cli("run", file).stdout
    file.write_text(f"{second}---\n{uses}")  # it is the first that runs
    server.cli("run", file, expect=3)


def test_apply_says_what_changed(server, tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text(pipeline("a: {run: 'true'}", name="applied"))
    assert "created" in server.cli("apply", "-f", file).stdout
    assert "unchanged" in server.cli("apply", "-f", file).stdout
    assert "unchanged" in server.cli("diff", "-f", file).stdout
    file.write_text(pipeline("a: {run: 'true'}", "b: {run: 'true'}", name="applied"))
    diff = server.cli("diff", "-f", file, expect=9).stdout
    assert server.cli("diff", file, "-o", "json", expect=9).stdout
    assert " 9 " in server.cli("help", "diff").stdout and " 9 " in server.cli("help").stdout
    assert re.search(r"^\+.*b: ", diff, re.M), diff
    assert "updated" in server.cli("apply", "-f", file).stdout
    assert server.cli_json("pipelines", "applied")
    assert "applied" in server.cli("pipelines").stdout


def test_two_files_of_one_pipeline_are_refused(server, tmp_path):
    for at, word in ("a.yaml", "'true'"), ("b.yaml", "'false'"):
        (tmp_path / at).write_text(pipeline(f"a: {{run: {word}}}", name="twofold"))
    for verb, code in ("apply", 3), ("diff", 3), ("validate", 0):
        said = server.cli(verb, "-f", tmp_path, expect=code).stderr
        assert f"{tmp_path}/a.yaml and {tmp_path}/b.yaml both hold the pipeline 'twofold'" in said, (verb, said)
    assert server.get("/api/v1/pipelines/twofold").status == 404
    (tmp_path / "b.yaml").write_text(pipeline("a: {run: 'true'}", name="another"))
    server.cli("apply", "-f", tmp_path)
    server.cli("apply", tmp_path / "a.yaml", f"{tmp_path}/../{tmp_path.name}/a.yaml")  # a file is itself


def test_run_by_name_list_get_logs(server):
    server.cli("apply", "-f", PIPELINES / "hello")
    done = server.cli("run", "hello", "-p", "who=you", "-l", "team=blue", "--name", "by-name")
    assert "greet" in done.stdout + done.stderr
    found = server.cli_json("list", "--label", "team=blue")
    found = found["items"] if isinstance(found, dict) else found
    number = found[0]["id"]
    assert found[0]["name"] == "by-name" and found[0]["state"] == "succeeded"
    assert "by-name" in server.cli("list").stdout
    assert "greet" in server.cli("get", number).stdout
    assert "greet said: Hello, you" in server.cli("logs", number, "repeat").stdout
    assert "Hello, you" in server.cli("logs", number).stdout
    assert "succeeded" in server.cli("events", number).stdout
    json.loads(server.cli("get", number, "-o", "json").stdout)
    assert "state: succeeded" in server.cli("get", number, "-o", "yaml").stdout


def test_a_failed_run_is_exit_1_and_retry_keeps_what_succeeded(server, tmp_path):
    folder = tmp_path / "mend"
    folder.mkdir()
    (folder / "step.sh").write_text("exit 7\n")
    (folder / "pipeline.yaml").write_text(pipeline(
        "first: {run: date +%s%N > when.txt, outputs: {when: {type: string, path: when.txt}}}",
        "second: {run: sh step.sh, needs: [first]}", "third: {run: 'true', needs: [second]}", name="mend"))
    done = server.cli("run", folder / "pipeline.yaml", expect=1)
    assert "7" in done.stdout + done.stderr
    listed = server.cli_json("list", "--pipeline", "mend", "--limit", "1")
    number = (listed["items"] if isinstance(listed, dict) else listed)[0]["id"]
    before = server.tasks(number)
    assert before["second"]["exitCode"] == 7
    (folder / "step.sh").write_text("echo mended\n")
    told = server.cli("retry", number, "--bundle", folder, "--watch").stdout
    assert re.search(r"^\S second: succeeded", told, re.M) and f"run {number}: succeeded" in told, told
    assert "failed" not in told and "skipped" not in told and "first" not in told  # what was before is no news
    after = server.tasks(number)
    assert after["first"]["outputs"] == before["first"]["outputs"] and after["first"]["attempt"] == 1
    assert after["second"]["state"] == "succeeded" and after["second"]["attempt"] == 2
    assert "mended" in server.cli("logs", number, "second").stdout
    said = server.cli("retry", number, expect=7).stderr
    assert "hint: name the step to begin with by --from STEP" in said, said
    bad = server.submit(pipeline("a: {run: 'false'}"))
    server.ended(bad)
    told = server.cli("retry", bad, "-w", expect=1).stdout
    assert f"run {bad}: failed" in told and "a: failed  attempt 2" in told


def test_where_to_find_what_a_failed_step_wrote(server, tmp_path):
    file = tmp_path / "pipeline.yaml"
    for steps, step in (["talks: {run: 'echo no; exit 1'}"], "talks"), (["mute: {run: exit 1}"], None), (
            ["no: {expr: '1 / 0'}", "loop: {foreach: {range: 1}, run: 'echo; false'}"], "loop[0]"), (
            ["late: {approval: {message: ok?, timeout: 10ms}}"], None):
        file.write_text(pipeline(*steps))
        said = server.cli("run", file, "--no-bundle", expect=1)
        hint = re.findall(r"^what it wrote: millrace (logs \d+ (.*))$", said.stderr, re.M)
        assert [name for _, name in hint] == ([step] if step else []), said
        for words, _ in hint:
            assert server.cli(*words.split()).stdout


def test_cancel_pause_resume_clone_delete(server):
    source = pipeline("nap: {run: sleep 60}", "after: {needs: [nap], run: 'true'}", name="nap")
    number = server.cli("submit", "-", given=source, expect=None)
    number = number.stdout.strip() if number.returncode == 0 else str(server.submit(source))
    server.wait_task(number, "nap", "running")
    server.cli("pause", number)
    server.cli("resume", number)
    server.cli("cancel", number, "--grace", "1s")
    assert server.ended(number)["state"] == "cancelled"
    server.cli("cancel", number, expect=7)
    done = server.cli("clone", number, "--detach")
    copy = int(re.search(r"\d+", done.stdout + done.stderr).group())
    server.cli("cancel", copy)
    server.ended(copy)
    server.cli("archive", number)
    server.cli("unarchive", number)
    server.cli("delete", number, "--yes")
    server.cli("get", number, expect=4)


def test_list_of_archived_runs(server):
    first, second = (server.submit(pipeline("x: {expr: '1'}", name="to-archive")) for _ in range(2))
    for number in (first, second):
        server.ended(number)
    server.cli("archive", first)
    listed = ["list", "--pipeline", "to-archive"]
    assert [run["id"] for run in server.cli_json(*listed)] == [second]
    assert [run["id"] for run in server.cli_json(*listed, "--archived")] == [second, first]
    assert [run["id"] for run in server.cli_json(*listed, "--archived", "--filter", "archived = true")] == [first]


def test_list_of_several_states(server):
    ends = {"succeeded": "'true'", "failed": "'false'", "cancelled": "sleep 60"}
    made = {state: server.submit(pipeline(f"x: {{run: {run}}}", name="ends")) for state, run in ends.items()}
    server.cli("cancel", made["cancelled"], "--grace", "0s")
    for state, number in made.items():
        assert server.ended(number)["state"] == state
    for asked in (["failed"], ["failed", "succeeded"], ["cancelled", "failed"]):
        words = [word for state in asked for word in ("-s", state)]
        found = server.cli_json("list", "--pipeline", "ends", *words)
        assert sorted(run["state"] for run in found) == asked, found


def test_the_orders_that_help_names(server):
    line = next(line for line in server.cli("help", "list").stdout.splitlines() if "--order-by" in line)
    example = re.search(r"'(.*)'", line).group(1)
    fields = re.search(r"': (.*), …", line).group(1).split(", ")
    assert len(fields) == 5
    for order in [example, *fields, *(f"{field} desc" for field in fields)]:
        server.cli("list", "--order-by", order)


def test_logs_follow_ends_with_the_step(server):
    number = server.submit(pipeline("talk: {run: 'for i in 1 2 3; do echo line $i; sleep 0.2; done'}"))
    done = server.cli("logs", number, "talk", "-f")
    assert [line for line in done.stdout.splitlines() if "line" in line][-1].endswith("line 3")


def test_logs_that_cannot_be_read(server):
    number = server.submit(pipeline("talk: {run: 'echo line'}"))
    server.ended(number)
    folder = server.data / "logs" / str(number)
    folder.rename(folder.with_suffix(".away"))
    folder.write_text("no folder")
    for follow in ([], ["-f"]):
        assert "Not a directory" in server.cli("logs", number, "talk", *follow, expect=1).stderr
    folder.unlink()
    folder.with_suffix(".away").rename(folder)
    assert "line" in server.cli("logs", number, "talk", "-f").stdout


def test_config_contexts(server):
    env = {"XDG_CONFIG_HOME": str(server.home / "contexts"), "MILLRACE_URL": "", "MILLRACE_TOKEN": ""}
    server.cli("config", "set", "here", "--url", f"http://127.0.0.1:{server.port}",
               "--token-from", server.data / "token", env=env)
    server.cli("config", "use", "here", env=env)
    assert "here" in server.cli("config", "list", env=env).stdout
    server.cli("list", env=env)


def test_backup_of_nothing(server, tmp_path):
    folder, saved = tmp_path / "nowhere", tmp_path / "saved"
    done = server.cli("backup", saved, "--data-dir", folder, expect=4)
    assert f"there is no Millrace data in {folder}" in done.stderr and "--data-dir" in done.stderr
    (folder / "blobs").mkdir(parents=True)
    server.cli("backup", saved, "--data-dir", folder, expect=4)
    assert list(folder.iterdir()) == [folder / "blobs"] and not saved.exists()


def test_backup_of_a_database_that_no_server_has_used(server, tmp_path):
    database = Database()
    try:
        (tmp_path / "data/blobs").mkdir(parents=True)
        done = server.cli("backup", tmp_path / "saved", "--data-dir", tmp_path / "data", "--database-url",
                          database.start().url, expect=4)
        assert "there is no Millrace data in the database" in done.stderr and not (tmp_path / "saved").exists()
    finally:
        database.remove()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(server, shell):
    assert "millrace" in server.cli("completion", shell).stdout


def test_version(server):
    assert re.search(r"\d+\.\d+\.\d+", server.cli("version").stdout)
    assert (ROOT / "CMakeLists.txt").read_text().split("VERSION ")[2].split()[0] in server.cli("version").stdout
