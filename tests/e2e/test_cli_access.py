"""The command line and what a token may do: roles that do not suffice, tokens that cannot be read."""
import re
import shutil

import pytest
from harness import PIPELINES


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
    shown = server.cli("diff", file, env=viewer).stdout
    assert "created" in shown and "+kind: Pipeline" in shown
    server.cli("apply", file)
    assert "unchanged" in server.cli("diff", file, env=viewer).stdout
    (folder / "new.txt").write_text("nor what it holds now")
    shown = server.cli("diff", file, env=viewer).stdout
    digests = re.search(r"code: (sha256:\w+) -> (sha256:\w+)", shown).groups()
    found = [server.get(f"/api/v1/bundles/{digest}").status for digest in digests]
    assert found == [200, 404], (shown, found)
    assert server.cli_json("pipelines", "looked-at")[0]["version"] == 1
    file.write_text(file.read_text().replace("shout.yaml", "not-there.yaml"))
    server.cli("diff", file, env=viewer, expect=4)
