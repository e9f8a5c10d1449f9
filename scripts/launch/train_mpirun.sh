#!/usr/bin/env bash
# One run on the hosts of a file, without a scheduler, a rank for each slot. To stop and save: kill -USR1 <pid of mpirun>; the
# same command continues. docs/scaling.md says what the options are for.
#
#   scripts/launch/train_mpirun.sh HOSTFILE RANKS_PER_NUMA PRESET DATA RUN [OPTION|KEY=VALUE...]
#   scripts/launch/train_mpirun.sh scripts/launch/hosts.example 4 base /data/imagenet.npy /shared/runs/base
#
# The program lies at the same path on each host (TRAIN_PROGRAM names another), RUN on a file system that all share. Hosts are
# reached by ssh without a password.
set -euo pipefail

[[ $# -ge 5 ]] || { echo "train_mpirun.sh: HOSTFILE RANKS_PER_NUMA PRESET DATA RUN [OPTION|KEY=VALUE...]" >&2; exit 64; }
hosts=$1 per_numa=$2 preset=$3 data=$4 run=$5
shift 5

# Ranks fill one NUMA domain after the other, as nvidia-smi numbers GPUs on most boards, and stay in it.
# The environment goes along as far as mpirun is told.
forward=()
for name in $(compgen -e NCCL_ || true) LD_LIBRARY_PATH; do
  [[ ! -v $name ]] || forward+=(-x "$name")
done
exec mpirun --hostfile "$hosts" --map-by "ppr:$per_numa:numa" --bind-to numa "${forward[@]}" \
  "${TRAIN_PROGRAM:-$PWD/build/train/bigbigan-train}" --preset "$preset" --data "$data" --resume "$run" "$@"
