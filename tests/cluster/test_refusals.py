"""What an API server refuses: whose fault that is, and that a user is told what to do."""
import json
import time

import pytest
from fault_proxy import FaultProxy
from harness import until
from test_faults import once, pipeline


@pytest.fixture
def account(cluster, jobs):
    """account(rules…): a kubeconfig's user with a service account that may do that in the namespace; its token lies
    in a file."""
    def make(folder, rules):
        jobs("create", "serviceaccount", "runner")
        role = {"kind": "Role", "metadata": {"name": "runner", "namespace": jobs.name}, "rules": rules}
        binding = {"kind": "RoleBinding", "metadata": {"name": "runner", "namespace": jobs.name},
                   "subjects": [{"kind": "ServiceAccount", "name": "runner", "namespace": jobs.name}],
                   "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "runner"}}
        cluster.apply(*({"apiVersion": "rbac.authorization.k8s.io/v1", **one} for one in (role, binding)))
        (folder / "token").write_text(jobs("create", "token", "runner"))
        config = json.loads(cluster.kubectl("config", "view", "--raw", "--flatten", "--minify", "-o", "json"))
        config["users"][0]["user"] = {"tokenFile": str(folder / "token")}
        (folder / "kubeconfig").write_text(json.dumps(config))
        return folder / "kubeconfig"

    yield make
    jobs("delete", "serviceaccount,role,rolebinding", "runner", "--ignore-not-found")


ALL = [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["*"]},
       {"apiGroups": [""], "resources": ["pods", "pods/log", "events"], "verbs": ["*"]}]


def first_attempt(server, run, path="s"):
    """Once it has failed."""
    task = until("the task", lambda: server.tasks(run).get(path))
    attempts = f"/api/v1/runs/{run}/tasks/{task['task']}/attempts"
    return until("its first attempt to end",
                 lambda: [one for one in server.get(attempts).json["items"] if one.get("reason")])[0]


def waiting_for(server, run, *words, path="s"):
    """Once it says all of that."""
    until(f"{path} to say {words}", lambda: all(
        one in server.tasks(run).get(path, {}).get("waitingFor", "") for one in words), 40)


def refused(server, run, *words):
    """The cluster's fault: a wait, for as long as it takes to mend that; nothing has failed."""
    waiting_for(server, run, "its Job cannot be created", *words)
    assert server.tasks(run)["s"]["attempt"] == 1 and not server.tasks(run)["s"].get("infrastructureFailures")


def cancelled(server, run):
    server.post(f"/api/v1/runs/{run}:cancel")
    assert server.ended(run)["state"] == "cancelled"


def test_no_such_namespace(cluster, cluster_server, jobs):
    name = f"{jobs.name}-none"
    server = cluster_server(namespace=name)
    run = server.submit(pipeline("  s: {run: 'true'}\n"))
    refused(server, run, f'namespaces "{name}" not found', "create the namespace")
    try:
        cluster.kubectl("create", "namespace", name)
        assert server.ended(run, 120)["state"] == "succeeded", server.tasks(run)
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false", check=False)


def test_a_namespace_that_is_deleted(cluster, cluster_server, jobs):
    name = f"{jobs.name}-ends"
    cluster.kubectl("create", "namespace", name)
    hold = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "hold", "namespace": name,
                                                                  "finalizers": ["test.millrace.dev/hold"]}}
    cluster.apply(hold)
    cluster.kubectl("delete", "namespace", name, "--wait=false")
    try:
        server = cluster_server(namespace=name)
        run = server.submit(pipeline("  s: {run: 'true'}\n"))
        refused(server, run, "because it is being terminated", "--kube-namespace")
        cancelled(server, run)
    finally:
        cluster.kubectl("-n", name, "patch", "configmap", "hold", "--type=merge", "-p",
                        '{"metadata":{"finalizers":null}}')


