#!/usr/bin/env bash
# Proves the CUDA backend on the GPU of this machine, in under ten minutes on 16 cores: builds for that GPU, runs the tests
# that need one, compute-sanitizer, the kernels beside PyTorch's operations, training steps beside the PyTorch program,
# collectives and steps among all GPUs that it finds, and writes one report. A part that fails is recorded, and the rest goes
# on. docs/gpu_check.md says what is needed.
#
#   scripts/gpu_check.sh [OPTION...]
#     --bundle FILE     libraries of scripts/offline_deps.sh (or the folder that it was unpacked to), for a machine without them
#     --only PART,...   of build tests sanitizer bench step distributed report; default all
#     --out DIR         for the report and the logs; default docs/results
#     --minutes M       for everything together, shared among the parts; default 9.5
#     --build DIR       default build-gpu
#     --commit NAME     of the sources, where there is no git
#     --emulated        rehearsal without a GPU: the kernels run on the CPU, with small shapes
#     --quick           with --emulated: only a moment of each part
set -uo pipefail
cd "$(dirname "$0")/.."

parts=build,tests,sanitizer,bench,step,distributed,report bundle="" out="" minutes=9.5 build="" commit="" emulated="" quick=""
while [[ $# -gt 0 ]]; do
  case $1 in
    --emulated) emulated=1; shift; continue ;;
    --quick) quick=1; shift; continue ;;
    --bundle | --only | --out | --minutes | --build | --commit)
      [[ $# -ge 2 ]] || { echo "gpu_check.sh: $1 needs a value" >&2; exit 64; } ;;
    *) echo "gpu_check.sh: unknown option $1; see the head of scripts/gpu_check.sh" >&2; exit 64 ;;
  esac
  case $1 in
    --bundle) bundle=$2 ;;
    --only) parts=$2 ;;
    --out) out=$2 ;;
    --minutes) minutes=$2 ;;
    --build) build=$2 ;;
    --commit) commit=$2 ;;
  esac
  shift 2
