#!/usr/bin/env bash
# Interferes with a system call of bigbigan-train on its run directory, one at a time: kills the process
# at it, or lets it fail. Afterwards the same command must end with the same bits, from no earlier step
# than the last one reported as saved.
#
#   every_syscall.sh TRAINER FOLDER INJECTION POINTS
#     INJECTION  signal=SIGKILL, error=ENOSPC, error=EIO, ... (strace -e inject)
#     POINTS     at most so many calls are tried, spread evenly over all
# Needs strace; exit code 77 where there is none or it may not trace.
set -uo pipefail

# LeakSanitizer cannot look at a process that is traced.
export ASAN_OPTIONS="detect_leaks=0:${ASAN_OPTIONS:-}"

trainer=$1 folder=$2 injection=$3 points=$4
calls="openat write pwrite64 ftruncate fsync close rename unlink mkdir rmdir"
run=$folder/run log=$folder/log

command -v strace >/dev/null || { echo "SKIP: strace is not installed"; exit 77; }
rm -rf "$folder" && mkdir -p "$folder"
strace -qq -o /dev/null true 2>/dev/null || { echo "SKIP: this machine does not allow tracing"; exit 77; }

# 24 images of 32x32.
images=$folder/images.npy
header="{'descr': '|u1', 'fortran_order': False, 'shape': (24, 32, 32), }"
{ printf '\x93NUMPY\x01\x00\x76\x00%-117s\n' "$header"; seq 100000 | head -c $((24 * 1024)); } >"$images"

command=("$trainer" --preset fmnist-32-tiny --data "$images" --resume "$run"
  model.z_dim=8 'model.g_channels=[8,8,8,8]' 'model.d_channels=[8,8,8,8]' model.mlp_width=8
  model.mlp_blocks=1 'model.encoder_channels=[8,8,8,8]' model.encoder_head_width=8
  data.val_images=0 train.batch=4 train.steps=2 train.threads=1
  checkpoint.every_steps=1 checkpoint.keep=1 log.every_steps=1 sample.every_steps=0)

final_state() {
  (cd "$run/step-00000002" 2>/dev/null && cat ./*.safetensors &&
    sed 's/"elapsed_seconds":[^,]*,//' state.json) | cksum
}
last_step() { grep -o 'step-[0-9]*' | tail -n 1 | sed 's/step-0*//'; }

# Every call of the main thread that touches the run directory, as "name number": strace counts the calls
# of each name by thread.
strace -f -qq -y -o "$log" -e trace="${calls// /,}" "${command[@]}" >/dev/null 2>&1 ||
  { echo "the undisturbed run failed"; exit 1; }
reference=$(final_state)
main=$(head -n 1 "$log" | cut -d ' ' -f 1)
awk -v main="$main" -v run="$run" '
  $1 == main && match($0, /[a-z0-9]+\(/) {
    name = substr($0, RSTART, RLENGTH - 1)
    ++count[name]
    if (index($0, run) > 0) print name, count[name]
  }' "$log" >"$folder/all"
# Most calls are writes of small tensors: a few of them stand for all.
{ grep -v '^write ' "$folder/all"; grep '^write ' "$folder/all" | awk 'NR % 40 == 1'; } >"$folder/calls"
found=$(wc -l <"$folder/calls")
awk -v n="$found" -v most="$points" \
  'int(NR * most / n) != int((NR - 1) * most / n) || most >= n' "$folder/calls" >"$folder/points"

tried=0 bad=0
complain() { bad=$((bad + 1)); echo "BAD $name #$number: $1: $(tail -n 2 "$log" | tr '\n' ' ')"; }
while read -r name number; do
  tried=$((tried + 1))
  rm -rf "$run"
  {  # the shell's word on killed programs goes nowhere
    strace -f -qq -o /dev/null -e trace="$name" -e "inject=$name:$injection:when=$number" \
      "${command[@]}" >"$folder/out" 2>"$log"
    code=$?
  } 2>/dev/null
  saved=$(last_step <"$folder/out")
  case $code in
    0) ;;
    137) [[ $injection == signal=SIGKILL ]] || complain "exit code $code" ;;
    66 | 73 | 74 | 80)
      grep "error:" "$log" | grep -qE "No space left|Input/output|quota|standard output" ||
        complain "no reason given" ;;
    *) complain "exit code $code" ;;
  esac
  if ! "${command[@]}" >/dev/null 2>"$log"; then complain "not resumed"; continue; fi
  resumed=$(grep '^resumed' "$log" | last_step)
  [[ ${resumed:-0} -ge ${saved:-0} ]] || complain "saved ${saved:-0}, resumed ${resumed:-0}"
  [[ $(final_state) == "$reference" ]] || complain "another end"
  ls -A "$run" | grep -q '^\.' && complain "leftovers"
done <"$folder/points"

echo "$tried of $found calls tried with $injection, $bad bad"
[[ $bad -eq 0 && $tried -ge 10 ]]
