"""Kills or stops one of four ranks at random instants. mpirun must end soon after, and not with 0; the newest
checkpoint must be whole, so that one rank goes on from it. mpirun of Open MPI 4.1 itself stays for ever when a rank is
killed in its first milliseconds, while it connects to mpirun: then it is enough that no rank is left.

    lost_ranks.py TRAINER FOLDER RUNS [SEED]

Prints a line for each run. The instants are those of a clock: another machine meets other places.
"""
import contextlib
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

RANKS = 4
LIMIT = 3       # seconds that a rank may be late
PATIENCE = 45   # a hang, and no more: machines differ

SETTINGS = """model.z_dim=8 model.g_channels=[8,8,8,8] model.d_channels=[8,8,8,8] model.mlp_width=8 model.mlp_blocks=1
model.encoder_channels=[8,8,8,8] model.encoder_head_width=8 data.val_images=0 train.batch=8 train.threads=1
checkpoint.every_steps=5 log.every_steps=1 sample.every_steps=0""".split()
LIMITS = [f"ranks.{phase}_seconds={LIMIT}" for phase in ("setup", "step", "checkpoint")]
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--mca", "mpi_yield_when_idle", "1"]


def write_images(path, count=24):
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({count}, 32, 32), }}".ljust(117) + "\n"
    pixels = bytes(random.Random(1).randrange(256) for _ in range(count * 32 * 32))
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + pixels)


def process_of(rank, run):
    """The process of that rank, or None: it is not there yet, or not any more."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            is_ours = str(run).encode() in (entry / "cmdline").read_bytes().split(b"\0")
            if is_ours and f"OMPI_COMM_WORLD_RANK={rank}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                return int(entry.name)
        except OSError:
            continue
    return None


def lose(command, run, rank, what, delay):
    """Runs the command and sends `what` to a rank `delay` seconds after its start. The exit code, None where mpirun does not
    end; the ranks that are left then; seconds; log."""
    with open(run.with_suffix(".log"), "w+") as log:
        environment = {**os.environ, "BIGBIGAN_RANKS__SETUP_SECONDS": str(LIMIT)}
        world = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment)
        victim = None
        while victim is None and world.poll() is None:
            victim = process_of(rank, run)
        time.sleep(delay)
        begin = time.monotonic()
        try:
            os.kill(victim, what)
            code = world.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            code = None
        seconds = time.monotonic() - begin
        left = {other: process for other in range(RANKS) if (process := process_of(other, run)) is not None}
        for process in left.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if code is None:
            world.kill()
        world.wait()
        log.seek(0)
        return code, list(left), seconds, log.read()


def main(trainer, folder, runs, seed=0):
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_images(folder / "images.npy")
    draw = random.Random(int(seed))
    failures = 0
    for i in range(int(runs)):
        run, rank, what = folder / f"run{i}", i % RANKS, (signal.SIGSTOP, signal.SIGKILL)[(i + i // RANKS) % 2]
        delay = draw.uniform(0, draw.choice((0.4, 3)))  # often while the ranks find each other
        command = [trainer, "--preset", "fmnist-32-tiny", "--data", str(folder / "images.npy"), "--resume", str(run),
                   *SETTINGS]
        code, left, seconds, log = lose([*MPIRUN, "-np", str(RANKS), *command, *LIMITS, "train.steps=1000000"], run, rank,
                                        what, delay)
        steps = sorted(int(path.name[5:]) for path in run.glob("step-*"))
        rest = subprocess.run([*command, f"train.steps={steps[-1] + 1 if steps else 1}"], capture_output=True, text=True)
        is_well = (not left if code is None else code != 0) and rest.returncode == 0
        failures += not is_well
        print(f"{what.name} to rank {rank} after {delay:.2f} s, at step {steps[-1] if steps else 0} or later: "
              f"{f'mpirun hangs, with ranks {left}' if code is None else f'ends with {code} in {seconds:.1f} s'}; "
              f"then {rest.returncode}", flush=True)
        if not is_well:
            print(log[-3000:], rest.stderr[-2000:], sep="\n", flush=True)
    print(f"{int(runs) - failures} of {runs} ended as they should")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
