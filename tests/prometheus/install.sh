#!/usr/bin/env bash
# Fetches Debian's package of Prometheus into target/prometheus (of CARGO_TARGET_DIR, if that is set), without installing
# it, and prints the path of the program. Does nothing when it is there already. Needs apt and dpkg only.
#
#   PROMETHEUS=/path/to/prometheus   a program of your own instead
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
fail() { echo "error: $1" >&2; echo "hint: $2" >&2; exit 1; }

if [ -n "${PROMETHEUS:-}" ]; then
  [ -x "$PROMETHEUS" ] || fail "PROMETHEUS=$PROMETHEUS is no program" "name the binary, as /usr/bin/prometheus"
  echo "$PROMETHEUS"
  exit 0
fi
target=${CARGO_TARGET_DIR:-$here/../../target}
mkdir -p "$target/prometheus"
out=$(cd "$target/prometheus" && pwd)

# One fetch at a time, however many test programs start at once.
exec 9>"$out/lock"
flock 9
if [ ! -x "$out/usr/bin/prometheus" ]; then
  for tool in apt-get dpkg; do
    command -v "$tool" >/dev/null ||
      fail "no $tool in PATH; wanted Debian's or Ubuntu's, to fetch Prometheus for tests" "install Prometheus yourself and set PROMETHEUS to its path"
  done
  echo "fetching Prometheus for tests (20 MB)" >&2
  rm -rf "$out/new"
  mkdir "$out/new"
  fetch() { (cd "$out/new" && apt-get -qq download prometheus) >&2; }
  # The lists of packages may be missing or old.
  fetch 2>/dev/null || { apt-get -qq update >&2 && fetch; } ||
    fail "apt-get cannot download the package prometheus" "run \`apt-get update\` as root, or set PROMETHEUS to the path of a Prometheus"
  dpkg -x "$out"/new/prometheus_*.deb "$out/new"
  rm -rf "$out/usr"
  mv "$out/new/usr" "$out/usr"
  rm -rf "$out/new"
fi
echo "$out/usr/bin/prometheus"