def test_an_account_that_may_not_create(cluster, cluster_server, jobs, account, tmp_path):
    server = cluster_server(kubeconfig=account(tmp_path, [{**one, "verbs": ["get", "list", "watch"]} for one in ALL]))
    run = server.submit(pipeline("  s: {run: 'true'}\n"))
    refused(server, run, f'cannot create resource "jobs" in API group "batch" in the namespace "{jobs.name}"',
            "let the server's account")
    cluster.kubectl("-n", jobs.name, "patch", "role", "runner", "--type=merge", "-p", json.dumps({"rules": ALL}))
    assert server.ended(run, 120)["state"] == "succeeded", server.tasks(run)


def test_an_account_that_may_not_watch(cluster, cluster_server, jobs, account, tmp_path):
    """Jobs are made, and nothing is heard of them: that is said, and mended as soon as it may."""
    server = cluster_server(kubeconfig=account(tmp_path, ALL[:1]))
    run = server.submit(pipeline("  s: {run: 'echo done'}\n"))
    until("it to say why it waits", lambda: 'cannot list resource "pods"' in
          server.tasks(run)["s"].get("waitingFor", ""), 20)
    cluster.kubectl("-n", jobs.name, "patch", "role", "runner", "--type=merge", "-p", json.dumps({"rules": ALL}))
    once(server, run, jobs)


def test_an_account_that_may_not_watch_keeps_the_cause(cluster, cluster_server, jobs, account, tmp_path):
    """What nobody can watch may have begun: it is not given up before that is seen, and its cause is told besides."""
    rules = [ALL[0], {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]}]
    server = cluster_server("--kube-start", "3s", kubeconfig=account(tmp_path, rules))
    run = server.submit(pipeline("  s: {run: 'echo done', pod: {serviceAccountName: ghost}}\n"))
    for _ in range(3):
        waiting_for(server, run, '"ghost" not found', "cannot be watched", 'cannot list resource "pods"')
        time.sleep(3)
    cluster.kubectl("-n", jobs.name, "patch", "role", "runner", "--type=merge", "-p", json.dumps({"rules": ALL}))
    assert server.ended(run, 90)["state"] == "failed"
    task = server.tasks(run)["s"]
    assert '"ghost" not found' in task["message"] and "watched" not in task["message"] and task["attempt"] == 1, task


def test_an_account_that_may_not_read_events(cluster_server, jobs, account, tmp_path):
    """Why there is no pod, and why one does not start, is said to be unknown, and not waited for for ever."""
    rules = [ALL[0], {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["*"]}]
    server = cluster_server("--kube-start", "6s", kubeconfig=account(tmp_path, rules))
    run = server.submit(pipeline("  podless: {run: 'true', pod: {serviceAccountName: ghost}}\n"
                                 "  mount: {run: 'true', volumes: [{path: /a, configMap: nope}]}\n"))
    assert server.ended(run, 90)["state"] == "failed"
    for path, says in {"podless": "its pod has not been created", "mount": "its pod does not start"}.items():
        task = server.tasks(run)[path]
        assert task["reason"] == "Error" and task["attempt"] == 1, task
        for words in (says, "why cannot be read", 'cannot list resource "events"'):
            assert words in task["message"], task


@pytest.fixture
def undriven(cluster, jobs):
    """A claim of that name, for a device of the node whose driver does not run there."""
    if cluster.kind != "own":
        pytest.skip("another cluster's devices are its own")
    name, api = f"{jobs.name}.test", {"apiVersion": "resource.k8s.io/v1"}
    claim = {"requests": [{"name": "g", "exactly": {"deviceClassName": name}}]}
    cluster.apply({**api, "kind": "DeviceClass", "metadata": {"name": name},
                   "spec": {"selectors": [{"cel": {"expression": f'device.driver == "{name}"'}}]}},
                  {**api, "kind": "ResourceSlice", "metadata": {"name": name},
                   "spec": {"driver": name, "nodeName": cluster.node, "devices": [{"name": "d"}],
                            "pool": {"name": cluster.node, "generation": 1, "resourceSliceCount": 1}}},
                  {**api, "kind": "ResourceClaim", "metadata": {"name": "undriven", "namespace": jobs.name},
                   "spec": {"devices": claim}})
    yield name
    jobs("delete", "resourceclaim", "undriven")
    cluster.kubectl("delete", "deviceclass,resourceslice", name)


