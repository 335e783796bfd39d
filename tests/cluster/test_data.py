"""Code, artifacts and several outputs of steps as Jobs: moved by Millrace's own containers beside the step's own."""
import json
import pathlib
import subprocess

import pytest
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
