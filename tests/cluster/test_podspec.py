"""What a step says of its pod, on a real cluster: its keys and the merged part arrive, and what the API server or the
namespace does not allow is told in their words."""
import re

import pytest
from harness import until


def pipeline(steps):
    return f"apiVersion: millrace/v1\nkind: Pipeline\nname: p\nsteps:\n{steps}"


@pytest.fixture
def objects(jobs, marks):
    """What pods may name: an account, a Secret, a ConfigMap, a claim bound to a folder of the node."""
    volume = f"{jobs.name}-data"
    jobs.apply(kind="ServiceAccount", metadata={"name": "reader"})
    jobs.apply(kind="Secret", metadata={"name": "hub"}, stringData={"TOKEN": "t0ken"})
    jobs.apply(kind="ConfigMap", metadata={"name": "settings"}, data={"MODE": "fast", "file": "from a map"})
    jobs.apply(kind="PersistentVolume", metadata={"name": volume},
               spec={"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
                     "hostPath": {"path": str(marks)}, "claimRef": {"namespace": jobs.name, "name": "data"}})
    jobs.apply(kind="PersistentVolumeClaim", metadata={"name": "data"},
               spec={"accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": volume,
                     "resources": {"requests": {"storage": "1Gi"}}})
    yield
    jobs("delete", "pvc", "data", "--wait=false")
    jobs("delete", "pv", volume, "--wait=false")


@pytest.fixture
def marks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for parent in [folder, *list(folder.parents)[:3]]:
        parent.chmod(0o777)
    return folder


KEYS = """  look:
    script: |
      echo "user $(id -u) group $(id -g)"
      echo "token $(test -s /var/run/secrets/kubernetes.io/serviceaccount/token && echo there)"
      echo "shm $(df -k /dev/shm | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2)"
      echo "variables $HUB_TOKEN $MODE $NODE $OWN"
      echo "root $(touch /mark 2>/dev/null && echo writable || echo closed)"
      echo "capabilities $(grep CapBnd /proc/self/status | tr -d '\\t')"
      echo "hosts $(grep -c storage.example /etc/hosts)"
      echo "map $(cat /settings/file)"
      echo kept > /data/kept.txt
      until test -e /shared/up; do sleep 0.1; done; echo "agent $(cat /shared/up)"
    env: {OWN: over}
    serviceAccountName: reader
    resources: {memory: 64Mi, shm: 8Mi}
    securityContext: {runAsUser: 1234, runAsGroup: 1235, capabilities: {drop: [ALL]}, readOnlyRootFilesystem: true}
    imagePullPolicy: IfNotPresent
    imagePullSecrets: [nowhere]
    affinity:
      nodeAffinity:
        requiredDuringSchedulingIgnoredDuringExecution:
          nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: Exists}]}]
    envFrom: [{secret: hub, prefix: HUB_}, {configMap: settings}, {secret: none, optional: true}]
    hostIPC: true
    priorityClassName: system-node-critical
    volumes:
      - {path: /data, claim: data, subPath: of/step}
      - {path: /settings, configMap: settings, readOnly: true}
    pod:
      hostAliases: [{ip: 10.0.0.7, hostnames: [storage.example]}]
      containers:
        - name: step
          env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
          volumeMounts: [{name: shared, mountPath: /shared}]
      initContainers:
        - name: agent
          image: localhost/busybox:1
          restartPolicy: Always
          command: [sh, -c, "echo ready > /shared/up; sleep 1000"]
          volumeMounts: [{name: shared, mountPath: /shared}]
      volumes: [{name: shared, emptyDir: {}}]
"""


def test_keys_of_a_step_reach_its_pod(cluster_server, cluster, jobs, objects, marks):
    (marks / "of/step").mkdir(parents=True)
    for folder in (marks / "of", marks / "of/step"):
        folder.chmod(0o777)
    server = cluster_server()
    run = server.submit(pipeline(KEYS))
    done = server.ended(run)
    assert done["state"] == "succeeded", (done, server.tasks(run))
    assert server.cli("logs", run, "look").stdout.splitlines() == [
        "user 1234 group 1235", "token there", "shm 8192", f"variables t0ken fast {cluster.node} over",
        "root closed", "capabilities CapBnd:0000000000000000", "hosts 1", "map from a map", "agent ready"]
    assert (marks / "of/step/kept.txt").read_text() == "kept\n"
    until("all Jobs and pods to be gone", jobs.empty)


