"""The command line while things happen: a terminal, Ctrl-C, streams that run out, downloads that were cut off, shells
that complete."""
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios

import pytest
from harness import BIN, PIPELINES, until


def pipeline(*steps, name="live", head=""):
    body = "".join(f"  {s}\n" for s in steps)
    return f"apiVersion: millrace/v1\nkind: Pipeline\nname: {name}\n{head}steps:\n{body}"


def environment(server, **more):
    return {**server.environment(), "MILLRACE_URL": f"http://127.0.0.1:{server.port}", "MILLRACE_TOKEN": server.token,
            "XDG_CONFIG_HOME": str(server.home / "config"), "LANG": "C.UTF-8", **more}


class Terminal:
    """A command on a terminal of its own: what it shows, as bytes."""

    def __init__(self, words, env, rows=30, columns=100):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execve(BIN, [str(BIN), *map(str, words)], env)
        self.shown = b""

    def read(self, patience=0.1):
        if select.select([self.fd], [], [], patience)[0]:
            try:
                piece = os.read(self.fd, 65536)
            except OSError:  # the other end is closed
                return False
            self.shown += piece
            return bool(piece)
        return True

    def until(self, text):
        until(f"{text} on the terminal: {self.shown[-500:]}", lambda: (self.read(), text in self.shown)[1])

    def end(self):
        while self.read():
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


def screen(shown, rows=30):
    """What stands on the screen at the end: enough of a terminal for our escapes."""
    lines, row, column = [""], 0, 0
    for piece in re.findall(rb"\x1b\[\d*[A-Za-z]|\r|\n|[^\x1b\r\n]+", shown):
        if piece == b"\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif piece == b"\r":
            column = 0
        elif piece.startswith(b"\x1b["):
            if piece.endswith(b"A"):
                row = max(0, row - int(piece[2:-1] or 1))
            elif piece.endswith(b"J"):
                lines = lines[:row] + [lines[row][:column]]
        else:
            text = piece.decode()
            lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text):]
            column += len(text)
    return lines


def test_a_terminal_shows_one_tree(server, tmp_path):
    file = tmp_path / "pipeline.yaml"
    file.write_text(pipeline("a: {run: sleep 0.5}", "b: {foreach: '${{ range(3) }}', run: sleep 0.3, needs: [a]}",
                             "c: {run: 'false', needs: [b]}"))
    terminal = Terminal(["run", file, "--no-bundle"], environment(server, TERM="xterm"))
    assert terminal.end() == 1
    lines = screen(terminal.shown)
    text = "\n".join(lines)
    assert sum("run " in line and "failed" in line for line in lines) == 1, text
    for path in ["a", "b", "b[0]", "b[1]", "b[2]", "c"]:
        assert sum(f" {path} " in line for line in lines) == 1, (path, text)
    assert b"\x1b[31m" in terminal.shown and "✗ c" in text


def test_no_color_and_narrow(server, tmp_path):
    file = tmp_path / "pipeline.yaml"
    file.write_text(pipeline("a-step-with-a-name-that-is-rather-long: {run: 'true'}"))
    terminal = Terminal(["run", file, "--no-bundle"], environment(server, TERM="xterm", NO_COLOR="1"), columns=30)
    assert terminal.end() == 0
    assert not re.search(rb"\x1b\[\d+m", terminal.shown)
    assert max(len(line) for line in screen(terminal.shown)) < 30


def test_ctrl_c_leaves_the_run_alone(server, tmp_path):
    file = tmp_path / "pipeline.yaml"
    file.write_text(pipeline("nap: {run: sleep 60}"))
    terminal = Terminal(["run", file, "--no-bundle"], environment(server, TERM="xterm"))
    terminal.until(b"nap")
    os.kill(terminal.pid, signal.SIGINT)
    assert terminal.end() == 130
    number = re.search(rb"run (\d+) goes on", terminal.shown).group(1).decode()
    assert f"millrace cancel {number}".encode() in terminal.shown
    server.wait_task(number, "nap", "running")
    server.cli("cancel", number, "--grace", "0s")
    server.cli("watch", number, expect=8)


