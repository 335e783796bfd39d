"""Flavors of a DeviceClass (Dynamic Resource Allocation): devices that slices describe and kube-scheduler allocates, on
nodes that are only played, since a real one would want the driver itself."""
import contextlib
import json
import uuid

import pytest
from cluster import FAKE, until
from test_jobs import pipeline
from test_queue import declare
from test_refusals import ALL, account, first_attempt  # noqa: F401 (a fixture)

pytestmark = pytest.mark.gpus

BIG, SMALL = 3, 2  # devices of each of two nodes
STEPS = 20
API = "resource.k8s.io/v1"


def device(name, model, memory):
    return {"name": name, "attributes": {"productName": {"string": model}}, "capacity": {"memory": {"value": memory}}}


def slice_of(driver, node, devices, generation=1):
    return {"apiVersion": API, "kind": "ResourceSlice", "metadata": {"name": f"{node}-{driver}"},
            "spec": {"driver": driver, "nodeName": node, "devices": devices,
                     "pool": {"name": node, "generation": generation, "resourceSliceCount": 1}}}


@pytest.fixture
def driver(cluster):
    """The name of a driver and its class, with devices on two nodes."""
    if cluster.kind != "own":
        pytest.skip("this cluster has no nodes that are only played")
    name = f"gpu-{uuid.uuid4().hex[:8]}.example.com"
    devices = [device(f"big-{i}", "Big", "80Gi") for i in range(BIG)]
    devices += [device(f"small-{i}", "Small", "16Gi") for i in range(SMALL)]
    with contextlib.ExitStack() as after, cluster.fake_nodes(2):
        after.callback(cluster.kubectl, "delete", "resourceslices", f"fake-000-{name}", f"fake-001-{name}")
        after.callback(cluster.kubectl, "delete", "deviceclass", name)
        cluster.apply({"apiVersion": API, "kind": "DeviceClass", "metadata": {"name": name},
                       "spec": {"selectors": [{"cel": {"expression": f'device.driver == "{name}"'}}]}},
                      *(slice_of(name, node, devices) for node in ("fake-000", "fake-001")))
        yield name


def flavors(driver):
    return "---\n".join(json.dumps({
        "apiVersion": "millrace/v1", "kind": "Flavor", "name": name, "deviceClass": driver, "devices": devices,
        "nodes": FAKE["nodeSelector"], "tolerations": FAKE["tolerations"]}) + "\n" for name, devices in {
            "big": {"attributes": {"productName": "Big"}, "capacity": {"memory": "40Gi"}},
            "small": {"attributes": {"productName": "Small"}}}.items())


def known(server, flavor):
    rows = json.loads(server.cli("gpus", "-o", "json").stdout)["items"]
    return [g for row in rows for g in row["gpus"] if g["flavor"] == flavor]


def unfinished(jobs):
    return [p for p in jobs.items("pods")
            if p["spec"].get("nodeName") and p["status"]["phase"] in ("Pending", "Running")]


def nothing_left(jobs):
    until("no Job and no pod", jobs.empty, 60)
    until("no claim", lambda: not jobs.items("resourceclaims"), 60)
    until("no template", lambda: not jobs.items("resourceclaimtemplates"), 60)


def templates_made(cluster):
    """Requests to make one that the API server has had so far."""
    lines = cluster.kubectl("get", "--raw", "/metrics").splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("apiserver_request_total{")
               and 'resource="resourceclaimtemplates"' in line and 'verb="POST"' in line)


def test_never_more_than_the_slices_say(cluster, cluster_server, jobs, driver):
    server = cluster_server()
    declare(server, flavors(driver))
    until("the devices to be known", lambda: [g["total"] for g in known(server, "big")] == [BIG, BIG])
    assert {g["deviceClass"] for g in known(server, "big")} == {driver} and \
        [g["total"] for g in known(server, "small")] == [SMALL, SMALL]
    before = templates_made(cluster)
    run = server.submit(pipeline(f"  fan: {{foreach: {{range: {STEPS}}}, run: 'true', "
                                 "resources: {gpu: {flavor: big}}}\n"))
    most, reasons = 0, set()
    while server.run(run)["state"] not in ("succeeded", "failed"):
        most = max(most, len(unfinished(jobs)))
        reasons |= {t.get("waitingFor", "").split("; ")[0] for t in server.tasks(run).values()
                    if t["state"] in ("pending", "ready")}
    assert server.run(run)["state"] == "succeeded" and 1 < most <= 2 * BIG, most
    assert any("1 × big" in one for one in reasons), reasons
    assert all(t["attempt"] == 1 for t in server.tasks(run).values() if "[" in t["path"])
    assert templates_made(cluster) - before <= 2  # all of them share one
    nothing_left(jobs)
    until("all to be free again", lambda: all(g["used"] == g["others"] == 0 for g in known(server, "big")))


