#!/usr/bin/env bash
# Installs what Artel builds with, from the packages of Debian 12 / Ubuntu 24.04 or newer. Does nothing when all is there.
#   scripts/setup.sh --dev         also clang and its tools: checks of format, emulated CUDA, sanitizers and fuzzing
#   scripts/setup.sh --find-cuda   prints where a CUDA toolkit of 12.8 or newer is, or nothing; installs nothing
# The toolkit is several gigabytes and is never installed from here.
set -euo pipefail

# The nvcc of the path, NVIDIA's own directory, or that of the distribution's nvidia-cuda-toolkit.
if [[ "${1:-}" == "--find-cuda" ]]; then
  on_path=$(command -v nvcc || true)
  for root in ${on_path:+"${on_path%/bin/nvcc}"} /usr/local/cuda /usr/lib/nvidia-cuda-toolkit; do
    [[ -x $root/bin/nvcc ]] || continue
    version=$("$root/bin/nvcc" --version | sed -n 's/.*release \([0-9]*\.[0-9]*\).*/\1/p')
    if [[ $(printf '%s\n12.8\n' "$version" | sort -V | head -1) == 12.8 ]]; then
      echo "$root"
      exit 0
    fi
    echo "setup: required CUDA 12.8 or newer, found $version in $root" >&2
  done
  echo "setup: found no nvcc on the path, in /usr/local/cuda and in the distribution's nvidia-cuda-toolkit" >&2
  exit 0
fi

packages=(
  g++ cmake ninja-build ccache
  libdnnl-dev          # oneDNN: matrix products on the CPU
  ocl-icd-opencl-dev   # what libdnnl-dev looks for and does not ask for
  libyaml-cpp-dev libspdlog-dev libcli11-dev nlohmann-json3-dev
  pkg-config libpcre2-dev libicu-dev  # tokenizers: split patterns, normal forms
  zlib1g-dev libzstd-dev              # packed text
  libopenmpi-dev openmpi-bin  # several ranks
  catch2               # tests
  python3 python3-yaml  # corpus and helper scripts
)
# What scripts/test.sh asks for where a part of it needs clang.
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
