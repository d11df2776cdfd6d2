#!/usr/bin/env bash
# What Artel does on the GPU of this machine, within eight minutes: builds without MPI and oneDNN, runs the tests of every
# kernel, trains the quickstart pair, times every kernel against what the card could do, runs 50 steps of the 1B model.
# A short table comes last; build/gpu-check/result.json has the same and more, with device and driver.
#   scripts/gpu_check.sh          needs CUDA 12.8 or newer, cmake, ninja and g++ only; no network
#   scripts/gpu_check.sh --build  only builds, without a limit of time; needs no GPU
#   scripts/gpu_check.sh --pack   beforehand, on a machine with network and apt: puts the libraries that Artel builds with
#                                 into build/gpu-packages, to be taken along with the tree (unpacked packages, under 64 MiB)
set -uo pipefail
cd "$(dirname "$0")/.."
packages_folder=build/gpu-packages
out=build/gpu-check
limit_seconds=480
build_seconds=300
build_only=false

pack() {
  local packages=(libyaml-cpp-dev libspdlog-dev libfmt-dev libcli11-dev nlohmann-json3-dev catch2) folder size
  # The libraries behind the -dev packages carry their version in their names.
  local -a libraries
  mapfile -t libraries < <(apt-cache depends libyaml-cpp-dev libspdlog-dev libfmt-dev | sed -n 's/^ *Depends: *//p' |
    grep -E '^lib(yaml-cpp|spdlog|fmt)[0-9.]+' | sort -u)
  folder=$(mktemp -d)
  (cd "$folder" && apt-get download -q "${packages[@]}" "${libraries[@]}") || return 1
  rm -rf "$packages_folder"
  mkdir -p "$packages_folder"
  for package in "$folder"/*.deb; do
    dpkg -x "$package" "$packages_folder" || return 1
    basename "$package" >>"$packages_folder/PACKAGES"
  done
  rm -rf "$folder" "$packages_folder"/usr/share/{doc,lintian,man}
  # Not every way of carrying a tree keeps symbolic links.
  find "$packages_folder" -type l | while read -r link; do
    target=$(readlink -f "$link")
    rm "$link"
    [[ -f $target ]] && cp "$target" "$link"
  done
  size=$(du -sm "$packages_folder" | cut -f 1)
  echo "gpu_check: $(wc -l <"$packages_folder/PACKAGES") packages, $size MiB, in $packages_folder"
  ((size <= 64)) || { echo "gpu_check: required at most 64 MiB, found $size" >&2; return 1; }
}

case "${1:-}" in
  --pack) pack; exit ;;
  --build) build_only=true build_seconds=7200 limit_seconds=7200 ;;
  "") ;;
  *) echo "gpu_check: unknown argument '$1'; see the top of scripts/gpu_check.sh" >&2; exit 1 ;;
esac

mkdir -p "$out"
names=()
states=()
notes=()
row() {  # name, ok | FAILED | not run, note
  names+=("$1")
  states+=("$2")
  notes+=("$3")
  echo "$1: $2 $3"
}
left() { echo $((limit_seconds - SECONDS)); }

# name, seconds at most, command…: its output is in $out/NAME.log, what it says on stderr in $out/NAME.errors; 0 if it came
# to a good end
stage() {
  local name=$1 seconds=$2 started=$SECONDS status said
  shift 2
  ((seconds > $(left))) && seconds=$(left)
  if ((seconds < 5)); then row "$name" "not run" "no time left"; return 1; fi
  said="$out/${name// /-}.log"
  timeout "$seconds" "$@" >"$said" 2>"${said%.log}.errors"
  status=$?
  if ((status == 0)); then return 0; fi
  [[ -s ${said%.log}.errors ]] && said="${said%.log}.errors"
  row "$name" FAILED "$( ((status == 124)) && echo "not done after $seconds s" || echo "exit code $status"), $((SECONDS - started)) s: $(grep -v '^ *$' "$said" | tail -1 | cut -c1-100)"
  return 1
}

json_text() { sed 's/\\/\\\\/g; s/"/\\"/g' <<<"$1"; }

finish() {
  local i failed=0
  {
    printf '{\n "device": "%s",\n "driver": "%s",\n "toolkit": "%s",\n "commit": "%s",\n "seconds": %s,\n "stages": [\n' \
      "$(json_text "$device")" "$driver" "$toolkit" "$commit" "$SECONDS"
    for i in "${!names[@]}"; do
      printf '  {"name": "%s", "state": "%s", "note": "%s"}%s\n' "$(json_text "${names[i]}")" "${states[i]}" \
        "$(json_text "${notes[i]}")" "$( ((i + 1 < ${#names[@]})) && echo ,)"
    done
    printf ' ],\n "kernels": %s,\n "model_1b": %s\n}\n' "$(cat "$out/kernels.json" 2>/dev/null || echo null)" \
      "$(cat "$out/1b.json" 2>/dev/null || echo null)"
  } >"$out/result.json"
  [[ -f $out/time-kernels.log ]] && cat "$out/time-kernels.log"
  echo
  echo "$device, driver $driver, CUDA $toolkit, commit $commit, $SECONDS s"
  for i in "${!names[@]}"; do
    printf '%-22s %-8s %s\n' "${names[i]}" "${states[i]}" "${notes[i]}"
    [[ ${states[i]} == ok ]] || failed=1
  done
  echo "wrote $out/result.json"
  exit $failed
}

cuda_root=$(scripts/setup.sh --find-cuda)
toolkit="none"
device=$(nvidia-smi --query-gpu=name --format=csv,noheader -i 0 2>/dev/null || echo "no GPU")
driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader -i 0 2>/dev/null || echo "none")
commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader -i 0 2>/dev/null | tr -d .)
if $build_only; then capability=${capability:-90}; fi
if [[ -z $cuda_root || -z $capability ]]; then
  row "machine" FAILED "required a CUDA toolkit and a GPU, found toolkit '${cuda_root:-none}', $device"
  finish
fi
toolkit=$("$cuda_root/bin/nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')
export PATH="$cuda_root/bin:$PATH"

# ---- build
arguments=(-G Ninja -S . -B "$out/build" -DCMAKE_BUILD_TYPE=Release -DARTEL_CUDA=ON -DARTEL_MPI=OFF -DARTEL_ONEDNN=OFF
  -DARTEL_TOKENIZERS=OFF -DARTEL_EMULATOR=OFF -DARTEL_WARNINGS_AS_ERRORS=OFF "-DCMAKE_CUDA_ARCHITECTURES=$capability" "-DCMAKE_CUDA_COMPILER=$cuda_root/bin/nvcc")
if [[ -d $packages_folder ]]; then
  root=$PWD/$packages_folder/usr
  libraries=$(dirname "$(find "$root/lib" -name 'libyaml-cpp.so' | head -1)")
  arguments+=("-DCMAKE_PREFIX_PATH=$root" "-DCMAKE_INCLUDE_PATH=$root/include" "-DCMAKE_LIBRARY_PATH=$libraries"
    "-DCMAKE_BUILD_RPATH=$libraries" -DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags)  # for libraries of libraries too
  for library in yaml-cpp spdlog fmt CLI11 nlohmann_json Catch2; do
    config=$(find "$root" -iname "${library}Config.cmake" -o -iname "${library}-config.cmake" | head -1)
    [[ -n $config ]] && arguments+=("-D${library}_DIR=$(dirname "$config")")
  done
fi
started=$SECONDS
stage "configure" 60 cmake "${arguments[@]}" || finish
stage "build" $build_seconds cmake --build "$out/build" --target artel test_kernels_cuda test_model_cuda time_kernels || finish
row "build" ok "$((SECONDS - started)) s"
if $build_only; then finish; fi

# ---- kernels against their references
started=$SECONDS
if stage "kernel tests" 150 "$out/build/tests/gpu/test_kernels_cuda" '~[slow]'; then
  row "kernel tests" ok "$(tail -2 "$out/kernel-tests.log" | head -1), $((SECONDS - started)) s"
fi

started=$SECONDS
if stage "model tests" 60 "$out/build/tests/gpu/test_model_cuda"; then
  row "model tests" ok "$(tail -2 "$out/model-tests.log" | head -1), $((SECONDS - started)) s"
fi

# ---- every kernel against the card
started=$SECONDS
if stage "time kernels" 60 "$out/build/tests/gpu/time_kernels" configs/paper/1b_uoe.yaml --json "$out/kernels.json"; then
  row "time kernels" ok "$((SECONDS - started)) s, table above"
fi

# ---- the quickstart pair, on the project's own text
cat docs/*.md src/*/*.cpp src/*/*.h kernels/*.h tests/*/*.cpp >"$out/text.bin"
artel=$PWD/$out/build/artel
for config in uoe moe; do
  started=$SECONDS
  rm -rf "$out/runs/$config"
  if stage "quickstart $config" 60 "$artel" train -c "configs/quickstart/$config.yaml" --set "run.directory=$out/runs" \
    --set "run.name=$config" --set "data.train=[{path: $PWD/$out/text.bin}]" \
    --set "data.validation=[{path: $PWD/$out/text.bin}]" --set train.steps=300 --set train.device=cuda \
    --set validation.every=0 --set checkpoint.every=300; then
    first=$(grep -m 1 -oE '"loss": ?[0-9.]+' "$out/runs/$config/metrics.jsonl" | grep -oE '[0-9.]+$')
    last=$(grep -oE '"loss": ?[0-9.]+' "$out/runs/$config/metrics.jsonl" | tail -1 | grep -oE '[0-9.]+$')
    row "quickstart $config" ok "300 steps, loss $(printf '%.4f to %.4f' "$first" "$last"), $((SECONDS - started)) s"
  fi
done

# ---- 50 steps of the 1B model
started=$SECONDS
if stage "1B model" 150 "$artel" bench -c configs/paper/1b_uoe.yaml --steps 50 --json --set train.device=cuda \
  --set train.precision=bf16 --set train.global_batch_size=8 --set train.micro_batch_size=4; then
  cp "$out/1B-model.log" "$out/1b.json"
  row "1B model" ok "50 steps, $(grep -m 1 -oE '"tokens_per_second": ?[0-9.]+' "$out/1b.json" | grep -oE '[0-9]+' | head -1) tokens/s, $((SECONDS - started)) s"
fi
finish
