#!/bin/bash
# What the scripts of the test cluster share: where things lie and what they are called, how a daemon is started in the
# cluster's namespaces and how all of it ends. Sourced, never run.
# shellcheck disable=SC2013,SC2015,SC2034,SC2044 # names are used by those who source it; lists are of numbers

: "${MILLRACE_CLUSTER_CACHE:=${XDG_CACHE_HOME:-$HOME/.cache}/millrace/cluster}"
: "${K8S_BIN:=$MILLRACE_CLUSTER_CACHE/bin}"       # what tests/cluster/build makes
: "${K8S_IMAGES:=$MILLRACE_CLUSTER_CACHE/images}" # what tests/cluster/images makes
: "${K8S_DIR:=$MILLRACE_CLUSTER_CACHE/state}"     # everything that one cluster writes
: "${K8S_NAME:=millrace}"                         # of its cgroups and interfaces; at most 9 characters
: "${K8S_NODE:=node1}"
case $K8S_DIR$K8S_BIN in /*/*) ;; *) echo "cluster: K8S_DIR must begin with /" >&2 && exit 1 ;; esac
D=$K8S_DIR P=$K8S_DIR/pki B=$K8S_BIN

# Addresses of the range for benchmarks (RFC 2544): they exist only in the cluster's network namespace, so neither they
# nor the ports can collide with anything, not even with a second cluster (other K8S_DIR and K8S_NAME).
NET=198.18.0.0/15 NODE_IP=198.18.255.1
POD_CIDR=198.18.0.0/22 POD_GATEWAY=198.18.0.1 FAKE_POD_CIDR=198.18.128.0/18
SVC_CIDR=198.19.0.0/16 SVC_FIRST=198.19.0.1 DNS_IP=198.19.0.10
ETCD_PORT=22379 ETCD_PEER_PORT=22380 API_PORT=26443 KCM_PORT=20257 SCHED_PORT=20259
KUBELET_PORT=20250 KUBELET_HEALTHZ_PORT=20248 PROXY_HEALTHZ_PORT=20256 PROXY_METRICS_PORT=20249
METRICS_PORT=20251 DNS_PORT=20053 KWOK_PORT=20247 KUEUE_PORT=20252 KUEUE_HEALTHZ_PORT=20253 KUEUE_METRICS_PORT=20254
API=https://127.0.0.1:$API_PORT

die() {
    echo "cluster: $*" >&2
    exit 1
}
# How long each part took, for `up`.
lap() {
    local now
    now=$(date +%s%N)
    printf '%-34s %6d ms\n' "$1" $(((now - LAP) / 1000000))
    LAP=$now
}
# put FILE: standard input, written only if it differs: kube-proxy exits when its file is rewritten.
put() {
    local t
    t=$(mktemp "$D/run/put.XXXXXX")
    cat >"$t"
    if cmp -s "$t" "$1"; then rm -f "$t"; else mv "$t" "$1"; fi
}
# until_true TRIES COMMAND…: every 0.1 s
until_true() {
    local n=$1
    shift
    until "$@" >/dev/null 2>&1; do
        n=$((n - 1))
        [ $n -gt 0 ] || return 1
        sleep 0.1
    done
}

# ---- processes: a number may belong to another process by now, so NAME.pid says when its own was born, too ---------

# born PID: in ticks since boot; nothing if it does not run. A command line would not do: it is empty during exec.
born() { sed -n 's/.*) [^ZX] //p' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f19; }
note_pid() { echo "$2 $(born "$2")" >"$D/run/$1.pid"; } # NAME PID
pid_of() { cut -d' ' -f1 "$D/run/$1.pid" 2>/dev/null; }
alive() {
    local p b
    read -r p b 2>/dev/null <"$D/run/$1.pid" && [ -n "$b" ] && [ "$(born "$p")" = "$b" ]
}
# The process that holds the namespaces, and the `unshare` that waits for it: also of an `up` that was killed before it
# could write down their numbers.
holders() { # one grep over all, that does not find itself
    local f
    for f in $(grep -lsa 'run/[i]nit\.sh' /proc/[0-9]*/cmdline); do
        if grep -qsazxF -- "$D/run/init.sh" "$f"; then f=${f#/proc/} && echo "${f%/*}"; fi
    done
}
net() { nsenter -t "$(pid_of holder)" --net -- "$@"; }
node() { nsenter -t "$(pid_of holder)" --mount --pid --net -- "$@"; }

