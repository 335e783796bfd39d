#!/bin/bash
# The node of the test cluster: its namespaces, network and cgroups, containerd with the images, kubelet and kube-proxy.
# Sourced by `up`, which calls these functions in order.
# shellcheck disable=SC2034,SC2086,SC2154,SC2206 # addresses, ports and names of lib.sh: no blanks

# One process holds a mount, a pid and a network namespace; every daemon enters them. When it is killed, the kernel ends
# each daemon, shim and container and drops every mount and interface.
namespaces() {
    local u
    if alive holder; then return 0; fi
    rm -f "$D"/run/*.pid "$D/run/ready"
    cat >"$D/run/init.sh" <<'I'
D=$1
mount --make-rprivate / && mount --make-rshared /         # a peer group of its own
umount /sys/fs/cgroup/unified 2>/dev/null                 # plain cgroup v1, not the hybrid layout
# What kubelet, containerd and the CNI plugins have compiled in lies below the state folder.
for p in var/log/pods var/log/containers var/lib/kubelet var/lib/cni run/netns run/containerd; do
    mkdir -p "$D/fs/$p" "/$p" && mount --bind "$D/fs/$p" "/$p"
done
touch "$D/run/ready"
trap 'exit 0' TERM
while :; do sleep 3600 & wait $!; done                    # bash as process 1 reaps orphans
I
    setsid unshare --mount --pid --net --fork --kill-child=KILL --mount-proc bash "$D/run/init.sh" "$D" \
        </dev/null >"$D/log/holder.log" 2>&1 9>&- &
    u=$!
    until_true 100 test -e "$D/run/ready" || die "no namespaces: $(cat "$D/log/holder.log")"
    note_pid holder "$(cut -d' ' -f1 <"/proc/$u/task/$u/children")"
}

# Not every kernel has the dummy driver: an empty bridge carries the node's address. It also swallows packets to pods
# and Services that kube-proxy did not turn elsewhere, and gives the route that ClusterIPs need before that. There is no
# way out of this network. Pods get a route to NET only.
network() {
    local guard=$K8S_NAME-g
    net sysctl -qw net.ipv4.ip_forward=1
    net sysctl -qw net.bridge.bridge-nf-call-iptables=1 2>/dev/null || true
    if ! net ip link show "$guard" >/dev/null 2>&1; then
        net ip link set lo up
        net ip link add "$guard" type bridge
        net ip addr add $NODE_IP/32 dev "$guard"
        net ip link set "$guard" up
    fi
    net ip route replace $NET dev "$guard" src $NODE_IP
}

# Parents of our own for pods (NAME) and daemons (NAME.sys), so that another kubelet is not disturbed: under every
# controller of cgroup v1, with cpuset filled in; under the one tree of v2.
cgroups() {
    local c f root=/sys/fs/cgroup
    if [ "$(stat -fc %T $root)" = cgroup2fs ]; then
        sed 's/\</+/g' $root/cgroup.controllers >$root/cgroup.subtree_control
        mkdir -p "$root/$K8S_NAME" "$root/$K8S_NAME.sys"
        DAEMON_CGROUPS=$root/$K8S_NAME.sys
        return 0
    fi
    for c in "$root"/*/; do
        case $c in */unified/) continue ;; esac
        mkdir -p "$c$K8S_NAME"
        if [ -e "${c}cpuset.cpus" ]; then
            for f in cpuset.cpus cpuset.mems; do cat "$c$f" >"$c$K8S_NAME/$f"; done
        fi
        if [ -e "${c}memory.use_hierarchy" ]; then
            echo 1 2>/dev/null >"$c$K8S_NAME/memory.use_hierarchy" || true
        fi
    done
    DAEMON_CGROUPS="$root/cpuacct/$K8S_NAME.sys $root/memory/$K8S_NAME.sys"
    mkdir -p $DAEMON_CGROUPS
}

