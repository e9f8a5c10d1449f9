"""Measures ranks on the GPUs of this machine, one each: collectives, and training steps of batches that grow with the ranks.
One rank always: what NCCL's path costs by itself, beside the same step without it. More where there are GPUs, and an mpirun
whose MPI the program was built with. A measurement that fails is a record of the result, and the rest goes on."""
import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from steps import measure, with_seconds

# Preset, precision, images per rank, D steps.
CASES = [("base", "bf16", 256, 1), ("fmnist-32", "bf16", 256, 2)]
EMULATED_CASES = [("fmnist-32-tiny", "f32", 4, 1)]
# Of the step with NCCL and without, so that a machine which grows slower, or faster, does so for both.
TURNS = (False, True, True, False)
LIMIT = 60      # seconds of a measurement


def gpu_count():
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], stdout=subprocess.PIPE, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return 1
    return max(1, len(listed.strip().splitlines()))


def powers_to(most):
    """1, 2, 4, ... and the most itself."""
    powers = [1]
    while 2 * powers[-1] <= most:
        powers.append(2 * powers[-1])
    return sorted({*powers, most})


def under_mpirun(ranks):
    if ranks == 1:
        return []
    return ["mpirun", *(["--allow-run-as-root"] if os.geteuid() == 0 else []), "-np", str(ranks)]


def collective_command(arguments, name, ranks):
    sizes = ["-e", "64K", "-n", "2"] if arguments.emulated else ["-e", "256M", "-f", "4"]
    return [*under_mpirun(ranks), arguments.bench, name, "--device", "cuda", "--json", *sizes]


def step_command(arguments, case, ranks, with_ranks):
    preset, precision, images, d_steps = case
    return [*under_mpirun(ranks), arguments.bench, "--device", "cuda", "--step", preset, "--json", "--rounds",
            "1" if arguments.emulated else "10", *(["--ranks"] if with_ranks else []), f"train.batch={images * ranks}",
            f"train.d_steps={d_steps}", f"train.precision={precision}"]


def plan(arguments, gpus):
    """(record, command) of all measurements, the most wanted first."""
    cases = EMULATED_CASES if arguments.emulated else CASES
    yield {"kind": "collective", "ranks": 1}, collective_command(arguments, "all_reduce", 1)
    for case in cases:
        for with_ranks in TURNS:
            yield {"kind": "step", "ranks": 1, "with_ranks": with_ranks}, step_command(arguments, case, 1, with_ranks)
    if gpus > 1:
        for name in ("all_reduce", "reduce_scatter", "all_gather"):
            yield {"kind": "collective", "ranks": gpus}, collective_command(arguments, name, gpus)
        for case in cases:
            for ranks in powers_to(gpus)[1:]:
                yield {"kind": "step", "ranks": ranks, "with_ranks": True}, step_command(arguments, case, ranks, True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split(".")[0])
    parser.add_argument("--bench", required=True, help="the program bigbigan-bench")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=90, help="for all together")
    parser.add_argument("--emulated", action="store_true", help="one rank, with tiny steps on the emulated device")
    arguments = parser.parse_args()

    deadline = time.monotonic() + arguments.seconds
    gpus = 1 if arguments.emulated else gpu_count()
    records = []
    for record, command in plan(arguments, gpus):
        if record["ranks"] > 1 and shutil.which("mpirun") is None:
            records.append({"kind": "note", "problem": f"{gpus} GPUs, but no mpirun: one rank only"})
            break
        seconds = min(LIMIT, deadline - time.monotonic())
        found = measure(command, seconds) if seconds > 5 else {"problem": "no time left"}
        if record["kind"] == "step":
            found = with_seconds(found)
            found.pop("launchers", None)
        records.append({**found, **record, "command": " ".join(str(word) for word in command)})
        print(records[-1]["command"], found.get("seconds", ""), found.get("problem", ""), flush=True)
        arguments.out.write_text(json.dumps(records, indent=1))
        if record["ranks"] > 1 and "problem" in found and records[-2]["ranks"] == 1:
            break   # this build, or this machine, has no ranks at all
    arguments.out.write_text(json.dumps(records, indent=1))
    sys.exit(any("problem" in record and record["kind"] != "note" for record in records))


if __name__ == "__main__":
    main()