# start NAME COMMAND…: in the namespaces, with a session and a log of its own, in the daemons' cgroup (pods are in the
# other one), and its number as seen from outside in a file. Descriptor 9 is the lock of `up`.
start() {
    local n=$1 w c="" enter holder # asked before: the shell that becomes setsid must have no other child
    shift
    if alive "$n"; then return 0; fi
    holder=$(pid_of holder)
    # shellcheck disable=SC2016 # for the inner shell
    enter='for g in '"$DAEMON_CGROUPS"'; do echo 0 >$g/cgroup.procs; done; exec "$@"'
    echo "---- started $(date -u +%FT%TZ) ----" >>"$D/log/$n.log" # so that the end of the log is this one's
    setsid nsenter -t "$holder" --mount --pid --net --wd="$D" -- sh -c "$enter" sh "$@" \
        </dev/null >>"$D/log/$n.log" 2>&1 9>&- &
    w=$!
    for _ in $(seq 100); do
        c=$(cut -d' ' -f1 <"/proc/$w/task/$w/children" 2>/dev/null || true)
        if [ -n "$c" ]; then break; fi
        sleep 0.02
    done
    [ -n "$c" ] || die "$n did not start: $(tail -n 5 "$D/log/$n.log")"
    note_pid "$n" "$c"
}

# ---- the API ------------------------------------------------------------------------------------------------------

# curl in place of kubectl: no 100 ms to start up
api() { net curl -fsS --cacert "$P/ca.crt" --cert "$P/admin.crt" --key "$P/admin.key" "$@"; }
kctl() { net env KUBECONFIG="$D/admin.conf" "$B/kubectl" "$@"; }
# ensure COLLECTION NAME JSON: create it if it is not there. Look first: an existing clusterIP says 422, not 409.
ensure() {
    api -o /dev/null "$API$1/$2" 2>/dev/null ||
        api -o /dev/null -X POST -H 'Content-Type: application/json' "$API$1" -d "$3" || die "cannot create $1/$2"
}

# ---- the end -------------------------------------------------------------------------------------------------------

# Processes of the machine that were started in the cluster's network (k8s_in): servers that a test forgot.
guests() { # NETWORK
    local p mine
    mine=$(readlink /proc/self/ns/pid)
    [ -n "$1" ] && [ "$1" != "$(readlink /proc/self/ns/net)" ] || return 0
    for p in $(find /proc/[0-9]*/ns/net -maxdepth 0 -lname "net:\\[${1//[^0-9]/}\\]" 2>/dev/null); do
        p=${p%/ns/net}
        [ "$(readlink "$p/ns/pid" 2>/dev/null)" = "$mine" ] || continue
        case $(cat "$p/comm" 2>/dev/null) in nsenter | unshare) ;; *) echo "${p#/proc/}" ;; esac
    done
}
gone() { # PID…: none of them runs any more. One that its parent has not asked about yet does not count.
    local p
    for p in "$@"; do ! grep -qs '^State:.[^ZX]' "/proc/$p/status" || return 1; done
}
# Ends all that `up` started, also half of it. Only the state folder is left.
take_down() {
    local n p list network="" name
    name=$(cat "$D/run/name" 2>/dev/null || echo "$K8S_NAME")
    list=$(holders)
    for p in $list; do network=$(readlink "/proc/$p/ns/net" 2>/dev/null || true); done
    if [ -n "$list" ]; then
        # shellcheck disable=SC2046 # numbers
        kill -TERM $(guests "$network") 2>/dev/null || true
        for n in kubelet proxy sched kcm kwok kueue metrics coredns apiserver etcd; do
            # On TERM the apiserver waits up to a minute for those who watch, and etcd for it.
            p=$([ $n = apiserver ] && echo KILL || echo TERM)
            if alive $n; then kill -"$p" "$(pid_of $n)" 2>/dev/null || true; fi
        done
        p=$(pid_of etcd) && until_true 20 gone "$p" || true
        p=$(guests "$network")
        # shellcheck disable=SC2086
        if [ -n "$p" ] && ! until_true 50 gone $p; then kill -KILL $p 2>/dev/null || true; fi
        # Process 1 of the namespaces: all shims, containers and mounts go with it.
        # shellcheck disable=SC2086
        kill -KILL $list 2>/dev/null || true
        # shellcheck disable=SC2086
        until_true 100 gone $list || die "processes $list do not end"
    fi
    for p in /sys/fs/cgroup/{,*/}"$name" /sys/fs/cgroup/{,*/}"$name.sys"; do
        if [ -d "$p" ]; then find "$p" -depth -type d -exec rmdir {} \; 2>/dev/null || true; fi
    done
    rm -f "$D"/run/*.pid "$D"/run/put.* "$D/run/ready" "$D/run/unfinished" "$D/env"
}