def test_a_restart_of_the_server_does_not_end_the_following(fresh, tmp_path):
    server = fresh()
    file = tmp_path / "pipeline.yaml"
    file.write_text(pipeline("nap: {run: sleep 3}"))
    command = subprocess.Popen([BIN, "run", file, "--no-bundle"], env=environment(server), text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until("a run", lambda: server.cli_json("list"))
    server.wait_task(1, "nap", "running")
    server.crash()
    server.start()
    out, err = command.communicate(timeout=60)
    assert command.returncode == 0, (out, err)
    assert "nap: succeeded" in out


def test_more_followers_than_streams(fresh):
    """Who finds no stream left still sees the run's end."""
    server = fresh("--threads", "6")
    number = server.submit(pipeline("nap: {run: sleep 4}"))
    watchers = [subprocess.Popen([BIN, "watch", str(number)], env=environment(server), text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(8)]
    for watcher in watchers:
        out, _ = watcher.communicate(timeout=90)
        assert watcher.returncode == 0, out
        assert "nap: succeeded" in out


def test_logs_of_several_steps_say_whose_they_are(server):
    line = "for i in 1 2; do echo \"I am\" $MILLRACE_TASK; sleep 0.3; done; printf tail"
    number = server.submit(pipeline(f"say: {{foreach: '${{{{ range(2) }}}}', run: '{line}'}}"))
    followed = server.cli("logs", number, "-f").stdout
    assert server.ended(number)["state"] == "succeeded"
    again = server.cli("logs", number, "say").stdout
    for out in [followed, again]:
        lines = out.splitlines()
        assert len(lines) == 6, out
        assert all(re.match(r"say\[[01]\] \| (I am|tail)", line) for line in lines), out
    assert "I am" in server.cli("logs", number, "say[1]").stdout
    assert "|" not in server.cli("logs", number, "say[1]").stdout
    server.cli("logs", number, "sya", expect=4)


def test_logs_begin_while_the_step_waits(server):
    number = server.submit(pipeline("nap: {run: sleep 1}", "talk: {needs: [nap], run: 'echo at last'}"))
    assert "at last" in server.cli("logs", number, "talk", "-f").stdout


def test_logs_of_a_loop_that_has_not_begun(server):
    number = server.submit(pipeline("nap: {run: sleep 1}",
                                    "say: {needs: [nap], foreach: '${{ range(2) }}', run: 'echo number ${{ item }}'}"))
    lines = server.cli("logs", number, "say", "-f").stdout.splitlines()
    assert sorted(lines) == ["say[0] | number 0", "say[1] | number 1"]


def test_a_log_that_is_long(server):
    number = server.submit(pipeline("much: {foreach: '${{ range(2) }}', run: 'seq 1 400000'}"))
    server.ended(number)
    assert len(server.cli("logs", number).stdout.splitlines()) == 800000
    assert server.cli("logs", number, "much[0]", "--tail", "2").stdout == "399999\n400000\n"
    assert server.cli("logs", number, "-n", "1").stdout == "much[0] | 400000\nmuch[1] | 400000\n"
    for wrong in ("1Ki", "0", "-1", "x"):
        said = server.cli("logs", number, "-n", wrong, expect=2).stderr
        assert f"--tail cannot be '{wrong}'" in said and "whole number" in said


def test_the_end_of_logs_that_grow(server):
    """Of what is there only the last line is shown, and what comes then once."""
    go = server.home / "go"
    number = server.submit(pipeline(f"say: {{foreach: '${{{{ range(2) }}}}', run: 'seq 3; until [ -e {go} ]; do sleep "
                                    f"0.1; done; sleep 1; seq 4 5'}}"))
    for task in ("say[0]", "say[1]"):
        until("three lines", lambda t=task: server.cli("logs", number, t, expect=None).stdout == "1\n2\n3\n")
    command = subprocess.Popen([BIN, "logs", str(number), "-f", "-n", "1"], env=environment(server), text=True,
                               stdout=subprocess.PIPE)
    first = [command.stdout.readline() for _ in range(2)]
    go.touch()
    lines = first + command.communicate(timeout=60)[0].splitlines(keepends=True)
    assert sorted(lines) == [f"say[{i}] | {n}\n" for i in range(2) for n in range(3, 6)]


def artifact_run(server, size):
    number = server.submit(pipeline(
        f"make: {{run: 'head -c {size} /dev/urandom > big', outputs: {{big: {{artifact: dataset, path: big}}}}}}"))
    assert server.ended(number)["state"] == "succeeded"
    return number, server.cli_json("artifacts", "ls", number)[0]


def test_a_download_goes_on_where_it_stopped(server, tmp_path):
    number, artifact = artifact_run(server, 3_000_000)
    whole = server.cli("artifacts", "get", f"{number}/make/big", "-O", tmp_path / "whole")
    assert artifact["size"] == (tmp_path / "whole").stat().st_size == 3_000_000, whole
    part = tmp_path / f"again.{artifact['digest'][7:19]}.part"
    part.write_bytes((tmp_path / "whole").read_bytes()[:1_234_567])
    server.cli("artifacts", "get", artifact["id"], "-O", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "whole").read_bytes() and not part.exists()
    part.write_bytes(b"x" * 1_234_567)  # what is there is not what it should be
    done = server.cli("artifacts", "get", artifact["id"], "-O", tmp_path / "again", expect=1)
    assert "digest" in done.stderr and not part.exists()
    (tmp_path / "folder").mkdir()
    server.cli("artifacts", "get", artifact["id"], "-O", tmp_path / "folder")
    assert (tmp_path / "folder/big").stat().st_size == 3_000_000
    server.cli("artifacts", "get", f"{number}/make/bgi", expect=4)
    server.cli("artifacts", "get", "nonsense", expect=3)


def test_files_that_use_each_other_in_any_order(server, tmp_path):
    (tmp_path / "a.yaml").write_text(pipeline("go: {pipeline: inner-of-b}", name="outer-of-a"))
    (tmp_path / "b.yaml").write_text(pipeline("x: {expr: '1 + 1'}", name="inner-of-b"))
    (tmp_path / "values.yaml").write_text("not: ours\n")
    done = server.cli("apply", "-f", tmp_path)
    assert "outer-of-a" in done.stdout and "inner-of-b" in done.stdout
    (tmp_path / "b.yaml").write_text(pipeline("x: {expr: '${{ 1 + }}'}", name="inner-of-b"))
    (tmp_path / "a.yaml").write_text(pipeline("go: {pipeline: inner-of-b}", "more: {expr: '2'}", name="outer-of-a"))
    server.cli("apply", "-f", tmp_path, expect=3)  # one is wrong: nothing is applied
    assert server.cli_json("pipelines", "outer-of-a")[0]["version"] == 1


def test_params_from_a_file_and_by_hand(server, tmp_path):
    file, params = tmp_path / "pipeline.yaml", tmp_path / "params.yaml"
    file.write_text(pipeline("x: {expr: '${{ params.n + size(params.l) }}'}", name="with-params",
                             head="params:\n  n: {type: int}\n  l: {type: list, items: string}\n"
                                  "outputs:\n  sum: ${{ steps.x.value }}\n"))
    params.write_text("n: 1\nl: [a, b]\n")
    assert "sum = 3" in server.cli("run", file, "--params-file", params).stdout
    assert "sum = 12" in server.cli("run", file, "--params-file", params, "-p", "n=10").stdout
    assert "sum = 4" in server.cli("run", file, "-p", "n=1", "-p", 'l=["a","b","c"]').stdout
    run = server.cli_json("run", file, "--params-file", params)
    assert run["state"] == "succeeded" and run["outputs"] == {"sum": 3}
    done = server.cli("run", file, "-p", "n=x", "-p", "m=1", expect=3)
    assert "params.n" in done.stderr and "params.m" in done.stderr and "params.l" in done.stderr
    server.cli("run", file, "-p", "n", expect=2)


def test_the_same_key_submits_once(server, tmp_path):
    file = tmp_path / "pipeline.yaml"
    file.write_text(pipeline("x: {expr: '1'}", name="once"))
    first = server.cli("submit", file, "--idempotency-key", "k1").stdout
    assert server.cli("submit", file, "--idempotency-key", "k1").stdout == first
    assert server.cli("submit", file).stdout != first


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes(server):
    script = """
source <(millrace completion bash)
try() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _millrace
    printf '%s\\n' "${COMPREPLY[@]}" | sort | tr '\\n' ' '; echo
}
try millrace val
try millrace artifacts ''
try millrace list --state ca
try millrace get pipe
"""
    env = environment(server)
    env["PATH"] = f"{BIN.parent}:{env['PATH']}"
    done = subprocess.run(["bash", "-c", script], env=env, text=True, capture_output=True, timeout=60, check=True)
    assert done.stdout.splitlines()[:3] == ["validate ", "get ls put ", "cancelled cancelling "], done


def test_demo_pipelines_are_valid_and_drawn(server):
    assert server.cli("validate", PIPELINES, env={"MILLRACE_URL": "http://127.0.0.1:1"}).stdout.count("valid") >= 7


def test_a_closed_pipe_is_no_crash(server):
    command = subprocess.Popen([BIN, "help", "--markdown"], env=environment(server), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    command.stdout.close()
    assert command.wait(20) in (0, 1)
    assert b"Sanitizer" not in command.stderr.read()
