"""The command line and what a token may do: roles that do not suffice, tokens that cannot be read."""
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