# ctr says once a call that cgroup v1 is old.
ctr() {
    node env CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS=1 "$B/ctr" -a "$D/run/containerd.sock" -n k8s.io "$@"
}
start_containerd() {
    local s=io.containerd.snapshotter.v1
    # NRI is off: its socket has a fixed path. Without CAP_SYS_RESOURCE scores may only be raised.
    put "$D/conf/containerd.toml" <<T
version = 3
root = "$D/containerd"
state = "$D/containerd-state"
disabled_plugins = ["$s.btrfs", "$s.zfs", "$s.devmapper", "$s.blockfile", "$s.erofs", "io.containerd.internal.v1.opt",
  "io.containerd.nri.v1.nri"]
[grpc]
  address = "$D/run/containerd.sock"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = 'localhost/pause:1'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = 'runc'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = 'io.containerd.runc.v2'
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ['/usr/lib/cni']
    conf_dir = '$D/cni'
T
    put "$D/cni/10-bridge.conflist" <<J
{"cniVersion": "0.4.0", "name": "$K8S_NAME", "plugins": [
  {"type": "bridge", "bridge": "$K8S_NAME-b", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "/var/lib/cni/networks", "routes": [{"dst": "$NET"}],
            "ranges": [[{"subnet": "$POD_CIDR", "gateway": "$POD_GATEWAY"}]]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
J
    # It looks for the shim in PATH.
    start containerd env PATH="$B:$PATH" "$B/containerd" -c "$D/conf/containerd.toml" --log-level warn
    until_true 200 ctr version || die "containerd: $(tail -n 3 "$D/log/containerd.log")"
}

# Those that are not in containerd yet, or were made anew since. An import that was cut off counts for nothing.
import_images() {
    local n stamp
    for n in pause busybox python; do
        stamp=$D/images/$n.key
        if cmp -s "$K8S_IMAGES/$n.key" "$stamp"; then continue; fi
        ctr images import "$K8S_IMAGES/$n.tar" >/dev/null || return 1
        cp "$K8S_IMAGES/$n.key" "$stamp"
    done
    stamp=$D/images/millrace.key
    if [ ! -e "$D/images/millrace.tar" ] || cmp -s "$D/images/millrace.made" "$stamp"; then return 0; fi
    ctr images import "$D/images/millrace.tar" >/dev/null || return 1
    cp "$D/images/millrace.made" "$stamp"
}

# Ready may be left over from before a restart: the heartbeat must be no older than this kubelet.
node_ready() {
    api "$API/api/v1/nodes/$K8S_NODE" | jq -e --arg since "$(date -u -r "$D/run/kubelet.pid" +%FT%TZ)" \
        'any(.status.conditions[]?; .type == "Ready" and .status == "True" and .lastHeartbeatTime >= $since)'
}
start_kubelet() {
    local gpus=${K8S_GPUS:-8} product=${K8S_GPU_PRODUCT:-NVIDIA-H100-80GB-HBM3} _
    : >"$D/conf/resolv.conf"
    # - failCgroupV1: true would be the default. EventedPLEG (alpha): learns of exits by events, so that a Job that
    #   does nothing takes 1 s instead of 3.
    # - clusterDNS: without it an empty resolvConf lets the machine's own through to the pods.
    # - nodeStatusUpdateFrequency: with the default the first Ready comes 10 s late; nodeStatusReportFrequency would
    #   follow it, a write every second.
    put "$D/conf/kubelet.yaml" <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $P/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $P/kubelet.crt
tlsPrivateKeyFile: $P/kubelet.key
address: $NODE_IP
port: $KUBELET_PORT
readOnlyPort: 0
healthzPort: $KUBELET_HEALTHZ_PORT
cgroupDriver: cgroupfs
cgroupRoot: /$K8S_NAME
featureGates: {EventedPLEG: true}
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix://$D/run/containerd.sock
volumePluginDir: $D/volplugins
clusterDNS: [$DNS_IP]
clusterDomain: cluster.local
resolvConf: $D/conf/resolv.conf
evictionHard: {memory.available: 100Mi}
imageGCHighThresholdPercent: 100
maxPods: 500
kubeAPIQPS: 1000
kubeAPIBurst: 2000
eventRecordQPS: 0
registryPullQPS: 0
nodeStatusUpdateFrequency: 1s
nodeStatusReportFrequency: 5m
Y
    start kubelet "$B/kubelet" --kubeconfig="$D/conf/kubelet.conf" --config="$D/conf/kubelet.yaml" \
        --hostname-override="$K8S_NODE" --node-ip=$NODE_IP --root-dir=/var/lib/kubelet --cert-dir="$P" \
        --node-labels="nvidia.com/gpu.product=$product" ${K8S_KUBELET_ARGS:-}
    for _ in $(seq 600); do
        if node_ready >/dev/null 2>&1; then break; fi
        alive kubelet || die "the kubelet ended: $(tail -n 3 "$D/log/kubelet.log")"
        sleep 0.1
    done
    node_ready >/dev/null || die "the node does not become Ready: $(tail -n 3 "$D/log/kubelet.log")"
    # Invented GPUs: what the scheduler counts is only this number. The kubelet leaves it alone.
    jq -n --arg n "$gpus" '[("capacity", "allocatable") |
        {op: "add", path: "/status/\(.)/nvidia.com~1gpu", value: $n}]' |
        api -o /dev/null -X PATCH -H 'Content-Type: application/json-patch+json' --data-binary @- \
            "$API/api/v1/nodes/$K8S_NODE/status"
}

start_proxy() { # conntrack: those limits cannot be written in a network namespace
    put "$D/conf/proxy.yaml" <<Y
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $D/conf/proxy.conf}
mode: iptables
clusterCIDR: $POD_CIDR
hostnameOverride: $K8S_NODE
bindAddress: $NODE_IP
healthzBindAddress: 127.0.0.1:$PROXY_HEALTHZ_PORT
metricsBindAddress: 127.0.0.1:$PROXY_METRICS_PORT
oomScoreAdj: 0
iptables: {minSyncPeriod: 100ms, syncPeriod: 30s}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
Y
    start proxy "$B/kube-proxy" --config="$D/conf/proxy.yaml"
    until_true 100 net curl -fs http://127.0.0.1:$PROXY_HEALTHZ_PORT/healthz ||
        die "kube-proxy: $(tail -n 3 "$D/log/proxy.log")"
}
