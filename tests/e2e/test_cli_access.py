"""The command line and what a token may do: roles that do not suffice, tokens that cannot be read."""
import re
import shutil

import pytest
from harness import PIPELINES

SOURCE = "apiVersion: millrace/v1\nkind: Pipeline\nname: fails\nsteps: {a: {run: 'false'}}\n"


@pytest.fixture(scope="module")
def token(server):
    """token(role) gives the secret of a token of that role."""
    made = {}

    def of(role):
        if role not in made:
            made[role] = server.cli("token", "create", f"a-{role}", "--role", role).stdout.strip()
        return made[role]

    return of


@pytest.mark.parametrize("words", [("apply", "-f"), ("run",), ("submit",)])
def test_code_that_may_not_be_sent(server, token, tmp_path, words):
    shutil.copytree(PIPELINES / "hello", tmp_path / "code")
    (tmp_path / "code/new.txt").write_text("the server does not have this folder yet")
    done = server.cli(*words, tmp_path / "code", env={"MILLRACE_TOKEN": token("viewer")}, expect=5)
    assert done.stderr.splitlines()[0] == "error: the token's role viewer is not enough", done


def test_a_viewer_may_diff_and_nothing_is_stored(server, token, tmp_path):
    viewer = {"MILLRACE_TOKEN": token("viewer")}
    folder = tmp_path / "code"
    shutil.copytree(PIPELINES / "sub-pipeline", folder)
    file = folder / "pipeline.yaml"
    file.write_text(file.read_text().replace("name: sub-pipeline", "name: looked-at"))
    (folder / "new.txt").write_text("the server does not have this folder yet")
    shown = server.cli("diff", file, env=viewer, expect=9).stdout
    assert "created" in shown and "+kind: Pipeline" in shown
    server.cli("apply", file)
    assert "unchanged" in server.cli("diff", file, env=viewer).stdout
    (folder / "new.txt").write_text("nor what it holds now")
    shown = server.cli("diff", file, env=viewer, expect=9).stdout
    digests = re.search(r"code: (sha256:\w+) -> (sha256:\w+)", shown).groups()
    found = [server.get(f"/api/v1/bundles/{digest}").status for digest in digests]
    assert found == [200, 404], (shown, found)
    assert server.cli_json("pipelines", "looked-at")[0]["version"] == 1
    file.write_text(file.read_text().replace("shout.yaml", "not-there.yaml"))
    assert "not-there.yaml" in server.cli("diff", file, env=viewer, expect=3).stderr


def test_a_token_that_cannot_be_read_is_missed_by_requests_only(server, tmp_path):
    env = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "MILLRACE_URL": "", "MILLRACE_TOKEN": ""}
    (tmp_path / "token").write_text(server.token)
    server.cli("config", "set", "here", "--url", f"http://127.0.0.1:{server.port}", "--token-from", "token", env=env,
               cwd=tmp_path)
    server.cli("list", env=env)  # from another folder
    (tmp_path / "token").unlink()
    file = PIPELINES / "hello/pipeline.yaml"
    for words in (["help"], ["help", "run"], ["completion", "bash"], ["validate", file], ["plan", file],
                  ["config", "list"], ["config", "show"], ["config", "set", "here", "--default-project", "default"]):
        assert not server.cli(*words, env=env).stderr, words
    shown = server.cli("version", env=env)
    assert "not reached" in shown.stdout and str(tmp_path / "token") in shown.stderr
    for words in (["list"], ["run", file], ["watch", "1"], ["logs", "1"]):
        said = server.cli(*words, env=env, expect=5).stderr
        assert f"no token for the context here: cannot read {tmp_path / 'token'}" in said, said
        assert "millrace config set here --token-from FILE" in said
    (tmp_path / "token").write_text(server.token)
    server.cli("list", env=env)
    (tmp_path / "config/millrace/config.yaml").write_text("current: nowhere\n")
    for words in (["help"], ["version"], ["config", "list"], ["config", "set", "nowhere"], ["list"]):
        server.cli(*words, env={**env, "MILLRACE_URL": f"http://127.0.0.1:{server.port}",
                                "MILLRACE_TOKEN": server.token})


def test_help_names_the_role_that_suffices(server, token, tmp_path):
    server.cli("apply", PIPELINES / "hello")
    shutil.copytree(PIPELINES / "hello", tmp_path / "mine")
    (tmp_path / "mine/new.txt").write_text("not known yet")
    number = server.submit(SOURCE)
    server.ended(number)
    for words, editor in ((["submit", "hello"], False), (["submit", "hello", "--bundle", tmp_path / "mine"], True),
                          (["submit", tmp_path / "mine"], True), (["run", tmp_path / "mine/pipeline.yaml"], True),
                          (["retry", number], False), (["retry", number, "--bundle", tmp_path / "mine"], True)):
        told = " ".join(server.cli("help", words[0]).stdout.split())
        assert "needs the role editor." in told and told.endswith("must be at least: operator")
        server.cli(*words, env={"MILLRACE_TOKEN": token("operator")}, expect=5 if editor else 0)
        server.ended(number)


def test_a_header_names_the_project(server, tmp_path):
    """Of the code that is sent and the sub-pipelines that are looked up, too; another one said outright is refused."""
    assert server.post("/api/v1/projects", {"name": "lab"}).status == 201
    (tmp_path / "helper.txt").write_text("helped\n")
    child, parent = tmp_path / "child.yaml", tmp_path / "parent.yaml"
    head = "apiVersion: millrace/v1\nkind: Pipeline\nproject: lab\n"
    child.write_text(head + "name: lab-child\nsteps: {a: {run: cat helper.txt}}\n")
    parent.write_text(head + "name: lab-parent\nsteps: {sub: {pipeline: lab-child}, b: {run: cat helper.txt}}\n")
    server.cli("apply", "-f", child, "-f", parent)
    server.cli("run", parent)
    server.cli("run", "lab-parent", "--project", "lab")
    server.cli("run", "lab-parent", expect=4)
    assert "the request for 'default'" in server.cli("submit", child, "--project", "default", expect=3).stderr