def test_the_pod_claims_what_was_counted(cluster, cluster_server, jobs, driver):
    server = cluster_server()
    declare(server, flavors(driver))
    run = server.submit(pipeline("  train: {run: 'true', annotations: {fake/duration: 20s}, "
                                 "resources: {gpu: {count: 2, flavor: small}}}\n"))
    pod, = until("its pod to have a node", lambda: unfinished(jobs))
    step, = pod["spec"]["containers"]
    assert not any("gpu" in name for name in step["resources"].get("limits", {})), step["resources"]
    claim, = jobs.items("resourceclaims")
    results = claim["status"]["allocation"]["devices"]["results"]
    assert {r["device"] for r in results} == {"small-0", "small-1"}
    until("gpus to show it", lambda: sorted(g["used"] for g in known(server, "small")) == [0, 2])
    assert all(g["others"] == 0 for g in known(server, "small"))  # it is not counted twice
    server.cli("cancel", run)
    assert server.ended(run)["state"] == "cancelled"
    nothing_left(jobs)


def test_what_others_have_is_taken(cluster, cluster_server, jobs, driver):
    server = cluster_server()
    declare(server, flavors(driver))
    spec = {"devices": {"requests": [{"name": "all", "exactly": {
        "deviceClassName": driver, "allocationMode": "ExactCount", "count": BIG + SMALL}}]}}
    jobs.apply(apiVersion=API, kind="ResourceClaim", metadata={"name": "theirs"}, spec=spec)
    jobs.apply(kind="Pod", metadata={"name": "theirs"},
               spec={"containers": [{"name": "main", "image": "x", "resources": {"claims": [{"name": "c"}]}}],
                     "resourceClaims": [{"name": "c", "resourceClaimName": "theirs"}], "restartPolicy": "Never",
                     "nodeSelector": {"kubernetes.io/hostname": "fake-000"}, "tolerations": FAKE["tolerations"]})
    until("their devices to be known", lambda: sorted(g["others"] for g in known(server, "big")) == [0, BIG])
    run = server.submit(pipeline("  gang: {run: 'true', workers: 2, resources: {gpu: {count: 2, flavor: big}}}\n"))
    why = until("it to wait", lambda: server.tasks(run)["gang"].get("waitingFor"))
    until("its numbers", lambda: "room for 1 of its 2 pods" in server.tasks(run)["gang"].get("waitingFor", why), 20)
    assert not jobs.items("jobs")
    jobs("delete", "pod,resourceclaim", "theirs", "--grace-period=0", "--force")
    assert server.ended(run)["state"] == "succeeded"
    nothing_left(jobs)


def test_what_can_never_run_is_said_at_once(cluster, cluster_server, jobs, driver):
    server = cluster_server()
    declare(server, flavors(driver))
    until("the devices to be known", lambda: known(server, "big"))
    said = server.post("/api/v1/runs", {"source": pipeline(
        f"  one: {{run: 'true', resources: {{gpu: {{count: {BIG + 1}, flavor: big}}}}}}\n")})
    assert said.status == 422 and f"each pod needs {BIG + 1} × big" in json.dumps(said.json, ensure_ascii=False), said
    assert not jobs.items("resourceclaimtemplates")


def test_killed_at_any_time(cluster, cluster_server, jobs, driver):
    server = cluster_server()
    declare(server, flavors(driver))
    run = server.submit(pipeline("  fan: {foreach: {range: 12}, run: 'true', resources: {gpu: {flavor: small}}}\n"))
    most = 0
    for _ in range(5):
        most = max(most, len(unfinished(jobs)))
        server.crash()
        server.start()
    while server.run(run)["state"] not in ("succeeded", "failed"):
        most = max(most, len(unfinished(jobs)))
    assert server.run(run)["state"] == "succeeded" and most <= 2 * SMALL, most
    server.crash()  # nobody has taken the template away yet
    server.start()
    nothing_left(jobs)