def test_what_is_not_there(cluster_server, jobs, undriven):
    """A volume, a sandbox: what only events tell is told, and not waited for for ever."""
    lacks = {"map": ("volumes: [{path: /a, configMap: nope}]", 'configmap "nope" not found'),
             "secret": ("volumes: [{path: /a, secret: nope}]", 'secret "nope" not found'),
             "claim": ("volumes: [{path: /a, claim: nope}]", 'persistentvolumeclaim "nope" not found'),
             "ranks": ("workers: 2, volumes: [{path: /a, configMap: nope}]", 'configmap "nope" not found'),
             "device": ("pod: {resourceClaims: [{name: g, resourceClaimName: nope}]}", "there: ResourceClaim 'nope'"),
             "template": ("pod: {resourceClaims: [{name: g, resourceClaimTemplateName: nope}]}",
                          'resourceclaimtemplate.resource.k8s.io "nope" not found'),
             "driver": ("pod: {resourceClaims: [{name: g, resourceClaimName: undriven}]}",
                        f"DRA driver {undriven} is not registered"),
             "small": ("resources: {memory: 1B}", "FailedCreatePodSandBox")}
    server = cluster_server("--kube-start", "8s")
    run = server.submit(pipeline("".join(f"  {path}: {{run: 'true', {keys}}}\n" for path, (keys, _) in lacks.items())))
    for path, (_, says) in lacks.items():
        until(f"{path} to say {says}", lambda: says in str(server.tasks(run)[path]), 60)
    assert server.ended(run, 90)["state"] == "failed"
    for path, (_, says) in lacks.items():
        task = server.tasks(run)[path]
        assert task["reason"] == "Error" and task["attempt"] == 1, task
        assert "given up" in task["message"] and says in task["message"], task
    until("all Jobs and pods to be gone", jobs.empty)


def test_what_comes_in_time(cluster_server, jobs):
    server = cluster_server("--kube-start", "40s")
    run = server.submit(pipeline("  s: {run: 'cat /a/x; echo done', volumes: [{path: /a, configMap: late}]}\n"))
    waiting_for(server, run, 'configmap "late" not found')
    jobs("create", "configmap", "late", "--from-literal=x=")
    once(server, run, jobs)


def test_a_scheduler_that_nobody_runs(cluster_server, jobs):
    """It may have others to look at first: that is said, and waited for."""
    server = cluster_server("--kube-start", "3s")
    run = server.submit(pipeline("  s: {run: 'true', pod: {schedulerName: ghost}}\n"))
    waiting_for(server, run, "no scheduler has looked at its pod yet", "'ghost'")
    time.sleep(5)
    waiting_for(server, run, "'ghost'")
    cancelled(server, run)


def test_an_account_that_may_not_read_logs(cluster_server, jobs, account, tmp_path):
    """The log says so itself."""
    rules = [ALL[0], {"apiGroups": [""], "resources": ["pods", "events"], "verbs": ["*"]}]
    server = cluster_server(kubeconfig=account(tmp_path, rules))
    run = server.submit(pipeline("  s: {run: 'echo done'}\n"))
    assert server.ended(run)["state"] == "succeeded"
    log = server.cli("logs", run, "s").stdout
    assert 'cannot get resource "pods/log"' in log and "let the server's account" in log, log


def own_ends(server, run, rows):
    """Each is the step's own failure, at the first attempt, and says that."""
    assert server.ended(run, 120)["state"] == "failed"
    for path, (_, reason, says) in rows.items():
        task = server.tasks(run)[path]
        assert task["reason"] == reason and task["attempt"] == 1, task
        assert says in task["message"], task


def of_rows(rows):
    return pipeline("".join(f"  {path}: {{{keys}}}\n" for path, (keys, _, _) in rows.items()))


