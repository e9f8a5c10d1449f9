"""Times one training step of a preset in PyTorch and in the engine, in turns, and prints the ratio.

Shapes, batch, updates per step and number of threads are the same. PyTorch runs its usual fast forms: eager with
channels_last, and torch.compile on top. The engine's step includes loading its images, PyTorch's does not.

Usage: scripts/peers/python scripts/peers/step_time.py [--threads 2] [--rounds 3] [--forms eager compiled]
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

    def __init__(self, config, compiled):
        torch.manual_seed(0)
        self.config = config
        self.model = BigBiGAN(config).to(memory_format=torch.channels_last)
        self.model.make_optimisers(fused=True)
        if compiled:
            for name in ("discriminator_scores", "encoder_generator_scores"):
                setattr(self.model, name, torch.compile(getattr(self.model, name)))

    def batch(self):
        m, n = self.config.model, self.config.train.batch
        x = torch.rand(n, m.image_channels, m.encoder_resolution, m.encoder_resolution) * 2 - 1
        return x.to(memory_format=torch.channels_last), torch.randn(n, m.z_dim), torch.randn(n, m.z_dim)

    def img_per_s(self, steps):
        pool = [self.batch() for _ in range(8)]     # made beforehand: drawing images is not part of a step
        per_step, rates = self.config.train.d_steps + 1, []
        for step in range(WARM_UP + steps):
            batches = [pool[(step * per_step + i) % len(pool)] for i in range(per_step)]
            start = time.perf_counter()
            self.model.step(batches)
            rates.append(self.config.train.batch / (time.perf_counter() - start))
        return statistics.median(rates[WARM_UP:])


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
    parser.add_argument("--forms", nargs="+", default=["eager", "compiled"], choices=["eager", "compiled"])
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    config = load_config((ROOT / "train" / "presets" / f"{arguments.preset}.toml").read_text())
    config.train.batch = arguments.batch or config.train.batch
    config.train.d_steps = arguments.d_steps or config.train.d_steps

    measures = {"engine": lambda steps: engine_img_per_s(arguments, config, steps)}
    for form in arguments.forms:
        peer = TorchStep(config, form == "compiled")
        peer.img_per_s(1)       # compiles
        measures[f"torch {form}"] = peer.img_per_s
    results = {name: [] for name in measures}
    for _ in range(arguments.rounds):
        for name, measure in measures.items():
            results[name].append(measure(arguments.steps))

    print(f"{arguments.preset}: batch {config.train.batch}, d_steps {config.train.d_steps}, "
          f"{arguments.threads} threads, torch {torch.__version__}; images/s, medians of {arguments.steps} steps")
    best = {name: statistics.median(rates) for name, rates in results.items()}
    for name, rates in results.items():
        print(f"  {name:15s} {best[name]:8.0f}   rounds " + " ".join(f"{rate:.0f}" for rate in rates))
    peer = max((name for name in best if name != "engine"), key=best.get)
    print(f"  engine / {peer}: {best['engine'] / best[peer]:.2f}")


if __name__ == "__main__":
    main()
