#!/usr/bin/env bash
# Sets up, builds and tests Artel. The last line sums up; the line before it names what did not run.
#   scripts/test.sh          everything that one build can show, slow cases included
#   scripts/test.sh --full   also builds with sanitizers (clang's and g++'s), clang-tidy and a minute of fuzzing per target
#   scripts/test.sh --only PART   one part of it: release | isa | format | cuda | tidy | asan | tsan | fuzz | page
#   scripts/test.sh --require cuda   a machine without a CUDA toolkit fails, where otherwise the last lines name what
#                                    did not run
set -uo pipefail
cd "$(dirname "$0")/.."

full=false
only=""
require=""
while (($#)); do
  case "$1" in
    --full) full=true ;;
    --only) only="${2:?--only needs a part}"; shift ;;
    --require)
      require="${2:?--require needs a part}"
      [[ $require == cuda ]] || { echo "test: required --require cuda, found --require $require" >&2; exit 1; }
      shift
      ;;
    *) echo "test: unknown argument '$1'; see the top of scripts/test.sh" >&2; exit 1 ;;
  esac
  shift
done

passed=0
failed=0
not_run=()
logs="build/test-logs"
mkdir -p "$logs"

wanted() {  # part: is it asked for?
  [[ -n "$only" ]] && { [[ "$only" == "$1" ]]; return; }
  case "$1" in release | isa | format | cuda) return 0 ;; *) $full ;; esac
}

count() {  # name, log, exit code: adds the test cases of a Catch2 run
  local cases good
  if grep -qa 'All tests passed' "$2"; then
    cases=$(grep -aoE 'in [0-9]+ test case' "$2" | tail -1 | grep -oE '[0-9]+')
    good=$cases
  else
    cases=$(grep -aE '^test cases:' "$2" | tail -1 | grep -oE '[0-9]+' | head -1)
    good=$(grep -aE '^test cases:' "$2" | tail -1 | grep -oE '[0-9]+ passed' | grep -oE '[0-9]+')
  fi
  cases=${cases:-0}
  good=${good:-0}
  # A run that executed nothing, or crashed before its summary, is a failure.
  if ((cases == 0)) || { (($3 != 0)) && ((cases == good)); }; then
    failed=$((failed + 1))
    [[ $cases -eq 0 ]] && echo "FAILED: $1 executed no test case or crashed; see $2" || echo "FAILED: $1 exited with $3; see $2"
  fi
  passed=$((passed + good))
  if ((cases > good)); then
    failed=$((failed + cases - good))
    echo "FAILED: $1: $((cases - good)) of $cases; see $2"
    grep -aE 'FAILED|error:|ERROR' "$2" | head -20
  fi
}

check() {  # name, command…: one test that is a command
  local name=$1 log
  log="$logs/${1// /-}.log"
  shift
  if "$@" >"$log" 2>&1; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $name; see $log"
    tail -20 "$log"
  fi
}

build() {  # preset, arguments of the build…
  local preset=$1 log="$logs/build-$1.log"
  shift
  echo "building $preset"
  if ! { cmake --preset "$preset" && cmake --build --preset "$preset" "$@"; } >"$log" 2>&1; then
    grep -E 'error|Error|FAILED' "$log" | head -30
    echo "FAILED: the $preset build; see $log"
    failed=$((failed + 1))
    return 1
  fi
}

run_tests() {  # build directory, label, catch arguments…
  local directory=$1 label=$2 executable name log started
  shift 2
  for executable in "$directory"/tests/test_*; do
    [[ -x "$executable" && -f "$executable" ]] || continue
    name=$(basename "$executable")
    log="$logs/$label-$name.log"
    started=$SECONDS
    "$executable" --rng-seed "$seed" "$@" >"$log" 2>&1
    count "$label $name" "$log" $?
    echo "  $label $name: $((SECONDS - started)) s"
  done
}