def test_what_is_evicted_for_its_own_storage(cluster_server, jobs):
    dd = "dd if=/dev/zero of={}/x bs=1M count=40; sleep 90"
    rows = {"storage": (f"run: '{dd.format('/tmp')}', resources: {{storage: 1Mi}}", "Error", "raise resources.storage"),
            "scratch": (f"run: '{dd.format('/a')}', volumes: [{{path: /a, scratch: 1Mi}}]", "Error",
                        "Usage of EmptyDir volume")}
    server = cluster_server()
    own_ends(server, server.submit(of_rows(rows)), rows)


def test_what_does_not_begin(cluster_server, jobs):
    prep = "{name: prep, image: localhost/busybox:1, command: [sh, -c, 'echo no way; exit 7']}"
    rows = {"before": (f'run: "true", pod: {{initContainers: [{prep}]}}', "Error",
                       "its container 'prep', which runs before it, exited with code 7; its last lines:\nno way"),
            "system": ('run: "true", pod: {os: {name: windows}}', "Invalid", "PodOS"),
            "code": ('run: "exit 137", resources: {memory: 64Mi}', "OutOfMemory", "is taken for")}
    server = cluster_server()
    own_ends(server, server.submit(of_rows(rows)), rows)


def test_a_token_that_expired(cluster_server, jobs, account, tmp_path):
    """It is a wait, until the file holds another: nothing has failed."""
    server = cluster_server(kubeconfig=account(tmp_path, ALL), start=False)
    good = (tmp_path / "token").read_text()
    (tmp_path / "token").write_text("expired")
    server.start()
    run = server.submit(pipeline("  s: {run: 'echo done'}\n"))
    until("it to say why it waits", lambda: "credential" in server.tasks(run)["s"].get("waitingFor", ""), 20)
    (tmp_path / "token").write_text(good)
    once(server, run, jobs)


def test_a_limit_range(cluster_server, jobs):
    jobs.apply(kind="LimitRange", metadata={"name": "small"}, spec={
        "limits": [{"type": "Container", "max": {"memory": "64Mi"}}]})
    try:
        server = cluster_server("--kube-start", "3s")
        run = server.submit(pipeline("  s: {run: 'true', resources: {memory: 128Mi}}\n"))
        assert server.ended(run)["state"] == "failed"
    finally:
        jobs("delete", "limitrange", "small")
    task = server.tasks(run)["s"]
    assert task["reason"] == "Error" and "maximum memory usage per Container is 64Mi" in task["message"], task
    until("all Jobs and pods to be gone", jobs.empty)


def policy(namespace, name, resource, group, reason):
    """Refuses what has a label of that name."""
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": f"{namespace}-{name}"}}
    labels = "object.spec.template.metadata.labels" if resource == "jobs" else "object.metadata.labels"
    rule = {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]}
    refuses = {"expression": f"!('{name}' in {labels})", "message": f"no {name} here: ask the platform team"}
    return [{**kind, "kind": "ValidatingAdmissionPolicy", "spec": {
        "failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]},
        "validations": [{**refuses, "reason": reason}]}},
            {**kind, "kind": "ValidatingAdmissionPolicyBinding", "spec": {
                "policyName": f"{namespace}-{name}", "validationActions": ["Deny"], "matchResources": {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}}}]


def test_pods_that_may_not_be_deleted(cluster_server, jobs, account, tmp_path):
    """They go with their Jobs, if later than they might."""
    rules = [ALL[0], {**ALL[1], "verbs": ["get", "list", "watch"]}]
    server = cluster_server(kubeconfig=account(tmp_path, rules))
    run = server.submit(pipeline("  s: {run: 'trap \"exit 3\" TERM; sleep 600 & wait'}\n"))
    until("its pod to run", lambda: [pod for pod in jobs.items("pods") if pod["status"]["phase"] == "Running"])
    time.sleep(1)  # for the server to hear of it
    cancelled(server, run)
    assert "a deletion is refused" in server.log.read_text()
    until("all Jobs and pods to be gone", jobs.empty)


