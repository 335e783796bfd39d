"""The API between clients that act at the same time."""
import concurrent.futures
import os

FOLDER = """apiVersion: millrace/v1
kind: Pipeline
name: together
steps:
  only:
    run: test -s big
"""


def test_the_same_new_folder_is_submitted_by_many_at_once(server, tmp_path):
    for turn in range(3):
        (tmp_path / "pipeline.yaml").write_text(FOLDER)
        (tmp_path / "big").write_bytes(os.urandom(3 << 20))
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            done = list(pool.map(lambda _: server.cli("submit", tmp_path, expect=None), range(8)))
        assert [d.returncode for d in done] == [0] * 8, (turn, [d.stderr for d in done])
