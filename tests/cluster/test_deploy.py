"""Millrace inside the cluster, by deploy/millrace.yaml as it stands: two servers with an external PostgreSQL and S3, as
few rights as they need, and runs that outlive each of them."""
import base64
import json
import os
import pathlib
import re
import time

import pytest
from cluster import Postgres, pod, until
from harness import BIN, ROOT, Server, processes

pytestmark = pytest.mark.gpus

SPACE, JOBS = "millrace", "millrace-jobs"
ACCOUNT = f"system:serviceaccount:{SPACE}:millrace"
MANIFEST = ROOT / "deploy/millrace.yaml"
LABELS = "app.kubernetes.io/name=millrace,app.kubernetes.io/component=server"
BUCKET = "deployed"


class Deployed(Server):
    """What the Service leads to, as a server of the tests."""

    def __init__(self, cluster):
        super().__init__()
        self.cluster = cluster
        secret = cluster.get("secret", "millrace", "-n", SPACE)["data"]
        self.given = base64.b64decode(secret["token"]).decode()
        service = cluster.get("service", "millrace", "-n", SPACE)["spec"]
        self.host, self.port = service["clusterIP"], service["ports"][0]["port"]

    @property
    def token(self):
        return self.given

    def tail(self):
        return self.cluster.kubectl("logs", "-n", SPACE, "-l", LABELS, "--tail=30", "--prefix", check=False)

    def pods(self):
        """Those that are meant to go on."""
        found = self.cluster.get("pods", "-n", SPACE, "-l", LABELS)["items"]
        return [one for one in found if "deletionTimestamp" not in one["metadata"]]

    def rollout(self):
        self.cluster.kubectl("rollout", "status", "deployment/millrace", "-n", SPACE, "--timeout=100s")


def volume(folder):
    """The store, as a site's storage class would make it: reachable by all pods, for the servers' user alone."""
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "millrace-store"},
            "spec": {"capacity": {"storage": "20Gi"}, "accessModes": ["ReadWriteMany"], "hostPath": {"path": folder},
                     "storageClassName": "", "persistentVolumeReclaimPolicy": "Retain",
                     "claimRef": {"namespace": SPACE, "name": "millrace-store"}}}