def test_policies(cluster, cluster_server, jobs):
    """A Job that is refused fails at once; a pod that is, as soon as it is clear that it stays so."""
    objects = [*policy(jobs.name, "bad", "jobs", "batch", "Invalid"),
               *policy(jobs.name, "forbidden", "jobs", "batch", "Forbidden"),
               *policy(jobs.name, "podless", "pods", "", "Invalid")]
    cluster.apply(*objects)
    try:
        server = cluster_server("--kube-start", "3s")
        ends, tries = {}, 0
        while "bad" not in ends or set(ends.values()) != {"failed"}:  # policies take a while to count
            tries += 1
            assert tries < 30
            run = server.submit(pipeline("".join(f"  {one}: {{run: 'true', labels: {{{one}: x}}}}\n"
                                                 for one in ("bad", "forbidden", "podless"))))
            server.ended(run)
            ends = {path: task["state"] for path, task in server.tasks(run).items()}
            time.sleep(0.2)
    finally:
        for one in objects:
            cluster.kubectl("delete", one["kind"], one["metadata"]["name"], "--ignore-not-found")
    for path, task in server.tasks(run).items():
        assert task["reason"] == ("Error" if path == "podless" else "Invalid"), task
        assert f"no {path} here: ask the platform team" in task["message"] and task["attempt"] == 1, task
    until("all Jobs and pods to be gone", jobs.empty)


def test_a_server_of_another_authority(cluster_server, proxy, tmp_path):
    """Nothing is sent to whom the kubeconfig does not trust; a cancel needs no answer."""
    config = json.loads(proxy.kubeconfig.read_text())
    other = FaultProxy(proxy.cluster, tmp_path)
    other.close()
    config["clusters"][0]["cluster"]["certificate-authority"] = str(tmp_path / "ca.crt")
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    server = cluster_server(kubeconfig=tmp_path / "kubeconfig")
    run = server.submit(pipeline("  s: {run: 'true'}\n"))
    until("it to say why it waits", lambda: "certificate" in server.tasks(run)["s"].get("waitingFor", ""), 20)
    cancelled(server, run)
    assert set(proxy.asked) == {("connect", "")}


def broken_webhook(namespace, resource):
    """Of one that cannot be reached the API server says 500, for as long as it is there."""
    return {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": f"{namespace}-{resource}"},
            "webhooks": [{"name": "down.test.dev", "failurePolicy": "Fail", "sideEffects": "None", "timeoutSeconds": 1,
                          "clientConfig": {"url": "https://127.0.0.1:9/"}, "admissionReviewVersions": ["v1"],
                          "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                          "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                                     "resources": [resource]}]}]}


def counts(jobs, resource, thing):
    """The webhook is asked: nothing of the kind can be made."""
    def refused():
        return not jobs("create", *thing, "--dry-run=server", "-o", "name", check=False)

    until(f"{resource} to be refused", refused, 30)


def give_secret(server):
    folder = server.data / "secrets/default"
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    folder.parent.chmod(0o700)
    (folder / "key").write_text("a-value-of-the-server\n")


@pytest.mark.parametrize("lack", ["quota", "webhook"])
def test_a_secret_that_cannot_be_made(cluster, data_server, jobs, lack):
    """It is the cause that is told, and not how it shows; nobody gives up what only waits for that."""
    server = data_server("--grace", "1s", "--kube-start", "3s")
    give_secret(server)
    if lack == "webhook":
        hook = broken_webhook(jobs.name, "secrets")
        cluster.apply(hook)
        words = "waits for the API server: ", "failed calling webhook"
    else:
        jobs.apply(kind="ResourceQuota", metadata={"name": "none"}, spec={"hard": {"count/secrets": "0"}})
        words = "waits for quota; Kubernetes says: secrets ", "exceeded quota"
    try:
        counts(jobs, "secrets", ["secret", "generic", "x"])
        env = "env: {KEY: {secret: {file: key}}}"
        run = server.submit(pipeline(f"  s: {{run: 'test $KEY = a-value-of-the-server', {env}}}\n"))
        late = server.submit(pipeline(f"  s: {{run: 'true', timeout: 8s, {env}}}\n"
                                      f"  w: {{run: 'true', workers: 2, timeout: 8s, {env}}}\n"))
        waiting_for(server, run, *words)
        server.ended(late)
        for task in server.tasks(late).values():
            assert task["reason"] == "Timeout", task
            assert f"did not begin within its timeout: {words[0]}" in task["message"], task
            assert words[1] in task["message"] and "not found" not in task["message"], task
        assert server.tasks(run)["s"]["attempt"] == 1 and words[1] in server.tasks(run)["s"]["waitingFor"]
    finally:
        if lack == "webhook":
            cluster.kubectl("delete", hook["kind"], hook["metadata"]["name"])
        else:
            jobs("delete", "resourcequota", "none")
    assert server.ended(run, 120)["state"] == "succeeded", server.tasks(run)
    assert server.tasks(run)["s"]["attempt"] == 1
    until("all Jobs and pods to be gone", jobs.empty)


