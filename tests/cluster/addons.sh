#!/bin/bash
# What stands beside the test cluster's control plane: DNS and metrics as plain processes on the node's address, each
# with a Service without a selector that points there, fake nodes, and Kueue. Sourced by `up`.
# shellcheck disable=SC2034,SC2086,SC2154,SC2206 # addresses, ports and names of lib.sh: no blanks

service() { # NAME CLUSTERIP PORT:TARGET:PROTOCOL…, in the namespace SPACE
    local n=$1 ip=$2 spaces=/namespaces/${SPACE:-kube-system}/ ports endpoints
    shift 2
    ports=$(printf '%s\n' "$@" | jq -Rnc '[inputs / ":" |
        {name: "p\(.[0])\(.[2] | ascii_downcase)", port: .[0] | tonumber,
         targetPort: .[1] | tonumber, protocol: .[2]}]')
    endpoints=$(jq -c 'map({name, port: .targetPort, protocol})' <<<"$ports")
    ensure "/api/v1${spaces}services" "$n" \
        "{\"metadata\":{\"name\":\"$n\"},\"spec\":{${ip:+\"clusterIP\":\"$ip\",}\"ports\":$ports}}"
    ensure "/apis/discovery.k8s.io/v1${spaces}endpointslices" "$n-1" \
        "{\"metadata\":{\"name\":\"$n-1\",\"labels\":{\"kubernetes.io/service-name\":\"$n\"}},\"addressType\":\"IPv4\",
          \"endpoints\":[{\"addresses\":[\"$NODE_IP\"],\"conditions\":{\"ready\":true}}],\"ports\":$endpoints}"
}

# Nothing is forwarded: no name outside of the cluster resolves. The block of its own is needed: the template plugin
# would run before kubernetes.
start_dns() {
    put "$D/conf/Corefile" <<C
cluster.local:$DNS_PORT in-addr.arpa:$DNS_PORT {
  bind $NODE_IP
  errors
  kubernetes cluster.local in-addr.arpa {
    kubeconfig $D/conf/dns.conf
    ttl 5
  }
  cache 5
}
.:$DNS_PORT {
  bind $NODE_IP
  template ANY ANY {
    rcode NXDOMAIN
  }
}
C
    start coredns "$B/coredns" -conf "$D/conf/Corefile"
    service kube-dns $DNS_IP 53:$DNS_PORT:UDP 53:$DNS_PORT:TCP
}

# The time for a request must be below the resolution; the kubelet's port is not the usual one.
start_metrics() {
    local group=metrics.k8s.io
    start metrics "$B/metrics-server" --kubeconfig="$D/conf/metrics.conf" \
        --authentication-kubeconfig="$D/conf/metrics.conf" --authorization-kubeconfig="$D/conf/metrics.conf" \
        --bind-address=$NODE_IP --secure-port=$METRICS_PORT \
        --tls-cert-file="$P/metrics.crt" --tls-private-key-file="$P/metrics.key" \
        --kubelet-certificate-authority="$P/ca.crt" --kubelet-client-certificate="$P/metrics.crt" \
        --kubelet-client-key="$P/metrics.key" --kubelet-preferred-address-types=InternalIP \
        --kubelet-use-node-status-port --metric-resolution=10s --kubelet-request-timeout=5s
    service metrics-server "" 443:$METRICS_PORT:TCP
    ensure /apis/apiregistration.k8s.io/v1/apiservices v1beta1.$group "$(jq -n --arg ca "$(base64 -w0 <"$P/ca.crt")" '{
        metadata: {name: "v1beta1.metrics.k8s.io"},
        spec: {group: "metrics.k8s.io", version: "v1beta1", groupPriorityMinimum: 100, versionPriority: 100,
               caBundle: $ca, service: {namespace: "kube-system", name: "metrics-server", port: 443}}}')"
}

# fake_node NUMBER: K8S_FAKE_TAINT=1 (the default) keeps pods away that do not tolerate it: they are meant for the real
# node.
fake_node() {
    local product=NVIDIA-H100-80GB-HBM3
    if [ $(($1 % 2)) = 1 ]; then product=NVIDIA-A100-SXM4-80GB; fi
    jq -nc --arg name "$(printf 'fake-%03d' "$1")" --arg product $product --arg gpus "${K8S_FAKE_GPUS:-8}" \
        --arg taint "${K8S_FAKE_TAINT:-1}" '
        {cpu: "96", memory: "1000Gi", pods: "250", "ephemeral-storage": "1000Gi", "nvidia.com/gpu": $gpus} as $size |
        {apiVersion: "v1", kind: "Node", metadata: {name: $name,
          annotations: {"kwok.x-k8s.io/node": "fake",
                        "metrics.k8s.io/resource-metrics-path": "/metrics/nodes/\($name)/metrics/resource"},
          labels: {"kubernetes.io/hostname": $name, "kubernetes.io/os": "linux", type: "fake",
                   "nvidia.com/gpu.product": $product}},
         spec: (if $taint == "1" then
                  {taints: [{key: "kwok.x-k8s.io/node", value: "fake", effect: "NoSchedule"}]} else {} end),
         status: {capacity: $size, allocatable: $size}}'
}
fake_nodes_ready() { [ "$(kctl get nodes -l type=fake --no-headers | grep -c ' Ready')" -ge "$1" ]; }