run_labelled() {  # build directory, label: the tests of CTest with it; none is a failure
  local log="$logs/$2.log" total bad skipped started=$SECONDS
  ctest --test-dir "$1" -L "^$2\$" --no-tests=error --output-on-failure >"$log" 2>&1
  total=$(grep -oE 'tests failed out of [0-9]+' "$log" | grep -oE '[0-9]+$' || echo 0)
  bad=$(grep -oE '[0-9]+ tests failed out of' "$log" | grep -oE '^[0-9]+' || echo 0)
  skipped=$(grep -oE '[a-z_0-9]+ \.+\*\*\*Skipped' "$log" | cut -d' ' -f1 | paste -sd' ')
  [[ -n "$skipped" ]] && not_run+=("$skipped (what they need is missing; see $log)")
  passed=$((passed + total - bad - $(wc -w <<<"$skipped")))
  failed=$((failed + bad))
  if ((total == 0)); then failed=$((failed + 1)); fi
  if ((total == 0 || bad > 0)); then echo "FAILED: $2: $bad of $total; see $log"; fi
  echo "  $2: $((SECONDS - started)) s"
}

fuzz() {  # target, seconds: one test; what was found before is tried again, what is new is kept under build/fuzz
  local target=$1 log="$logs/fuzz-$1.log" work=build/fuzz/work dictionary=() scratch
  mkdir -p "$work/corpus/$target" "$work/findings"
  [[ -f "$work/seeds/$target.dict" ]] && dictionary=(-dict="$work/seeds/$target.dict")
  scratch=$(mktemp -d)
  if TMPDIR=$scratch "build/fuzz/tests/fuzz/fuzz_$target" -max_total_time="$2" -timeout=10 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix="$work/findings/$target-" "${dictionary[@]}" "$work/corpus/$target" \
    "$work/seeds/$target" "$work/findings" >"$log" 2>&1 && grep -qE '^stat::number_of_executed_units: *[1-9]' "$log"; then
    passed=$((passed + 1))
    echo "  fuzz $target: $(grep -oE 'executed_units: *[0-9]+' "$log" | grep -oE '[0-9]+') inputs"
  else
    failed=$((failed + 1))
    echo "FAILED: fuzz $target; see $log; input: $(grep -oE 'Test unit written to .*' "$log" | cut -d' ' -f5)"
    grep -E 'ERROR|SUMMARY|check failed|runtime error' "$log" | cut -c1-300 | head -5
  fi
  rm -rf "$scratch"
}

emulated() {  # executable, label, emulator's options and Catch's…: a run of tests on the emulated GPU
  local executable=$1 label=$2 log="$logs/emulated-${2// /-}.log" started=$SECONDS
  shift 2
  "$executable" "$@" >"$log" 2>&1
  count "emulated $label" "$log" $?
  echo "  emulated $label: $((SECONDS - started)) s"
}

emulated_kernels() {  # executable, label, order of threads, schedule of streams, seed, more options…
  local executable=$1 label="$2 $3 $4 $5" options=(--emulator-order "$3" --emulator-streams "$4" --emulator-seed "$5")
  shift 5
  emulated "build/release/tests/gpu/$executable" "$label" "${options[@]}" "$@"
}

