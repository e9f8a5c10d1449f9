"""Times one training step of a preset in PyTorch and in the engine, in turns, and prints the ratio.

Shapes, batch, updates per step and number of threads are the same. PyTorch runs its usual fast forms: eager with
channels_last, and torch.compile on top; on a GPU timed by CUDA events, in f32 without TF32, or in bf16 by autocast over
f32 weights. The engine's step includes loading its images, PyTorch's does not. On a GPU only PyTorch is timed here, the
engine by bigbigan-bench.

Usage: scripts/peers/python scripts/peers/step_time.py [--threads 2] [--rounds 3] [--forms engine eager compiled]
       python3 scripts/peers/step_time.py --device cuda --preset base --precision bf16 --forms eager --json
"""
import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import torch

from bigbigan_torch import BigBiGAN, load_config

ROOT = Path(__file__).resolve().parents[2]
WARM_UP = 5     # steps left out of each measurement


class TorchStep:
    """A model on random batches; `compiled` runs both score functions through torch.compile."""

    def __init__(self, config, compiled, device="cpu", bf16=False):
        torch.manual_seed(0)
        self.config, self.device = config, device
        self.model = BigBiGAN(config).to(device, memory_format=torch.channels_last)
        if bf16:
            for name in ("discriminator_scores", "encoder_generator_scores"):
                scores = torch.autocast(device, torch.bfloat16)(getattr(self.model, name))
                setattr(self.model, name, scores)
        self.model.make_optimisers(fused=True)
        if compiled:
            for name in ("discriminator_scores", "encoder_generator_scores"):
                setattr(self.model, name, torch.compile(getattr(self.model, name)))

    def batch(self):
        m, n = self.config.model, self.config.train.batch
        x = torch.rand(n, m.image_channels, m.encoder_resolution, m.encoder_resolution, device=self.device) * 2 - 1
        z, eps = torch.randn(2, n, m.z_dim, device=self.device)
        return x.to(memory_format=torch.channels_last), z, eps

    def img_per_s(self, steps):
        pool = [self.batch() for _ in range(8)]     # made beforehand: drawing images is not part of a step
        per_step, rates = self.config.train.d_steps + 1, []
        for step in range(WARM_UP + steps):
            batches = [pool[(step * per_step + i) % len(pool)] for i in range(per_step)]
            rates.append(self.config.train.batch / seconds_of(lambda: self.model.step(batches), self.device))
        return statistics.median(rates[WARM_UP:])


def seconds_of(call, device):
    """Of one call: by the clock on the CPU, by CUDA events on a GPU."""
    if device == "cpu":
        start = time.perf_counter()
        call()
        return time.perf_counter() - start
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def engine_img_per_s(arguments, config, steps):
    """The median that bigbigan-train logs, one line per step."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [arguments.binary, "--preset", arguments.preset, "--run-dir", run,
                   f"train.steps={WARM_UP + steps}", f"train.threads={arguments.threads}",
                   f"train.batch={config.train.batch}", f"train.d_steps={config.train.d_steps}",
                   "log.every_steps=1", "sample.every_steps=0", "checkpoint.every_steps=0"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    return statistics.median(line["img_per_s"] for line in lines[WARM_UP:])


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="fmnist-32-tiny")
    parser.add_argument("--binary", default=ROOT / "build" / "train" / "bigbigan-train")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch", type=int, help="instead of the preset's")
    parser.add_argument("--d-steps", type=int, help="instead of the preset's")
    parser.add_argument("--steps", type=int, default=40, help="per measurement")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each, taken in turns")
    parser.add_argument("--forms", nargs="+", choices=["engine", "eager", "compiled"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="f32", choices=["f32", "bf16"])
    parser.add_argument("--json", action="store_true", help="print one object: of the last form")
    arguments = parser.parse_args()
    arguments.forms = arguments.forms or (["engine"] if arguments.device == "cpu" else []) + ["eager", "compiled"]
    if "engine" in arguments.forms and (arguments.device, arguments.precision) != ("cpu", "f32"):
        parser.error("the engine is timed here on the CPU in f32 only; elsewhere by bigbigan-bench --step")
    return arguments


def main():
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = True, False
    config = load_config((ROOT / "train" / "presets" / f"{arguments.preset}.toml").read_text())
    config.train.batch = arguments.batch or config.train.batch
    config.train.d_steps = arguments.d_steps or config.train.d_steps

    measures = {}
    for form in arguments.forms:
        if form == "engine":
            measures[form] = lambda steps: engine_img_per_s(arguments, config, steps)
        else:
            peer = TorchStep(config, form == "compiled", arguments.device, arguments.precision == "bf16")
            peer.img_per_s(1)       # compiles
            measures[f"torch {form}"] = peer.img_per_s
    results = {name: [] for name in measures}
    for _ in range(arguments.rounds):
        for name, measure in measures.items():
            results[name].append(measure(arguments.steps))

    best = {name: statistics.median(rates) for name, rates in results.items()}
    if arguments.json:
        print(json.dumps({"img_per_s": best[name], "seconds": config.train.batch / best[name],
                          "torch": torch.__version__}))
        return
    print(f"{arguments.preset}: batch {config.train.batch}, d_steps {config.train.d_steps}, {arguments.precision} on "
          f"{arguments.device}, {arguments.threads} threads, torch {torch.__version__}; images/s, medians of "
          f"{arguments.steps} steps")
    for name, rates in results.items():
        print(f"  {name:15s} {best[name]:8.0f}   rounds " + " ".join(f"{rate:.0f}" for rate in rates))
    peers = [name for name in best if name != "engine"]
    if "engine" in best and peers:
        peer = max(peers, key=best.get)
        print(f"  engine / {peer}: {best['engine'] / best[peer]:.2f}")


if __name__ == "__main__":
    main()
