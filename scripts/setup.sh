#!/usr/bin/env bash
# Installs what Artel builds with, from the packages of Debian 12 / Ubuntu 24.04 or newer. Does nothing when all is there.
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache
  libdnnl-dev          # oneDNN: matrix products on the CPU
  libyaml-cpp-dev libspdlog-dev libcli11-dev nlohmann-json3-dev
  libopenmpi-dev openmpi-bin  # several ranks
  catch2               # tests
  python3 curl         # corpus and helper scripts
)
# With --dev also what only the checks of scripts/test.sh --full need.
if [[ "${1:-}" == "--dev" ]]; then packages+=(clang clang-format clang-tidy libclang-rt-dev); fi

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if ((${#missing[@]} == 0)); then exit 0; fi

if ! command -v apt-get >/dev/null; then
  echo "setup: required a Debian or Ubuntu system with apt-get; install the like of these by hand: ${missing[*]}" >&2
  exit 1
fi
as_root=()
if [[ $(id -u) -ne 0 ]]; then
  command -v sudo >/dev/null || { echo "setup: required root or sudo to install: ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "setup: installing ${missing[*]}"
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