cuda() {  # what can be shown of the CUDA backend without a GPU
  local tests=build/release/tests streams s options targets=(--target artel_cuda artel_nccl)
  export PATH="$cuda_root/bin:$PATH"
  if $full; then targets=(); else not_run+=("executables linked with CUDA's own libraries (nvcc's objects were built)"); fi
  if build cuda "${targets[@]}"; then
    check "budgets of CUDA kernels" python3 tools/check_kernel_budgets.py build/cuda
  fi
  build release || return
  emulated "$tests/emulator/test_emulator" "emulator itself"
  emulated "$tests/emulator/test_emulator_check" "checks of the emulator"
  if $full; then
    # Kernels take minutes a run: every order of threads and schedule of streams once, the drawn ones with two seeds.
    for options in "ascending eager $seed" "descending lazy $seed" "random random $seed" "random lazy 1"; do
      emulated_kernels test_kernels_emulated "kernels" $options
    done
    for options in "random lazy $seed" "descending random 1"; do
      emulated_kernels test_kernels_checked "checked kernels" $options --emulator-preempt 0.01 '~[large]'
    done
    # Whole models take seconds.
    for streams in eager lazy random; do
      for s in "$seed" 1 2 3 4 5 6 7; do
        emulated_kernels test_model_emulated "models" random "$streams" "$s"
        emulated_kernels test_model_checked "checked models" random "$streams" "$s" --emulator-preempt 0.01
      done
    done
    check "mutated kernels" python3 tests/gpu/mutate_kernels.py build/release
    check "two ranks with emulated GPUs under every schedule" python3 tests/train/run_backends.py build/release/artel \
      "$tests/gpu/artel_emulated" ranks ranks-resume --all --seed "$seed" --mpiexec "$(command -v mpirun)"
    log="$logs/build-asan-kernels.log"
    if cmake --build build/release --target test_kernels_asan test_emulator_asan >"$log" 2>&1; then
      emulated "$tests/emulator/test_emulator_asan" "emulator with the address sanitizer"
      emulated "$tests/gpu/test_kernels_asan" "kernels with the address sanitizer" '~[large]' --emulator-order random \
        --emulator-streams lazy --emulator-seed "$seed"
    else
      failed=$((failed + 1))
      echo "FAILED: kernels with the address sanitizer do not build; see $log"
    fi
  else
    options=(--emulator-order random --emulator-seed "$seed" '~[large]')
    # Each takes one processor for minutes: the checked ones, a third of the cases, beside the others.
    "$tests/gpu/test_kernels_checked" --list-test-names-only '~[large]' |
      awk -v seed="$seed" '(NR + seed) % 3 == 0 { gsub(/,/, "\\,"); print }' >"$logs/drawn-cases.txt"
    "$tests/gpu/test_kernels_checked" --input-file "$logs/drawn-cases.txt" --emulator-order random \
      --emulator-seed "$seed" --emulator-streams lazy --emulator-preempt 0.01 >"$logs/emulated-checked-kernels.log" 2>&1 &
    local checked=$!
    emulated "$tests/gpu/test_kernels_emulated" "kernels" --emulator-streams random "${options[@]}"
    emulated "$tests/gpu/test_model_emulated" "models" --emulator-streams lazy "${options[@]}"
    wait "$checked"
    count "emulated checked kernels" "$logs/emulated-checked-kernels.log" $?
    not_run+=("emulated kernels under every order, schedule and seed, in large shapes, with the address sanitizer (a draw ran; of the checked ones a third of the cases)"
      "two ranks with emulated GPUs under every schedule (a draw ran), mutated kernels")
  fi
  run_labelled build/release emulated
}