done
for part in ${parts//,/ }; do
  [[ " build tests sanitizer bench step distributed report " == *" $part "* ]] ||
    { echo "gpu_check.sh: no part $part: build tests sanitizer bench step distributed report" >&2; exit 64; }
done

out=$(realpath -m "${out:-docs/results}")
build=$(realpath -m "${build:-build-gpu${emulated:+-emulated}}")
results=$build/gpu_check
mkdir -p "$out" "$results"
# What an earlier call measured stays, so that parts can be run one by one.
seconds=$(python3 -c "print(int(60 * $minutes))")

# --- what this machine has ----------------------------------------------------------------------------------------------

# The folder of an NVIDIA package inside the site-packages of python3, if it has FILE: wheel_folder FILE
wheel_folder() {
  python3 - "$1" <<'PYTHON'
import importlib.util, pathlib, sys
spec = importlib.util.find_spec("nvidia")
for root in spec.submodule_search_locations if spec else []:
    for found in sorted(pathlib.Path(root).glob("*/" + sys.argv[1])):
        print(str(found)[:-len(sys.argv[1]) - 1])
        sys.exit()
PYTHON
}

find_toolkit() {
  local nvcc
  nvcc=$(command -v nvcc || ls -d "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" /usr/local/cuda-*/bin/nvcc 2>/dev/null | tail -n 1)
  [[ -n $nvcc ]] || { nvcc=$(wheel_folder bin/nvcc); nvcc=${nvcc:+$nvcc/bin/nvcc}; }
  [[ -n $nvcc ]] || return
  export CUDA_HOME=$(dirname "$(dirname "$(realpath "$nvcc")")") PATH=$(dirname "$nvcc"):$PATH
}

# Adds folders to `prefixes` (for headers) and LD_LIBRARY_PATH: cuDNN, cuBLASLt and NCCL of the toolkit, or of python3's wheels.
find_vendor_libraries() {
  local library folder
  for library in libcudnn.so.9 libcublasLt.so.13 libnccl.so.2; do
    for folder in "${CUDA_HOME:-}"/lib64 "${CUDA_HOME:-}"/targets/x86_64-linux/lib ""; do
      [[ -z $folder || ! -e $folder/$library ]] || break
    done
    if [[ -z $folder && $(ldconfig -p 2>/dev/null) != *"$library"* ]]; then
      folder=$(wheel_folder "lib/$library")
      [[ -z $folder ]] || { prefixes+=";$folder"; folder=$folder/lib; }
    fi
    [[ -z $folder ]] || export LD_LIBRARY_PATH=$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  done
}

unpack_bundle() {
  local unpacked=$bundle
  if [[ ! -d $bundle ]]; then
    unpacked=$build/bundle
    mkdir -p "$unpacked" && tar -C "$unpacked" -xzf "$bundle" || exit 66
  fi
  unpacked=$(realpath "$unpacked")
  prefixes+=";$unpacked/usr;$unpacked/cudnn-frontend"
  fallback=";$unpacked/cuda"  # headers of cuDNN and cuBLAS
}

describe_machine() {
  local card=emulated driver=- capability=90 nvcc=-
  if [[ -z $emulated ]]; then
    local query
    query=$(nvidia-smi --query-gpu=name,driver_version,compute_cap --format=csv,noheader | head -n 1) && [[ -n $query ]] ||
      { echo "gpu_check.sh: nvidia-smi finds no GPU; --emulated rehearses without one" >&2; exit 71; }
    IFS=, read -r card driver capability <<<"$query"
    driver=${driver// /} capability=${capability//[ .]/}
    nvcc=$(nvcc --version | sed -n 's/.*release.*, V//p')
  fi
  architecture=$capability
  [[ -n $commit ]] || commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
  [[ -z $(git status --porcelain --untracked-files=no 2>/dev/null) ]] || commit+=" and changes"
  python3 - "$results/machine.json" <<PYTHON
import json, os, platform, sys
json.dump({"date": "$(date -u +%Y-%m-%d)", "time": "$(date -u +%H:%M) UTC", "card": "$card".strip(), "driver": "$driver",
           "nvcc": "$nvcc", "commit": "$commit", "emulated": bool("$emulated"), "cores": len(os.sched_getaffinity(0)),
           "host": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
           "python": platform.python_version()}, open(sys.argv[1], "w"))
PYTHON
}

prefixes="" fallback=""
# PyTorch brings libraries of its own, of other versions: the engine's must not stand before them.
peer_libraries=${LD_LIBRARY_PATH:-}
find_toolkit
[[ -z $bundle ]] || unpack_bundle
[[ -n $emulated ]] || find_vendor_libraries
describe_machine
prefixes=${prefixes#;}$fallback
# PyTorch: of this machine's python3, or of scripts/peers/install.sh.
peer_python=python3
[[ -x .venv/bin/python ]] && peer_python=$PWD/scripts/peers/python
peer() { LD_LIBRARY_PATH=$peer_libraries "$peer_python" "$@"; }
export BIGBIGAN_REQUIRE_GPU=1
[[ -z $emulated ]] || unset BIGBIGAN_REQUIRE_GPU

# --- the parts ----------------------------------------------------------------------------------------------------------

part_build() {
  local preset=cuda targets=(cuda_tests bigbigan-bench bigbigan-train) mpi=OFF
  # A machine's own MPI is one more thing that may not build: only where there are GPUs for many ranks.
  [[ $(nvidia-smi -L 2>/dev/null | wc -l) -lt 2 ]] || mpi=AUTO
  [[ -z $emulated ]] || preset=emulated targets=(test_cuda test_emu test_cuda_run bigbigan-bench)
  # Libraries of the bundle find each other by DT_RPATH, without a word in the environment.
  cmake --preset "$preset" -B "$build" -DBIGBIGAN_CUDA_ARCH="$architecture" -DBIGBIGAN_MPI="$mpi" -DBIGBIGAN_WERROR=OFF \
    -DCMAKE_PREFIX_PATH="$prefixes" -DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags &&
    cmake --build "$build" -j "$(nproc)" --target "${targets[@]}" -- -k 0
}

part_tests() {
  local select=(-L '^(cuda|gpu)$' -E codegen)  # codegen: nothing of it needs a GPU
  [[ -z $emulated ]] || select=(-R '^(emu|cuda|cuda_run)/ascending$')
  [[ -z $quick ]] || select=(-R '^emu/ascending$')
  ctest --test-dir "$build" "${select[@]}" -j "$jobs" --timeout 120 --output-on-failure --no-tests=error \
    --output-junit "$results/tests.xml" --stop-time "$(date -d "+$limit sec" +%H:%M:%S)"
}

part_sanitizer() {
  python3 scripts/gpu_check/sanitize.py "$build/tests/test_cuda" --out "$results/sanitizer.json" --seconds "$limit" \
    --jobs "$jobs" ${emulated:+--no-tool} ${quick:+--cases 3}
}

part_bench() {
  # The rest of the time is PyTorch's, which has no peer for every name and checks nothing.
  local flags=(--seconds $((limit * 6 / 10))) device=(--device cuda) code=0
  [[ -z $emulated ]] || flags+=(--sizes small) device=(--device cpu)
  [[ -z $quick ]] || flags+=(--benchmark_filter=relu)
  "$build/kernels/bench/bigbigan-bench" --device cuda "${flags[@]}" --benchmark_out="$results/bench.json" \
    --benchmark_out_format=json || code=$?
  peer -c "import torch" || { echo "no PyTorch: the kernels have no peers"; return $code; }
  peer scripts/peers/op_time.py "${device[@]}" --names "$results/bench.json" --out "$results/peer_ops.json" || code=$?
  return $code
}

part_step() {
  python3 scripts/gpu_check/steps.py --bench "$build/kernels/bench/bigbigan-bench" --out "$results/steps.json" \
    --peer-python "$peer_python" --peer-libraries "$peer_libraries" --seconds "$limit" ${emulated:+--emulated}
}

part_distributed() {
  python3 scripts/gpu_check/distributed.py --bench "$build/kernels/bench/bigbigan-bench" --out "$results/distributed.json" \
    --seconds "$limit" ${emulated:+--emulated}
}

write_report() { python3 scripts/gpu_check/report.py "$results" --out "$out"; }

# Runs a part in its own process group and time, a share of all: run_part NAME PERCENT. Its output is its log.
run_part() {
  local left=$((seconds - SECONDS - 15)) share=$((seconds * $2 / 100)) begin=$SECONDS code status=ok
  [[ ",$parts," == *",$1,"* ]] || return 0
  export limit=$((share < left ? share : left)) jobs
  jobs=$(($(nproc) < 8 ? $(nproc) : 8))
  rm -f "$results/part-$1.json"
  if ((limit < 10)); then
    code=- status="no time left"
  else
    echo "== $1, at most $limit s"
    timeout --kill-after=10 $((limit + 10)) bash -c "part_$1" </dev/null >"$results/$1.log" 2>&1
    code=$?
    case $code in 0) ;; 124 | 137) status="out of time" ;; *) status=failed ;; esac
    [[ $code == 0 ]] || tail -n 15 "$results/$1.log"
  fi
  echo "{\"part\": \"$1\", \"status\": \"$status\", \"code\": \"$code\", \"seconds\": $((SECONDS - begin))}" \
    >"$results/part-$1.json"
  echo "== $1: $status, $((SECONDS - begin)) s"
  [[ $status == ok ]] || failed+=("$1")
  write_report >/dev/null  # so that there is one whatever happens next
}

failed=()
export build results emulated quick architecture prefixes peer_python peer_libraries
export -f peer part_build part_tests part_sanitizer part_bench part_step part_distributed
run_part build 50
run_part tests 25
run_part bench 25
run_part step 45
run_part distributed 20
run_part sanitizer 25
write_report || failed+=(report)
tar -C "$results" -czf "$out/gpu_check_logs.tar.gz" .
if [[ ${#failed[@]} -gt 0 ]]; then
  echo "not ok: ${failed[*]}; logs in $out/gpu_check_logs.tar.gz"
  exit 1
fi
