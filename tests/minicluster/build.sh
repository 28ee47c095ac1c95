#!/usr/bin/env bash
# Builds the cluster for tests into target/minicluster/minicluster (of CARGO_TARGET_DIR, if that is set) and prints the
# path. Does nothing when neither the module's files nor the Go version changed since the last build. Needs Go only.
#
#   build.sh            build if needed, print the path
#   build.sh test       run the module's tests (seconds: none of them links Kubernetes), with the same build settings
set -euo pipefail
module=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=${CARGO_TARGET_DIR:-$module/../../target}
mkdir -p "$target/minicluster"
out=$(cd "$target/minicluster" && pwd)

command -v go >/dev/null || { echo "error: no go in PATH; wanted Go 1.26.4 or newer, to build the cluster for tests" >&2; exit 1; }
export CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false -tags=notest,grpcnotrace,retrynotrace"
cd "$module"
if [ "${1:-}" = test ]; then
  unformatted=$(gofmt -l .)
  [ -z "$unformatted" ] || { echo "error: gofmt has something to say about: $unformatted" >&2; exit 1; }
  exec go test ./...
fi

# One build at a time, however many test programs start at once.
exec 9>"$out/lock"
flock 9
stamp=$({ go version; find . -type f \( -name '*.go' -o -name 'go.*' -o -name build.sh \) ! -name '*_test.go' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum; } | sha256sum)
if [ ! -x "$out/minicluster" ] || [ "$stamp" != "$(cat "$out/stamp" 2>/dev/null)" ]; then
  echo "building the cluster for tests (some minutes the first time)" >&2
  # Without these the API server calls itself v0.0.0-master+$Format:%H$, and kubectl refuses to parse that.
  version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
  IFS=. read -r major minor _ <<<"${version#v}"
  flags="-s -w"
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor -X $package.gitTreeState=clean"
  done
  go build -ldflags "$flags" -o "$out/minicluster.new" . >&2
  mv "$out/minicluster.new" "$out/minicluster"
  echo "$stamp" >"$out/stamp"
fi
echo "$out/minicluster"
