#!/usr/bin/env bash
# Builds what scripts/gpu_check.sh builds, and starts it, in a system with cmake, ninja, g++, a CUDA toolkit and the packages
# of gpu_check.sh --pack, and nothing else: no python, git, ccache or libraries.
#   tests/scripts/bare_gpu_machine.sh FOLDER [G++ [SUITE]]   as root, with debootstrap and network; defaults: g++-13 trixie.
#   FOLDER is made, takes 1 GB and is left behind.
set -euo pipefail
folder=$(realpath -m "${1:?a folder to make the system in}")
compiler=${2:-g++-13}
suite=${3:-trixie}
cd "$(dirname "$0")/../.."
[[ -e $folder ]] && { echo "bare_gpu_machine: required a folder that does not exist, found $folder" >&2; exit 1; }
cuda_root=$(readlink -f "$(scripts/setup.sh --find-cuda)")

scripts/gpu_check.sh --pack
debootstrap --variant=minbase --include="cmake,ninja-build,$compiler" "$suite" "$folder" >/dev/null
ln -sf "$compiler" "$folder/usr/bin/g++"
ln -sf "$compiler" "$folder/usr/bin/c++"
ln -sf "${compiler/g++/gcc}" "$folder/usr/bin/cc"
ln -sf "${compiler/g++/gcc}" "$folder/usr/bin/gcc"
mkdir -p "$folder/root/artel/build" "$folder/usr/local/cuda"
git ls-files -z | xargs -0 cp --parents -t "$folder/root/artel"
cp -r build/gpu-packages "$folder/root/artel/build/"
mount --bind -o ro "$cuda_root" "$folder/usr/local/cuda"
trap 'umount "$folder/usr/local/cuda"' EXIT
chroot "$folder" bash -ec '
  cd /root/artel
  scripts/gpu_check.sh --build
  build/gpu-check/build/artel --version
  build/gpu-check/build/artel describe -c configs/quickstart/uoe.yaml >/dev/null
  build/gpu-check/build/tests/gpu/test_kernels_cuda --list-test-names-only >names || [[ -s names ]]
  build/gpu-check/build/tests/gpu/time_kernels 2>&1 | grep "required a config file"'