def test_no_account_no_token(cluster_server, jobs):
    server = cluster_server()
    run = server.submit(pipeline("  a: {run: 'test ! -e /var/run/secrets/kubernetes.io'}\n"))
    assert server.ended(run)["state"] == "succeeded", server.tasks(run)


def test_sizes_and_annotations_are_to_its_taste(cluster_server, jobs):
    server = cluster_server()
    run = server.submit(pipeline(
        "  a: {run: 'touch /tmp/x', volumes: [{path: /tmp, scratch: 1024B}, {path: /s, scratch: 1.5Gi}],\n"
        "      annotations: {kubectl.kubernetes.io/default-container: step, note: é ü}}\n"))
    assert server.ended(run)["state"] == "succeeded", server.tasks(run)


REFUSED = {
    "unknown": ("pod: {nodeSelectr: {a: b}}", 'unknown field "spec.template.spec.nodeSelectr"'),
    "deep": ("pod: {containers: [{name: step, lifecycle: {postStrt: {}}}]}",
             'unknown field "spec.template.spec.containers[0].lifecycle.postStrt"'),
    "type": ("pod: {hostPID: sometimes}", "cannot unmarshal string into Go struct field PodSpec"),
    "value": ("pod: {dnsPolicy: Mine}", 'spec.template.spec.dnsPolicy: Unsupported value: "Mine"'),
    "affinity": ("affinity: {nodeAffinity: {required: x}}", "spec.template.spec.affinity.nodeAffinity.required"),
    "mounts": ("pod: {containers: [{name: step, volumeMounts: [{name: none, mountPath: /a}]}]}", 'Not found: "none"'),
}


def test_what_the_api_server_does_not_take_is_told(cluster_server, jobs):
    server = cluster_server()
    run = server.submit(pipeline("".join(f"  {name}: {{run: 'true', {row[0]}}}\n" for name, row in REFUSED.items())))
    assert server.ended(run)["state"] == "failed"
    tasks = server.tasks(run)
    for name, (_, words) in REFUSED.items():
        assert (tasks[name]["state"], tasks[name]["reason"], tasks[name]["attempt"]) == ("failed", "Invalid", 1)
        assert words in tasks[name]["message"], (name, tasks[name])
    assert "the step's 'pod' and other keys for a cluster" in tasks["unknown"]["message"]
    assert jobs.empty()


def test_what_a_namespace_forbids_is_told(cluster_server, cluster, jobs):
    server = cluster_server()
    jobs("label", "namespace", jobs.name, "pod-security.kubernetes.io/enforce=baseline")
    try:
        run = server.submit(pipeline("  host: {run: 'true', hostNetwork: true}\n"
                                     "  account: {run: 'true', serviceAccountName: nobody}\n"
                                     "  class: {run: 'true', priorityClassName: none}\n"))
        said = {"host": "violates PodSecurity", "account": 'serviceaccount "nobody" not found',
                "class": "no PriorityClass with name none"}
        for path, words in said.items():
            until(f"{path} to say why", lambda: re.search(words, server.tasks(run)[path].get("waitingFor", "")), 20)
        server.post(f"/api/v1/runs/{run}:cancel")
        assert server.ended(run)["state"] == "cancelled"
    finally:
        jobs("label", "namespace", jobs.name, "pod-security.kubernetes.io/enforce-")
    until("all Jobs and pods to be gone", jobs.empty)


def test_data_moves_for_other_users_too(data_server, jobs):
    server = data_server()
    put = "run: 'umask 077; echo kept > f; test $(id -u) = 1234', outputs: {f: {artifact: text, path: f}}"
    get = "run: 'cat inputs/f', inputs: {f: '${{ steps.put.outputs.f }}'}"
    run = server.submit(pipeline(
        f"  put: {{{put}, securityContext: {{runAsUser: 1234, runAsNonRoot: true}}}}\n"
        f"  get: {{{get}, pod: {{securityContext: {{runAsUser: 4321}}}}}}\n"
        f"  any: {{{get}, securityContext: {{runAsNonRoot: true}}, pod: {{containers: "
        "[{name: step, securityContext: {runAsUser: 99}}]}}\n"))
    assert server.ended(run)["state"] == "succeeded", server.tasks(run)
    assert server.cli("logs", run, "get").stdout == server.cli("logs", run, "any").stdout == "kept\n"
    until("all Jobs and pods to be gone", jobs.empty)
