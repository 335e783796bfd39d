"""What tests ask of the cluster, by kubectl."""
import json
import os
import subprocess
import uuid

from harness import until


def kubectl(*words, given=None, check=True):
    done = subprocess.run(["kubectl", *map(str, words)], input=given, text=True, capture_output=True, timeout=120,
                          env=dict(os.environ))
    assert not check or done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


class Namespace:
    def __init__(self):
        self.name = f"millrace-{uuid.uuid4().hex[:8]}"

    def __enter__(self):
        kubectl("create", "namespace", self.name)
        until("its service account", lambda: kubectl("-n", self.name, "get", "serviceaccount", "default", "-o", "name",
                                                     check=False))
        return self

    def __exit__(self, *_):
        kubectl("delete", "namespace", self.name, "--wait=false")

    def __call__(self, *words, **options):
        return kubectl("-n", self.name, *words, **options)

    def items(self, kind, *words):
        return json.loads(self("get", kind, "-o", "json", *words))["items"]

    def apply(self, manifest):
        self("apply", "-f", "-", given=json.dumps(manifest))

    def sweep(self):
        self("delete", "jobs,pods", "--all", "--wait=true", "--grace-period=1")

    def empty(self):
        """Nothing of ours is left."""
        return not self.items("jobs") and not self.items("pods")