def test_workers_that_failed_without_their_service_while_no_server_was_there(cluster_server, jobs):
    """The next one has heard of no refusal, and asks."""
    jobs.apply(kind="ResourceQuota", metadata={"name": "none"}, spec={"hard": {"count/services": "0"}})
    try:
        counts(jobs, "services", ["service", "clusterip", "x", "--tcp=80"])
        server = cluster_server("--grace", "1s")
        run = server.submit(pipeline("  g: {run: 'echo begun; sleep 5; exit 7', workers: 2}\n"))
        until("both to run", lambda: jobs("get", "pods", "-o", "jsonpath={.items[*].status.phase}") ==
              "Running Running")
        server.crash()
        until("both to have failed", lambda: jobs("get", "pods", "-o", "jsonpath={.items[*].status.phase}") ==
              "Failed Failed")
        server.start()
        first = first_attempt(server, run, path="g")
    finally:
        jobs("delete", "resourcequota", "none")
    assert first["reason"] == "Infrastructure" and "exceeded quota" in first["message"], first
    assert server.get(f"/api/v1/runs/{run}/tasks/g/logs?attempt=1").body.startswith(b"begun\n")
    cancelled(server, run)
    until("all Jobs and pods to be gone", jobs.empty)


@pytest.mark.parametrize("lack", ["quota", "webhook", "right"])
def test_a_service_that_cannot_be_made(cluster, cluster_server, jobs, account, tmp_path, lack):
    """Its pods run without it, and cannot find each other: that is not theirs to answer for."""
    options, mend = {}, None
    if lack == "right":
        options = {"kubeconfig": account(tmp_path, ALL)}
        rules = [*ALL, {"apiGroups": [""], "resources": ["services"], "verbs": ["*"]}]
        words = ("the Service by which its workers find each other cannot be created; ",
                 'cannot create resource "services"')

        def mend():
            jobs("patch", "role", "runner", "--type=merge", "-p", json.dumps({"rules": rules}))
    elif lack == "webhook":
        hook = broken_webhook(jobs.name, "services")
        cluster.apply(hook)
        words = "waits for the API server: ", "failed calling webhook"

        def mend():
            cluster.kubectl("delete", hook["kind"], hook["metadata"]["name"])
    else:
        jobs.apply(kind="ResourceQuota", metadata={"name": "none"}, spec={"hard": {"count/services": "0"}})
        words = "waits for quota; Kubernetes says: services ", "exceeded quota"

        def mend():
            jobs("delete", "resourcequota", "none")
    try:
        if lack != "right":
            counts(jobs, "services", ["service", "clusterip", "x", "--tcp=80"])
        server = cluster_server("--grace", "1s", **options)
        run = server.submit(pipeline("  g: {run: 'sleep 4; exit 7', workers: 2}\n"))
        waiting_for(server, run, *words, path="g")
        first = first_attempt(server, run, path="g")
    finally:
        mend()
    assert first["reason"] == "Infrastructure", first
    said = first["message"]
    assert said.startswith(f"had no Service by which its workers find each other ({words[0]}"), said
    assert words[1] in said and "and ended so: rank " in said, said
    assert server.ended(run, 120)["state"] == "failed"
    task = server.tasks(run)["g"]
    assert task["reason"] == "Error" and task["message"].startswith("rank "), task  # its own, with the Service
    until("all Jobs and pods to be gone", jobs.empty)