def make_bucket(cluster, s3):
    cluster.inside(["curl", "-sSf", "-X", "PUT", "--aws-sigv4", f"aws:amz:{s3.REGION}:s3", "--user",
                    f"{s3.ACCESS}:{s3.SECRET}", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", f"{s3.url}/{BUCKET}"],
                   check=True)


def follow_the_readme(cluster, part, names, home, folder=ROOT):
    """Runs its commands as they stand, but for the names of what a site has; gives back what they printed."""
    script = "".join(re.findall(rf"^```sh {part}\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S))
    for theirs, here in names.items():
        assert theirs in script, theirs
        script = script.replace(theirs, here)
    environment = {**cluster.environment, "HOME": str(home), "PATH": f"{BIN.parent}:{cluster.environment['PATH']}"}
    shims = "docker() { :; }\nset -eu\ntrap 'kill $(jobs -p) 2>/dev/null || :' EXIT\n"  # the image is there already
    done = cluster.inside(["bash", "-c", shims + script], env=environment, capture_output=True, cwd=folder)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout + done.stderr


def make_home(s3, home):
    (home / ".aws").mkdir()
    (home / ".aws/credentials").touch(0o600)
    (home / ".aws/credentials").write_text(
        f"[default]\naws_access_key_id = {s3.ACCESS}\naws_secret_access_key = {s3.SECRET}\n")
    return home


def clear(cluster):
    cluster.kubectl("delete", "namespace", SPACE, JOBS, "--ignore-not-found", "--timeout=100s")
    cluster.kubectl("delete", "persistentvolume", "millrace-store", "--ignore-not-found", "--timeout=60s")


@pytest.fixture(scope="module")
def server(cluster, s3, tmp_path_factory):
    if cluster.kind != "own":
        pytest.skip("another cluster has storage, images and a way to the machine of its own")
    clear(cluster)
    database = Postgres(cluster)
    make_bucket(cluster, s3)
    store = tmp_path_factory.mktemp("store")
    os.chown(store, 65532, 65532)
    for parent in list(store.parents)[:3]:
        parent.chmod(0o777)
    deployed = None
    try:
        cluster.apply(volume(str(store)))
        home = make_home(s3, tmp_path_factory.mktemp("home"))
        said = follow_the_readme(cluster, "cluster", {
            "registry.example/millrace:0.1": "localhost/millrace:1", "python:3.11-slim": "localhost/python:1",
            "postgresql://millrace:PASSWORD@db.example/millrace": database.url,
            "s3://BUCKET/PREFIX": f"s3://{BUCKET}/runs",
            "eu-central-1": f"{s3.REGION} --from-literal=MILLRACE_S3_ENDPOINT={s3.url} "
                            "--from-literal=MILLRACE_S3_PATH_STYLE=true"}, home)
        deployed = Deployed(cluster)
        deployed.said, deployed.database, deployed.store, deployed.admin = said, database, store, home
        yield deployed
    finally:
        if deployed:
            deployed.remove()
        clear(cluster)
        database.remove()


def test_manifest_is_what_kustomize_makes_of_the_base(cluster):
    made = cluster.kubectl("kustomize", ROOT / "deploy/base")
    said = "run: kubectl kustomize deploy/base > deploy/millrace.yaml"
    assert MANIFEST.read_text() == made, said


def with_component(cluster, name, tmp_path):
    """The manifest of the base with it."""
    (tmp_path / "kustomization.yaml").write_text(json.dumps({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "resources": [os.path.relpath(ROOT / "deploy/base", tmp_path)],
        "components": [os.path.relpath(ROOT / "deploy/components" / name, tmp_path)]}))
    return cluster.kubectl("kustomize", tmp_path)


def rights_of(role):
    """Verb, resource, namespace: of a Role or a ClusterRole."""
    return {(verb, f"{resource}.{group}".rstrip("."), role["metadata"].get("namespace")) for rule in role["rules"]
            for group in rule["apiGroups"] for resource in rule["resources"] for verb in rule["verbs"]}


# What the server asks for besides, and where: kube_belongings.c, kube_nodes.c, kube_templates.c and kube_kueue.c
# of the scheduler.
ADDED = {
    "distributed": {("create", "services", JOBS), ("delete", "services", JOBS)},
    "gpu-queue": {(verb, resource, None) for verb in ("list", "watch") for resource in (
        "nodes", "pods", "resourceclaims.resource.k8s.io", "resourceslices.resource.k8s.io")} | {
        (verb, "resourceclaimtemplates.resource.k8s.io", JOBS) for verb in ("create", "delete", "list")},
    "kueue": {("list", "workloads.kueue.x-k8s.io", JOBS)},
    "secrets": {("create", "secrets", JOBS), ("delete", "secrets", JOBS)},
}


@pytest.mark.parametrize("name", sorted(one.name for one in (ROOT / "deploy/components").iterdir()))
def test_components_add_the_rights_of_their_table(cluster, server, name, tmp_path):
    """The API server takes each, added to the base; and it says nothing that the table does not."""
    made = with_component(cluster, name, tmp_path)
    items = json.loads(cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-o", "json", "-f", "-",
                                       given=made))["items"]
    roles = [one for one in items if one["kind"] in ("Role", "ClusterRole") and one["metadata"]["name"] != "millrace"]
    assert {one["metadata"]["name"] for one in roles} == {f"millrace-{name}"}
    assert set.union(*map(rights_of, roles)) == ADDED[name]
    bound = [one for one in items if one["kind"] in ("RoleBinding", "ClusterRoleBinding")]
    assert {(one["roleRef"]["kind"], one["roleRef"]["name"]) for one in bound} == {
        ("Role", "millrace"), *((one["kind"], one["metadata"]["name"]) for one in roles)}
    assert {(who["kind"], who["namespace"], who["name"]) for one in bound for who in one["subjects"]} == {
        ("ServiceAccount", SPACE, "millrace")}


def test_overlay_of_the_readme(cluster, server, tmp_path):
    """It is good, and what it says is in what it makes."""
    shown = re.search(r"^```yaml overlay\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S).group(1)
    (tmp_path / "kustomization.yaml").write_text(shown.replace("../", os.path.relpath(ROOT / "deploy", tmp_path) + "/"))
    made = cluster.kubectl("kustomize", tmp_path)
    for part in ("image: registry.example/millrace:0.1", "MILLRACE_KUBE_COMPANION: registry.example/millrace:0.1",
                 "storageClassName: nfs", "- port: 9000", "name: millrace-gpu-queue", "name: millrace-distributed"):
        assert part in made, (part, made)
    assert "localhost/millrace" not in made
    # A claim's class cannot be changed any more.
    changed = made.replace("storageClassName: nfs", "storageClassName: ''")
    cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", given=changed)


def test_commands_of_the_readme(server):
    assert "alive" in server.said and "greet: succeeded" in server.said, server.said


# verb, resource, namespace → may the server do that?
RIGHTS = [
    ("create", "jobs.batch", JOBS, True), ("delete", "jobs.batch", JOBS, True), ("list", "jobs.batch", JOBS, True),
    ("watch", "jobs.batch", JOBS, True), ("list", "pods", JOBS, True), ("watch", "pods", JOBS, True),
    ("delete", "pods", JOBS, True), ("get", "pods/log", JOBS, True), ("list", "events", JOBS, True),
    ("patch", "jobs.batch", JOBS, False), ("deletecollection", "jobs.batch", JOBS, False),
    ("create", "pods", JOBS, False), ("patch", "pods", JOBS, False), ("create", "pods/exec", JOBS, False),
    ("get", "secrets", JOBS, False), ("list", "secrets", JOBS, False), ("get", "configmaps", JOBS, False),
    ("create", "serviceaccounts/token", JOBS, False), ("create", "rolebindings.rbac.authorization.k8s.io", JOBS, False),
    ("get", "secrets", SPACE, False), ("list", "pods", SPACE, False), ("create", "jobs.batch", SPACE, False),
    ("list", "jobs.batch", "default", False), ("list", "pods", "kube-system", False), ("list", "nodes", None, False),
    ("list", "namespaces", None, False), ("create", "resourceclaimtemplates.resource.k8s.io", JOBS, False),
]


@pytest.mark.parametrize("verb, resource, namespace, may", RIGHTS)
def test_rights(cluster, server, verb, resource, namespace, may):
    where = ["-n", namespace] if namespace else []
    kind, _, part = resource.partition("/")
    part = [f"--subresource={part}"] if part else []
    said = cluster.kubectl("auth", "can-i", verb, kind, *part, *where, "--as", ACCOUNT, check=False)
    assert said.strip() == ("yes" if may else "no")


def test_role_says_nothing_that_the_table_does_not(cluster, server):
    have = rights_of(cluster.get("role", "millrace", "-n", JOBS))
    assert have == {(verb, resource, namespace) for verb, resource, namespace, may in RIGHTS if may}
    bound = [one["metadata"]["name"] for kind in ("rolebindings", "clusterrolebindings")
             for one in cluster.get(kind, "-A")["items"] for subject in one.get("subjects", [])
             if (subject["kind"], subject.get("namespace")) == ("ServiceAccount", SPACE)]
    assert bound == ["millrace"]


def test_two_servers_that_may_do_little(server):
    """By what the kernel says of their processes."""
    found = processes("MILLRACE_API_URL=http://millrace.millrace.svc:7070")
    assert len(found) == 2, found
    for pid in found:
        status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
        assert status["Uid"].split() == ["65532"] * 4 and status["Gid"].split() == ["65532"] * 4
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
        mounts = [line.split() for line in pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
        writable = {m[4] for m in mounts if "rw" in m[5].split(",") and not m[4].startswith(("/proc", "/dev", "/sys"))}
        assert writable == {"/var/lib/millrace", "/store", "/tmp", "/etc/hosts"}  # the last is the kubelet's


def test_probes_answer_without_a_token(cluster, server):
    for one in server.pods():
        for path, words in (("/healthz", "alive"), ("/readyz", "ready")):
            said = cluster.inside(["curl", "-sSf", f"http://{one['status']['podIP']}:7071{path}"], check=True,
                                  capture_output=True).stdout
            assert words in said
    assert server.get("/readyz", token=False).status == 401


def test_secret_of_the_readme(cluster, server, tmp_path):
    """What its command puts there is found: what lacks then is the component's right."""
    shown = re.search(r"^```sh cluster secret\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S).group(1)
    step = "{image: localhost/busybox:1, run: 'true', env: {KEY: {secret: {file: API_KEY}}}}"

    def submit():
        return server.submit(f"apiVersion: millrace/v1\nkind: Pipeline\nname: p\nsteps:\n  s: {step}\n")

    run = submit()
    assert server.ended(run)["state"] == "failed"
    assert "there is no secret 'API_KEY'" in server.tasks(run)["s"]["message"], server.tasks(run)
    (tmp_path / "api-key.txt").write_text("sesame-4711\n")
    manifest = (ROOT / "deploy/components/secrets/put-secret.yaml").read_text()
    assert "image: busybox:1.37 " in manifest
    (tmp_path / "put-secret.yaml").write_text(manifest.replace("image: busybox:1.37 ", "image: localhost/busybox:1 "))
    here = shown.replace("deploy/components/secrets/", "")
    cluster.inside(["bash", "-euc", here], cwd=tmp_path, check=True, capture_output=True)
    run = submit()
    until("it to say what lacks", lambda: "deploy/components/secrets" in server.tasks(run)["s"].get("waitingFor", ""))
    server.post(f"/api/v1/runs/{run}:cancel")


def test_digits_from_inside(cluster, server, s3):
    """Another pod submits the demo with Millrace's own command line, by the Service's name, and hears how it ends;
    what it leaves is in S3."""
    spec = pod("default", "digits", "localhost/millrace:1", None, args=["run", "/pipelines/digits"],
               env=[{"name": "MILLRACE_URL", "value": f"http://millrace.{SPACE}.svc:7070"},
                    {"name": "MILLRACE_TOKEN", "value": server.token}],
               volumeMounts=[{"name": "pipelines", "mountPath": "/pipelines", "readOnly": True}])
    spec["spec"]["volumes"] = [{"name": "pipelines", "hostPath": {"path": str(ROOT / "pipelines")}}]
    cluster.apply(spec)
    try:
        ended = until("the pod to end", lambda: cluster.get("pod", "digits")["status"].get(
            "containerStatuses", [{}])[0].get("state", {}).get("terminated"), 240)
        said = cluster.kubectl("logs", "digits")
        assert ended["exitCode"] == 0 and "succeeded" in said, (said, server.tail())
    finally:
        cluster.kubectl("delete", "pod", "digits", "--grace-period=1")
    run = server.get("/api/v1/runs?page_size=1").json["items"][0]
    assert run["state"] == "succeeded", run
    assert server.run(run["id"])["outputs"]["accuracy"] > 0.9
    kept = server.get(f"/api/v1/runs/{run['id']}/artifacts").json["items"]
    picture = next(one for one in kept if one["name"] == "confusion")
    assert b"<svg" in server.get(f"/api/v1/artifacts/{picture['id']}/content").body
    stored = {one.name for one in (s3.home / "objects" / BUCKET).rglob("*") if one.is_file()}
    assert {one["digest"].removeprefix("sha256:") for one in kept} <= stored, (kept, stored)


@pytest.fixture
def marks(tmp_path_factory):
    """A folder of the node where steps leave marks."""
    folder = tmp_path_factory.mktemp("marks")
    for parent in [folder, *list(folder.parents)[:3]]:
        parent.chmod(0o777)
    return folder


def fan(marks, seconds):
    return (f"apiVersion: millrace/v1\nkind: Pipeline\nname: fan\nsteps:\n  fan:\n    foreach: {{range: 12}}\n"
            f"    parallelism: 4\n    volumes: [{{path: /marks, hostPath: {marks}}}]\n"
            f"    run: 'echo ${{{{ item }}}} | tee left >> /marks/${{{{ item }}}}; sleep {seconds}; echo ended'\n"
            "    outputs: {left: {artifact: model, path: left}}\n")


def whole(server, run, marks):
    """Each step ran once, and its log and artifact are there."""
    done = server.ended(run, 120)
    assert done["state"] == "succeeded", done
    for i in range(12):
        assert (marks / str(i)).read_text() == f"{i}\n"
        assert server.get(f"/api/v1/runs/{run}/tasks/fan%5B{i}%5D/logs").body.decode() == "ended\n"
    assert len(server.get(f"/api/v1/runs/{run}/artifacts").json["items"]) == 12


def test_rolling_restart_loses_nothing(cluster, server, marks):
    before = {one["metadata"]["name"] for one in server.pods()}
    run = server.submit(fan(marks, 4))
    server.wait_task(run, "fan[0]", "running")
    cluster.kubectl("rollout", "restart", "deployment/millrace", "-n", SPACE)
    server.rollout()
    assert server.run(run)["state"] == "running", "the restart came too late to say anything"
    whole(server, run, marks)
    assert not before & {one["metadata"]["name"] for one in server.pods()}


@pytest.fixture
def added(cluster, server, request, tmp_path):
    """A component's own objects, for a while."""
    made = with_component(cluster, request.param, tmp_path)
    mine = "---\n".join(one for one in made.split("---\n") if f"name: millrace-{request.param}\n" in one)
    cluster.kubectl("apply", "-f", "-", given=mine)
    yield request.param
    cluster.kubectl("delete", "-f", "-", given=mine)


@pytest.mark.parametrize("added", ["distributed"], indirect=True)
def test_workers_need_no_more_than_their_component(cluster, server, added):
    run = server.submit("apiVersion: millrace/v1\nkind: Pipeline\nname: meet\nsteps:\n  meet:\n    workers: 2\n"
                        "    script: |\n      import os, socket\n"
                        "      for _ in range(60):\n"
                        "          try: socket.gethostbyname(os.environ['MASTER_ADDR']); break\n"
                        "          except OSError: __import__('time').sleep(0.5)\n"
                        "      else: raise SystemExit('nobody there')\n"
                        "    interpreter: [python3]\n")
    assert server.ended(run, 120)["state"] == "succeeded", (server.tasks(run), server.tail())
    until("its Service to be gone", lambda: not cluster.get("services,pods,jobs", "-n", JOBS)["items"])


@pytest.mark.parametrize("added", ["gpu-queue"], indirect=True)
def test_gpus_need_no_more_than_their_component(cluster, server, added):
    """Of nodes and pods by a resource; of devices tests/cluster/test_devices.py says it."""
    run = server.submit("apiVersion: millrace/v1\nkind: Pipeline\nname: gpu\nsteps:\n"
                        "  gpu: {run: 'true', resources: {gpu: 1}}\n")
    assert server.ended(run, 180)["state"] == "succeeded", (server.tasks(run), server.tail())


def test_cancelled_steps_are_gone(cluster, server):
    """Also those whose pods would have time to keep their outputs: that takes rights of its own."""
    run = server.submit("apiVersion: millrace/v1\nkind: Pipeline\nname: deaf\nsteps:\n  deaf: {run: 'trap \"\" TERM; "
                        "while :; do sleep 1; done', outputs: {m: {artifact: model, path: m}}}\n")
    until("its pod to run", lambda: [p for p in cluster.get("pods", "-n", JOBS)["items"]
                                     if p["status"]["phase"] == "Running"])
    server.post(f"/api/v1/runs/{run}:cancel")
    assert server.ended(run)["state"] == "cancelled"
    until("all of it to be gone", lambda: not cluster.get("pods,jobs", "-n", JOBS)["items"])


def test_killed_servers_lose_nothing(cluster, server, marks):
    run = server.submit(fan(marks, 2))
    server.wait_task(run, "fan[0]", "running")
    for one in server.pods():
        cluster.kubectl("delete", "pod", one["metadata"]["name"], "-n", SPACE, "--grace-period=0", "--force")
        time.sleep(1)
    whole(server, run, marks)
    server.rollout()


def test_one_of_two_stays_while_nodes_are_drained(cluster, server):
    """The budget lets one pod be evicted and refuses the second until another is ready."""
    first, second = (one["metadata"]["name"] for one in server.pods())

    def evict(name):
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": SPACE}}
        return cluster.kubectl("create", "--raw", f"/api/v1/namespaces/{SPACE}/pods/{name}/eviction", "-f", "-",
                               given=json.dumps(body), check=False)

    until("the budget to allow one", lambda: cluster.get("pdb", "millrace", "-n", SPACE)["status"][
        "disruptionsAllowed"] == 1)
    assert '"Success"' in evict(first)
    assert '"Success"' not in evict(second)
    assert server.get("/readyz").status == 200
    server.rollout()


def test_network_policy_names_the_servers_and_their_ports(cluster, server):
    spec = cluster.get("networkpolicy", "millrace", "-n", SPACE)["spec"]
    labels = server.pods()[0]["metadata"]["labels"]
    assert spec["podSelector"]["matchLabels"].items() <= labels.items()
    named = {port["name"]: port["containerPort"] for port in server.pods()[0]["spec"]["containers"][0]["ports"]}
    assert [named[one["port"]] for rule in spec["ingress"] for one in rule["ports"]] == [7070, 7071]


def test_nothing_was_forbidden(cluster, server):
    """All that the servers asked for until here was granted, but for what the component gpu-queue is there for."""
    said = cluster.kubectl("logs", "-n", SPACE, "-l", LABELS, "--tail=-1")
    asked = "".join(line for line in said.splitlines() if "nodes and pods cannot be watched" not in line)
    assert "shards acquired" in said and "forbidden" not in asked.lower(), said


def test_missing_rights_name_their_component(cluster, server):
    """What the base has no rights for says which component has them. Last, since the servers' log tells of it."""
    head = "apiVersion: millrace/v1\nkind: Pipeline\nname: rights\nsteps:\n"
    queued = server.submit(head + "  s: {run: 'true', resources: {gpu: 1}}\n")
    gang = server.submit(head + "  s: {run: sleep 60, workers: 2}\n")
    for run, component in ((queued, "gpu-queue"), (gang, "distributed")):
        words = f"deploy/components/{component}"
        until(words, lambda run=run, words=words: words in server.tasks(run)["s"].get("waitingFor", ""))
    for run in (queued, gang):
        server.post(f"/api/v1/runs/{run}:cancel")
        assert server.ended(run)["state"] == "cancelled"


def test_backup_of_the_readme(cluster, server, s3):
    """And what its restore brings back is what the servers go on with. Last, since they do."""
    keep = ("apiVersion: millrace/v1\nkind: Pipeline\nname: keep\nsteps:\n  keep: {run: echo precious | tee m, "
            "outputs: {m: {artifact: model, path: m}}}\n")
    run = server.submit(keep)
    assert server.ended(run, 60)["state"] == "succeeded"
    (server.store / "secrets/default").mkdir(0o700, parents=True, exist_ok=True)
    said = follow_the_readme(cluster, "cluster backup", {
        "postgresql://millrace:PASSWORD@db.example/millrace": server.database.url,
        "postgresql://millrace:PASSWORD@db.example/restored": server.database.make("restored"),
        "s3://BUCKET/": f"s3://{BUCKET}/", "PREFIX ": "runs ", "/mnt/store": str(server.store),
        "eu-central-1": f"{s3.REGION} MILLRACE_S3_ENDPOINT={s3.url} MILLRACE_S3_PATH_STYLE=true"},
        server.admin, server.admin)
    assert "saved: the database" in said and "kubectl -n millrace-jobs delete jobs" in said, said
    server.rollout()
    assert server.run(run)["state"] == "succeeded"
    kept = server.get(f"/api/v1/runs/{run}/artifacts").json["items"][0]["id"]
    assert server.get(f"/api/v1/artifacts/{kept}/content").body == b"precious\n"
    assert server.get(f"/api/v1/runs/{run}/tasks/keep/logs").body == b"precious\n"
    assert server.ended(server.submit(keep), 60)["state"] == "succeeded"
