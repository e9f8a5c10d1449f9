"""Times training steps in the engine and in the PyTorch program, each measurement in a process and a time of its own: one
that runs out of memory, hangs or fails is a record of the result, and the rest goes on. Of the first, each launcher's time
beside what its bytes and FLOPs take at the rates that the kernels' benchmarks have measured, in prediction.txt."""
import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Preset, precision, batch, D steps, forms; the most wanted first, in case the time is short.
CASES = [
    ("base", "bf16", 256, 1, ("engine", "eager", "compiled")),
    ("fmnist-32", "bf16", 256, 2, ("engine", "eager", "compiled")),
    ("base", "f32", 256, 1, ("engine", "eager")),
    ("base", "bf16", 32, 1, ("engine", "eager")),
    ("base", "bf16", 512, 1, ("engine", "eager")),
    ("base", "f32", 32, 1, ("engine",)),
    ("fmnist-32", "f32", 256, 2, ("engine", "eager")),
]
EMULATED_CASES = [("fmnist-32-tiny", "f32", 4, 1, ("engine", "eager"))]
LIMIT = {"engine": 60, "eager": 60, "compiled": 150}    # seconds


def engine_command(arguments, preset, precision, batch, d_steps):
    rounds = "1" if arguments.emulated else "10"
    command = [arguments.bench, "--device", "cuda", "--step", preset, "--rounds", rounds, f"train.batch={batch}",
               f"train.d_steps={d_steps}"]
    return command + ([f"train.precision={precision}"] if precision != "f32" else [])


def peer_command(arguments, preset, precision, batch, d_steps, form):
    sizes = ["--device", "cpu", "--steps", "1"] if arguments.emulated else ["--device", "cuda", "--steps", "15"]
    return [arguments.peer_python, ROOT / "scripts/peers/step_time.py", "--preset", preset, "--precision", precision,
            "--batch", str(batch), "--d-steps", str(d_steps), "--forms", form, "--rounds", "1", "--json", *sizes]


def peer_environment(arguments):
    return {**os.environ, "LD_LIBRARY_PATH": arguments.peer_libraries}


def rates_of(bench):
    """Options for bigbigan-bench --predict: the rates in the context of its kernels' results, where there are any."""
    try:
        context = json.loads(bench.read_text())["context"]
        return ["--copy-rate", str(float(context["copy_gb_per_s"]) / 1e3),
                "--matmul-rate", context["matmul_bf16_tflop_per_s"]]
    except (OSError, ValueError, KeyError):
        return []


def predict(arguments, case, seconds):
    """What bigbigan-bench prints of a step's launchers, or the problem."""
    command = [*engine_command(arguments, *case), "--predict", *rates_of(arguments.out.parent / "bench.json")]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds)
        return done.stdout
    except (OSError, subprocess.TimeoutExpired) as problem:
        return f"{problem}\n"


def measure(command, seconds, environment=None):
    """The JSON object that a command prints last, or {"problem"}."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=seconds,
                              env=environment)
    except subprocess.TimeoutExpired:
        return {"problem": "out of time"}
    except OSError as error:
        return {"problem": str(error)}
    print(done.stderr[-3000:], flush=True)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        memory = any("out of memory" in line.lower() for line in lines)
        told = next((line for line in lines if ": error: " in line), lines[-1])
        return {"problem": "out of memory" if memory else f"exit code {done.returncode}: {told[:200]}"}
    found = done.stdout[done.stdout.index("{"):]
    return json.loads(found)


def with_seconds(found):
    """What bigbigan-bench says of a step, with the time that training takes for it: recorded, where it can be."""
    return {**found, "seconds": found.get("step_seconds_captured") or found.get("step_seconds_launched")}


def record(arguments, preset, precision, batch, d_steps, form, seconds):
    case = {"preset": preset, "precision": precision, "batch": batch, "d_steps": d_steps, "form": form}
    if form == "engine":
        found = with_seconds(measure([*engine_command(arguments, preset, precision, batch, d_steps), "--json"], seconds))
    else:
        found = measure(peer_command(arguments, preset, precision, batch, d_steps, form), seconds,
                        peer_environment(arguments))
    return {**found, **case}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", required=True, help="the program bigbigan-bench")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--peer-python", default=sys.executable, help="a Python with PyTorch")
    parser.add_argument("--peer-libraries", default="", help="its LD_LIBRARY_PATH")
    parser.add_argument("--seconds", type=float, default=240, help="for all together")
    parser.add_argument("--emulated", action="store_true", help="tiny steps on the emulated device and on the CPU")
    arguments = parser.parse_args()

    deadline = time.monotonic() + arguments.seconds
    has_torch = subprocess.run([arguments.peer_python, "-c", "import torch"], env=peer_environment(arguments)).returncode == 0
    if not has_torch:
        print("no PyTorch: the engine's steps only")

    records = []
    cases = EMULATED_CASES if arguments.emulated else CASES
    for *case, forms in cases:
        for form in forms:
            left = deadline - time.monotonic()
            seconds = left if arguments.emulated else min(LIMIT[form], left)
            if form != "engine" and not has_torch:
                continue
            begin = time.monotonic()
            records.append(record(arguments, *case, form, seconds) if seconds > 5 else
                           dict(zip(("preset", "precision", "batch", "d_steps"), case), form=form, problem="no time left"))
            print(*case, form, records[-1].get("img_per_s"), records[-1].get("problem", ""),
                  f"{time.monotonic() - begin:.0f} s", flush=True)
            arguments.out.write_text(json.dumps(records, indent=1))
        left = deadline - time.monotonic()
        if case == list(cases[0][:-1]) and left > 5:
            seconds = left if arguments.emulated else min(LIMIT["engine"], left)
            arguments.out.with_name("prediction.txt").write_text(predict(arguments, case, seconds))
    sys.exit(any("problem" in record and record["problem"] != "out of memory" for record in records))


if __name__ == "__main__":
    main()