def test_a_missing_template_is_made_again(cluster, cluster_server, jobs, driver):
    """As when another server took it away at the same time."""
    server = cluster_server()
    declare(server, flavors(driver))
    first = server.submit(pipeline("  one: {run: 'true', annotations: {fake/duration: 60s}, "
                                   "resources: {gpu: {flavor: small}}}\n"))
    until("its pod to have a node", lambda: unfinished(jobs))
    jobs("delete", "resourceclaimtemplates", "--all")
    second = server.submit(pipeline("  two: {run: 'true', resources: {gpu: {flavor: small}}}\n"))
    assert server.ended(second)["state"] == "succeeded"
    server.cli("cancel", first)
    assert server.ended(first)["state"] == "cancelled"
    nothing_left(jobs)


@pytest.mark.parametrize("kind", ["cut-after", "503"])
def test_a_template_costs_one_request(cluster_server, jobs, driver, proxy, kind):
    """Whatever becomes of it: nobody knows, or not now."""
    server = cluster_server(kubeconfig=proxy.kubeconfig)
    declare(server, flavors(driver))
    until("the devices to be known", lambda: known(server, "small"))
    proxy.next("create", "resourceclaimtemplates", kind)
    run = server.submit(pipeline("  fan: {foreach: {range: 12}, run: 'true', annotations: {fake/duration: 100ms}, "
                                 "resources: {gpu: {flavor: small}}}\n"))
    assert server.ended(run, 120)["state"] == "succeeded"
    asked = proxy.asked
    assert asked["create", "jobs"] == 12 and asked["create", "resourceclaimtemplates"] == 2, asked
    nothing_left(jobs)
    assert proxy.asked["delete", "resourceclaimtemplates"] == 1
    steps = sum(n for (verb, what), n in proxy.asked.items() if verb in ("create", "delete") or what == "log")
    assert steps <= 3 * 12 + 3, proxy.asked


def test_rights_that_are_missing(cluster, cluster_server, jobs, driver, account, tmp_path):  # noqa: F811
    """What cannot be seen is not said to be nowhere, and holds nobody else up."""
    name = f"devices-{jobs.name}"
    rules = [{"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["list", "watch"]}]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
            "rules": rules}
    cluster.apply(role, {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                         "metadata": {"name": name},
                         "subjects": [{"kind": "ServiceAccount", "name": "runner", "namespace": jobs.name}],
                         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}})
    try:
        server = cluster_server(kubeconfig=account(tmp_path, ALL))
        declare(server, flavors(driver) + "---\napiVersion: millrace/v1\nkind: Flavor\nname: plugin\n"
                                          "resource: nvidia.com/gpu\ntolerations: [{key: nvidia.com/gpu}]\n")
        other = server.submit(pipeline("  s: {run: 'true', resources: {gpu: {flavor: plugin}}}\n"))
        assert server.ended(other)["state"] == "succeeded"
        run = server.submit(pipeline("  s: {run: 'true', resources: {gpu: {flavor: big}}}\n"))
        why = until("it to wait", lambda: server.tasks(run)["s"].get("waitingFor"))
        until("its reason", lambda: "forbidden" in server.tasks(run)["s"].get("waitingFor", why))
        why = server.tasks(run)["s"]["waitingFor"]
        assert "waits for devices to be known" in why and "deploy/components/gpu-queue" in why, why
        rules.append({"apiGroups": ["resource.k8s.io"], "resources": ["resourceslices", "resourceclaims"],
                      "verbs": ["list", "watch"]})
        cluster.apply(role)
        attempt = first_attempt(server, run)
        assert attempt["reason"] == "Infrastructure" and "ResourceClaimTemplates" in attempt["message"], attempt
        templates = {"apiGroups": ["resource.k8s.io"], "resources": ["resourceclaimtemplates"],
                     "verbs": ["create", "delete", "list"]}
        jobs("patch", "role", "runner", "--type=merge", "-p", json.dumps({"rules": [*ALL, templates]}))
        assert server.ended(run, 120)["state"] == "succeeded", server.tasks(run)
        nothing_left(jobs)
    finally:
        cluster.kubectl("delete", "clusterrole,clusterrolebinding", name)
