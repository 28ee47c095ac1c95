#!/usr/bin/env bash
# What the daemon costs: three nodes, ten Deployments of five opted-in pods with two probes each, in steady state.
#
#   benches/daemon.sh [MINUTES]      ten unless told; prints a table
#
# Memory and CPU are the kernel's own count of the process, requests are the API server's (its audit log, by the daemon's
# account). The first minute, with its lists and first fill, is told apart. Needs the Rust and Go toolchains only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
minutes=${1:-10}
mini=$(tests/minicluster/build.sh)
cargo build --release --locked --quiet
program=${CARGO_TARGET_DIR:-target}/release/probe-tuner
dir=$(mktemp -d)
daemon= supervisor=
stop() {
  [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
  "$mini" down --dir "$dir/c" --wipe >/dev/null 2>&1 || true
  rm -rf "$dir"
}
trap stop EXIT

"$mini" up --dir "$dir/c" --nodes 3 >"$dir/up.log" 2>&1 &
supervisor=$!
until grep -q '^ready' "$dir/up.log"; do
  kill -0 "$supervisor" || { cat "$dir/up.log" >&2; exit 1; }
  sleep 0.2
done
export KUBECONFIG=$dir/c/kubeconfig
k() { "$mini" kubectl "$@"; }
until k apply -k deploy/manifests >/dev/null 2>&1; do sleep 1; done
k create namespace shop >/dev/null
k annotate namespace shop probe-tuner.io/mode=auto >/dev/null
until k get serviceaccount default -n shop >/dev/null 2>&1; do sleep 0.2; done
for i in $(seq 10); do
  cat <<YAML
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web-$i, namespace: shop}
spec:
  replicas: 5
  selector: {matchLabels: {app: web-$i}}
  template:
    metadata:
      labels: {app: web-$i}
      annotations: {minicluster.probe-tuner.io/app: '[{"steps":[{"at":0,"ms":8}]}]'}
    spec:
      containers:
      - name: app
        image: example/web:1
        ports: [{containerPort: 8080}]
        livenessProbe: {httpGet: {path: /live, port: 8080}}
        readinessProbe: {httpGet: {path: /ready, port: 8080}}
YAML
done | k apply -f - >/dev/null
k wait --for=condition=Available --timeout=120s -n shop deployment --all >/dev/null

account=$("$mini" kubeconfig --dir "$dir/c" probe-tuner/probe-tuner)
"$program" run --kubeconfig "$account" --listen 127.0.0.1:0 >"$dir/daemon.log" 2>&1 &
daemon=$!
ticks() { awk '{ print $14 + $15 }' "/proc/$daemon/stat"; }
asked() { grep -c '"username":"system:serviceaccount:probe-tuner:probe-tuner"' "$dir/c/audit.log" || true; }
ours() { grep '"username":"system:serviceaccount:probe-tuner:probe-tuner"' "$dir/c/audit.log" | tail -n "+$((after_start + 1))"; }

sleep 60
after_start=$(asked) before=$(ticks) began=$(date +%s)
sleep $((minutes * 60))
kill -0 "$daemon" || { tail "$dir/daemon.log" >&2; exit 1; }
seconds=$(($(date +%s) - began))
requests=$(($(asked) - after_start)) used=$(($(ticks) - before))
writes=$(ours | grep -E '"verb":"(create|update|patch|delete)"' | grep -vcE 'dryRun=All|serviceaccounts|subjectaccessreviews|tokenreviews' || true)
lists=$(ours | grep '"verb":"list"' | grep -vc 'metrics.k8s.io' || true)
rss=$(awk '/^VmRSS/ { print $2 }' "/proc/$daemon/status") peak=$(awk '/^VmHWM/ { print $2 }' "/proc/$daemon/status")
awk -v s="$seconds" -v hz="$(getconf CLK_TCK)" -v used="$used" -v rss="$rss" -v peak="$peak" -v q="$requests" -v w="$writes" \
  -v l="$lists" -v size="$(stat -c %s "$program")" -v start="$after_start" 'BEGIN {
  printf "%-52s %10s %s\n", "after " s " s, 50 pods on 3 nodes", "", "goal"
  printf "%-52s %10.1f %s\n", "resident, MiB", rss / 1024, "32"
  printf "%-52s %10.1f\n", "  at its peak, MiB", peak / 1024
  printf "%-52s %10.2f %s\n", "CPU, % of a core", 100 * used / hz / s, "1"
  printf "%-52s %10.1f %s\n", "requests to the API server a minute", 60 * q / s, "20"
  printf "%-52s %10.2f %s\n", "  of these writes", 60 * w / s, "1"
  printf "%-52s %10d %s\n", "  list calls besides metrics.k8s.io, in all", l, "0"
  printf "%-52s %10d\n", "requests in the first minute", start
  printf "%-52s %10.1f %s\n", "release binary, MB", size / 1e6, "20"
}'
