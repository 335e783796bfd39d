#!/bin/bash
# The control plane of the test cluster: keys, kubeconfigs, etcd, apiserver, controller-manager, scheduler. Sourced by
# `up`, which calls these functions in order.
# shellcheck disable=SC2034,SC2086,SC2154,SC2206 # addresses, ports and names of lib.sh: no blanks

keys() { # elliptic curves: quick
    local n
    [ ! -f "$P/done" ] || return 0
    key() { openssl ecparam -name prime256v1 -genkey -noout -out "$P/$1.key" 2>/dev/null; }
    key ca
    openssl req -x509 -new -key "$P/ca.key" -subj /CN=millrace-test-ca -days 3650 -out "$P/ca.crt" 2>/dev/null
    certificate() { # NAME SUBJECT [ALTERNATIVE NAMES]
        key "$1"
        openssl req -new -key "$P/$1.key" -subj "$2" -out "$P/$1.csr" 2>/dev/null
        printf "keyUsage=digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\n%s\n" \
            "${3:+subjectAltName=$3}" >"$P/$1.ext"
        openssl x509 -req -in "$P/$1.csr" -CA "$P/ca.crt" -CAkey "$P/ca.key" -CAcreateserial -CAserial "$P/ca.srl" \
            -days 3650 -out "$P/$1.crt" -extfile "$P/$1.ext" 2>/dev/null
    }
    n=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost,IP:127.0.0.1
    certificate apiserver /CN=kube-apiserver "$n,IP:$SVC_FIRST,IP:$NODE_IP"
    certificate admin "/O=system:masters/CN=admin"
    certificate kcm "/CN=system:kube-controller-manager"
    certificate sched "/CN=system:kube-scheduler"
    certificate proxy "/CN=system:kube-proxy"
    certificate kubelet "/O=system:nodes/CN=system:node:$K8S_NODE" "DNS:$K8S_NODE,IP:127.0.0.1,IP:$NODE_IP"
    certificate front /CN=front-proxy # from the apiserver to metrics-server
    certificate metrics "/O=system:masters/CN=metrics-server" "DNS:metrics-server.kube-system.svc,IP:$NODE_IP"
    certificate dns "/O=system:masters/CN=coredns"
    certificate kwok "/O=system:masters/CN=kwok" "DNS:localhost,IP:127.0.0.1,IP:$NODE_IP"
    key sa
    openssl ec -in "$P/sa.key" -pubout -out "$P/sa.pub" 2>/dev/null
    chmod 600 "$P"/*.key
    touch "$P/done"
}

kubeconfig() { # FILE CERTIFICATE
    put "$1" <<Y
{"apiVersion": "v1", "kind": "Config", "current-context": "millrace-test",
 "clusters": [{"name": "c", "cluster": {"server": "$API",
   "certificate-authority-data": "$(base64 -w0 <"$P/ca.crt")"}}],
 "users": [{"name": "u", "user": {"client-certificate-data": "$(base64 -w0 <"$P/$2.crt")",
   "client-key-data": "$(base64 -w0 <"$P/$2.key")"}}],
 "contexts": [{"name": "millrace-test", "context": {"cluster": "c", "user": "u"}}]}
Y
    chmod 600 "$1"
}
kubeconfigs() {
    local n
    kubeconfig "$D/admin.conf" admin
    for n in kcm sched proxy kubelet metrics dns kwok; do kubeconfig "$D/conf/$n.conf" $n; done
}

start_etcd() { # all is forgotten with the machine: no fsync
    local client=http://127.0.0.1:$ETCD_PORT peer=http://127.0.0.1:$ETCD_PEER_PORT
    start etcd "$B/etcd" --data-dir "$D/etcd" --unsafe-no-fsync --logger zap --log-level warn \
        --listen-client-urls $client --advertise-client-urls $client \
        --listen-peer-urls $peer --initial-advertise-peer-urls $peer --initial-cluster default=$peer
}

# K8S_API_ARGS: more flags. For a 410 Expired: --feature-gates=ListFromCacheSnapshot=false, then a compaction of etcd
# (POST $K8S_ETCD/v3/kv/compaction {"revision":"N","physical":true}); without the flag lists at old revisions are served
# from the apiserver's own snapshots.
start_apiserver() {
    # shellcheck disable=SC2054 # the comma is part of the flag
    local flags=(
        --etcd-servers=http://127.0.0.1:$ETCD_PORT --secure-port=$API_PORT --bind-address=0.0.0.0
        --advertise-address=$NODE_IP --cert-dir="$P"
        --tls-cert-file="$P/apiserver.crt" --tls-private-key-file="$P/apiserver.key" --client-ca-file="$P/ca.crt"
        --service-account-key-file="$P/sa.pub" --service-account-signing-key-file="$P/sa.key"
        --service-account-issuer=https://kubernetes.default.svc --authorization-mode=Node,RBAC
        --service-cluster-ip-range=$SVC_CIDR --allow-privileged=true --profiling=false
        --kubelet-client-certificate="$P/admin.crt" --kubelet-client-key="$P/admin.key"
        --kubelet-certificate-authority="$P/ca.crt" --kubelet-preferred-address-types=InternalIP
        --requestheader-client-ca-file="$P/ca.crt" --requestheader-allowed-names=front-proxy
        --requestheader-extra-headers-prefix=X-Remote-Extra- --requestheader-group-headers=X-Remote-Group
        --requestheader-username-headers=X-Remote-User
        --proxy-client-cert-file="$P/front.crt" --proxy-client-key-file="$P/front.key"
        --enable-aggregator-routing=true # the way to metrics-server
        --max-requests-inflight=1000 --max-mutating-requests-inflight=500
        --etcd-compaction-interval=5m --event-ttl=1h
    )
    start apiserver "$B/kube-apiserver" "${flags[@]}" ${K8S_API_ARGS:-}
}
wait_for_apiserver() {
    local _
    for _ in $(seq 600); do
        if api "$API/readyz" >/dev/null 2>&1; then return 0; fi
        alive apiserver || die "the apiserver ended: $(tail -n 3 "$D/log/apiserver.log")"
        sleep 0.1
    done
    die "the apiserver does not become ready: $(tail -n 3 "$D/log/apiserver.log")"
}

start_controllers() { # with the default rate limits the clients would be what is measured
    local own
    own() {
        echo "--kubeconfig=$D/conf/$1.conf --authentication-kubeconfig=$D/conf/$1.conf" \
            "--authorization-kubeconfig=$D/conf/$1.conf --bind-address=127.0.0.1 --secure-port=$2 --cert-dir=$P"
    }
    # shellcheck disable=SC2046
    start kcm "$B/kube-controller-manager" $(own kcm $KCM_PORT) \
        --service-account-private-key-file="$P/sa.key" --root-ca-file="$P/ca.crt" \
        --use-service-account-credentials=true --leader-elect=false --kube-api-qps=1000 --kube-api-burst=2000 \
        --horizontal-pod-autoscaler-sync-period=15s ${K8S_KCM_ARGS:-}
    put "$D/conf/sched.yaml" <<Y
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {kubeconfig: $D/conf/sched.conf, qps: 1000, burst: 2000}
leaderElection: {leaderElect: false}
Y
    # shellcheck disable=SC2046
    start sched "$B/kube-scheduler" --config="$D/conf/sched.yaml" $(own sched $SCHED_PORT)
}

# There are no Secrets of default tokens any more: pods can start when this configmap is there.
wait_for_accounts() {
    local space=$API/api/v1/namespaces/default
    until_true 300 api "$space/serviceaccounts/default" || die "no default service account"
    until_true 300 api "$space/configmaps/kube-root-ca.crt" || die "no configmap with the cluster's certificate"
}