# What is drawn from a larger set depends on the commit.
seed=$((16#$(git rev-parse --short=6 HEAD 2>/dev/null || echo 1)))
echo "seed of the draws: $seed (--rng-seed)"

scripts/setup.sh || exit 1
cuda_root=$(scripts/setup.sh --find-cuda)
if [[ -z $cuda_root && $require == cuda ]]; then
  echo "FAILED: --require cuda: required a CUDA toolkit, found none; scripts/setup.sh --find-cuda says where it looks"
  failed=$((failed + 1))
fi
# The checking builds of the emulator are clang's.
if $full || [[ "$only" =~ ^(format|cuda|tidy|asan|tsan|fuzz)$ ]] || { wanted cuda && [[ -n $cuda_root ]]; }; then
  scripts/setup.sh --dev || exit 1
fi

if wanted release || wanted isa; then build release || true; fi
if wanted release; then
  if $full; then run_tests build/release release; else run_tests build/release release '~[full]'; fi
  run_labelled build/release mpi
  if $full; then
    check "50 jobs that lose a rank" python3 tests/train/run_mpi_train.py "$(command -v mpirun)" build/release/artel lost 50 "$seed"
    if ((EUID == 0)) && command -v ip >/dev/null && mpirun --version 2>&1 | grep -q 'Open MPI'; then
      check "two hosts in network namespaces" tests/train/two_hosts.sh build/release/artel
    else
      not_run+=("two hosts in network namespaces (needs root, iproute2 and Open MPI)")
    fi
  fi
  run_labelled build/release scripts
  check "rooflines" bash -c 'for config in configs/*/*.yaml; do python3 tools/roofline.py "$config" --check build/release/artel || exit; done'
fi
if wanted isa; then
  # oneDNN's own limit; where the processor has no more than that anyway the run repeats the release one.
  for isa in AVX2 AVX512_CORE; do
    for suite in kernels model; do
      log="$logs/isa-$isa-$suite.log"
      ONEDNN_MAX_CPU_ISA=$isa DNNL_MAX_CPU_ISA=$isa "build/release/tests/test_$suite" '~[slow]' >"$log" 2>&1
      count "oneDNN limited to $isa: $suite" "$log" $?
    done
  done
  grep -qw avx512f /proc/cpuinfo || not_run+=("oneDNN paths above AVX2 (this processor has none)")
  grep -qw avx512_bf16 /proc/cpuinfo || not_run+=("native bf16 products (this processor has none)")
fi
if wanted cuda; then
  if [[ -z $cuda_root ]]; then
    not_run+=("CUDA kernels: nvcc's compile and its budgets, kernels and training on the emulated GPU (no CUDA toolkit)")
  else
    cuda
  fi
  nvidia-smi -L >/dev/null 2>&1 || not_run+=("CUDA kernels on a GPU (this machine has none; scripts/gpu_check.sh)")
fi
if wanted format; then
  if command -v clang-format >/dev/null; then
    check "clang-format" bash -c 'git ls-files "*.h" "*.cpp" "*.cu" "*.cuh" | xargs clang-format --dry-run -Werror'
  else
    not_run+=("clang-format (not installed; scripts/setup.sh --dev)")
  fi
fi
if wanted tidy; then
  build release || true
  check "clang-tidy" bash -c 'git ls-files "src/*.cpp" "kernels/*.cpp" | grep -v "^kernels/cpu/rows/" | xargs -P2 -n4 clang-tidy -p build/release --quiet --warnings-as-errors="*"'
fi
for sanitizer in asan tsan; do
  wanted $sanitizer && build $sanitizer && run_tests build/$sanitizer $sanitizer '~[slow]'
done

if wanted page; then
  # The page of the report in a browser, with runs made up for it.
  if command -v chromium >/dev/null; then
    build release || true
    check "write page" build/release/tests/test_report '[write-page]'
    check "page in a browser" python3 tools/check_report_page.py build/report-page/report.html \
      --json build/report-page/compare.json --shots build/report-page
  else
    not_run+=("the report's page in a browser (chromium is not installed)")
  fi
fi
if wanted fuzz && build fuzz; then
  check "fuzz seeds" build/fuzz/tests/fuzz/write_seeds build/fuzz/work/seeds
  for target in config token_file megatron npy choice_task tokenizer safetensors manifest run; do fuzz $target 60; done
fi

if [[ -z "$only" ]] && ! $full; then
  not_run+=("all layouts of ranks and 50 jobs that lose a rank (a draw of both ran)"
    "sanitizer builds, clang-tidy, fuzzing (scripts/test.sh --full)")
fi
printf 'not run: %s\n' "$(printf '%s\n' "${not_run[@]}" | paste -sd'|' | sed 's/|/ | /g')"
if ((passed == 0)); then failed=$((failed + 1)); fi
echo "$passed passed, $failed failed, ${#not_run[@]} skipped"
((failed == 0))