# start_fake N: nodes fake-000 and on, and kwok that plays them. Lines of the pods' log must be in CRI's form; with
# nodeLeaseParallelism unset kwok would exit.
start_fake() {
    local f i=0
    {
        for f in "$B"/kwok.d/*.yaml; do
            cat "$f"
            echo ---
        done
        cat tests/cluster/kwok.yaml
        cat <<Y
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: ClusterLogs
metadata: {name: all}
spec: {logs: [{logsFile: $D/conf/fake.log}]}
---
apiVersion: config.kwok.x-k8s.io/v1alpha1
kind: KwokConfiguration
options: {enableDebuggingHandlers: true, podPlayStageParallelism: 16, nodePlayStageParallelism: 8,
  nodeLeaseParallelism: 8, podsOnNodeSyncParallelism: 16, cidr: $FAKE_POD_CIDR}
Y
    } | put "$D/conf/kwok.yaml"
    echo "2026-01-01T00:00:00.000000000Z stdout F this pod is simulated" | put "$D/conf/fake.log"
    # The leases of a dead kwok would make the new one wait for 40 s.
    if ! alive kwok; then
        for f in $(kctl -n kube-node-lease get leases -o name | grep /fake- || true); do echo "$f"; done |
            xargs -r -n 200 nsenter -t "$(pid_of holder)" --net -- env KUBECONFIG="$D/admin.conf" "$B/kubectl" \
                -n kube-node-lease delete --wait=false >/dev/null || true
    fi
    start kwok "$B/kwok" --kubeconfig="$D/conf/kwok.conf" --config="$D/conf/kwok.yaml" --manage-all-nodes=false \
        --manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake --node-ip=$NODE_IP --node-port=$KWOK_PORT \
        --server-address=$NODE_IP:$KWOK_PORT --tls-cert-file="$P/kwok.crt" --tls-private-key-file="$P/kwok.key" \
        --node-lease-duration-seconds=40 --v=WARN
    while [ $i -lt "$1" ]; do
        fake_node $i
        i=$((i + 1))
    done | kctl create -f - >/dev/null 2>"$D/log/fake-nodes.log" ||
        grep -v AlreadyExists "$D/log/fake-nodes.log" >&2 || true
    until_true 300 fake_nodes_ready "$1" || die "the fake nodes do not become Ready: $(tail -n 3 "$D/log/kwok.log")"
}

# Kueue makes its own keys and keeps them in a Secret, which a pod would have as a volume.
kueue_keys() {
    local f
    for f in ca.crt tls.crt tls.key; do
        kctl -n kueue-system get secret kueue-webhook-server-cert -o "jsonpath={.data.${f/./\\.}}" | base64 -d \
            >"$P/kueue/$f" && [ -s "$P/kueue/$f" ] || return 1
    done
}

# The admission controller for Jobs. Of its webhooks only those for Jobs and for its own objects are there: the others,
# unanswered, would refuse every pod. They, too, go when it is stopped.
start_kueue() {
    local space=kueue-system
    [ -x "$B/kueue" ] || die "there is no Kueue: tests/cluster/build --kueue makes it"
    put "$D/conf/kueue.yaml" <<Y
apiVersion: config.kueue.x-k8s.io/v1beta2
kind: Configuration
health: {healthProbeBindAddress: "127.0.0.1:$KUEUE_HEALTHZ_PORT"}
metrics: {bindAddress: "127.0.0.1:$KUEUE_METRICS_PORT"}
webhook: {port: $KUEUE_PORT, certDir: $P/kueue}
leaderElection: {leaderElect: false}
clientConnection: {qps: 500, burst: 1000}
integrations: {frameworks: [batch/job]}
Y
    kctl apply --server-side -f "$B/kueue.d/CustomResourceDefinition.yaml" >/dev/null
    ensure /api/v1/namespaces $space "{\"metadata\":{\"name\":\"$space\"}}"
    ensure /api/v1/namespaces/$space/secrets kueue-webhook-server-cert \
        '{"metadata":{"name":"kueue-webhook-server-cert"}}'
    SPACE=$space service kueue-webhook-service "" 443:$KUEUE_PORT:TCP
    kctl create --dry-run=client -o json -f "$B/kueue.d/WebhookConfiguration.yaml" | jq '
        .webhooks |= map(select(.name | test("^[mv](job|workload|clusterqueue|cohort|resourceflavor)[.]kb[.]io$")))' |
        kctl apply --server-side -f - >/dev/null
    start kueue env KUBECONFIG="$D/admin.conf" POD_NAMESPACE=$space "$B/kueue" --config="$D/conf/kueue.yaml" \
        --feature-gates=VisibilityOnDemand=false
    mkdir -p "$P/kueue"
    until_true 300 kueue_keys || die "Kueue makes no keys: $(tail -n 3 "$D/log/kueue.log")"
    until_true 600 net curl -fsS "http://127.0.0.1:$KUEUE_HEALTHZ_PORT/readyz" ||
        die "Kueue does not become ready: $(tail -n 3 "$D/log/kueue.log")"
}
