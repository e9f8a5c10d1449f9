#!/usr/bin/env python3
"""Predicts how a training step scales over ranks, one per GPU: its time, images per second and efficiency, from the measured
step of one rank, the messages of the model and the speed of the links. docs/scaling.md has the formulas and how far they are to
be trusted.

    build/train/bigbigan-train --preset base --describe > base.txt
    scripts/scaling_model.py --model base.txt --step-seconds 0.18 --batch 256 --d-steps 1 --per-node 8 \\
        --link-gb-per-s 370 --network-gb-per-s 370 --ranks 1,8,16,64
"""
import argparse
import json
import math
import re
import statistics
import sys
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

TERM_BYTES = 32         # loss terms of an update
F64 = 8                 # batch norm's statistics travel in f64


# --- collectives --------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Link:
    gb_per_s: float
    latency_us: float


@dataclass(frozen=True)
class Cluster:
    """Ranks in nodes of `per_node`, joined by one link inside a node and another, of the whole node, between nodes. Sizes are
    those of the whole message: what every rank has in the end, or had in the beginning."""
    ranks: int
    per_node: int
    inside: Link
    between: Link
    call_us: float = 0.0        # of every collective, whatever its size and the ranks
    with_trees: bool = False    # where NCCL_ALGO, which bigbigan-train sets to Ring, allows them

    @property
    def nodes(self):
        return -(-self.ranks // self.per_node)

    def bytes_seconds(self, size):
        """Of `size` bytes through the slowest link in use."""
        links = [self.inside] if self.nodes == 1 else [self.inside, self.between]
        return size / (1e9 * min(link.gb_per_s for link in links))

    def hop_seconds(self):
        """Latency of a hop, mean around a ring through all ranks: one hop per node leaves it."""
        leaving = self.nodes / self.ranks if self.nodes > 1 else 0
        return 1e-6 * ((1 - leaving) * self.inside.latency_us + leaving * self.between.latency_us)

    def ring(self, rounds, size):
        """Each round passes all parts but one from neighbour to neighbour."""
        if self.ranks == 1:
            return 0.0
        hops = rounds * (self.ranks - 1)
        return 1e-6 * self.call_us + hops * (self.hop_seconds() + self.bytes_seconds(size) / self.ranks)

    def tree(self, size):
        """Up and down: a chain inside each node, a double binary tree between them."""
        chain = (min(self.ranks, self.per_node) - 1) * self.inside.latency_us
        levels = math.ceil(math.log2(self.nodes)) * self.between.latency_us
        return 1e-6 * self.call_us + 2 * (1e-6 * (chain + levels) + self.bytes_seconds(size))

    def all_reduce(self, size):
        ring = self.ring(2, size)
        return min(ring, self.tree(size)) if self.with_trees and self.ranks > 1 else ring

    def reduce_scatter(self, size):
        return self.ring(1, size)

    def all_gather(self, size):
        return self.ring(1, size)


def fit_link(ranks, rows):
    """The Link inside one node of `ranks` that explains rows of `bigbigan-bench all_reduce --json` best: least squares of the
    relative error of latency + bytes / bandwidth around a ring. What a call costs by itself is in the latency."""
    if ranks < 2 or len(rows) < 2:
        raise ValueError("a fit needs two ranks and two sizes at least")
    # Normal equations of a + c size = t, each row weighted by 1 / t^2.
    sums = [0.0] * 5
    for row in rows:
        size, t = row["size"], 1e-6 * row["time_us"]
        w = 1 / t ** 2
        for i, term in enumerate((w, w * size, w * size * size, w * t, w * size * t)):
            sums[i] += term
    w, ws, wss, wt, wst = sums
    c = (w * wst - ws * wt) / (w * wss - ws * ws)
    a = (wt - c * ws) / w
    return Link(gb_per_s=1e-9 * 2 * (ranks - 1) / ranks / c, latency_us=max(0.0, 1e6 * a / (2 * (ranks - 1))))


# --- the model's messages -----------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Model:
    """Numbers of parameters, and the channels of each batch norm of G and E."""
    d_elems: int
    eg_elems: int
    batch_norms: tuple


def read_model(text):
    """Of what `bigbigan-train --describe` prints."""
    elems = {"generator": 0, "discriminator": 0, "encoder": 0}
    norms = []
    for name, shape, count in re.findall(r"^  (\S+) +\(([\d,]+)\) +(\d+)$", text, re.MULTILINE):
        elems[name.split(".")[0]] += int(count)
        # Gains: of a plain batch norm a vector, of a conditional one a matrix with a row per channel.
        if re.search(r"\.\w*bn\w*(\.gain)?\.weight$", name):
            norms.append(int(shape.split(",")[0]))
    if not all(elems[network] for network in ("generator", "discriminator")):
        raise ValueError("no layers found: expected the output of bigbigan-train --describe")
    return Model(elems["discriminator"], elems["generator"] + elems["encoder"], tuple(norms))


# --- a step -------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Compute:
    """Seconds of one rank's step: `fixed`, whatever the batch (optimiser, spectral norm), and `per_image`. `optimizer` is the
    part of `fixed` that sharding divides."""
    fixed: float
    per_image: float
    optimizer: float = 0.0


@dataclass(frozen=True)
class Training:
    d_steps: int = 2
    backward: float = 0.5           # share of an update that is its backward pass, which sums hide behind
    bucket_mib: float = 25.0        # ranks.bucket_mib
    gradient_bytes: int = 4         # per element, ranks.gradient_dtype
    micro_batches: int = 1          # train.micro_batches
    shard_optimizer: bool = False   # ranks.shard_optimizer


@dataclass(frozen=True)
class Step:
    ranks: int
    images: float           # per rank
    compute: float          # seconds
    batch_norm: float
    gradients: float        # not hidden behind the backward pass
    others: float           # small sums, and the gathering of sharded weights

    @property
    def seconds(self):
        return self.compute + self.batch_norm + self.gradients + self.others

    @property
    def img_per_s(self):
        return self.ranks * self.images / self.seconds


def exposed_seconds(sums, backward_seconds):
    """What is left of sums, one behind the other, when the backward pass ends that makes the first of them ready, the second,
    ... at even intervals."""
    done = 0.0
    for i, seconds in enumerate(sums, 1):
        done = max(done, backward_seconds * i / len(sums)) + seconds
    return max(0.0, done - backward_seconds)


def buckets_of(training, elems):
    return max(1, math.ceil(4 * elems / (training.bucket_mib * 2 ** 20)))


def gradient_seconds(cluster, training, elems, backward_seconds):
    buckets = buckets_of(training, elems)
    collective = cluster.reduce_scatter if training.shard_optimizer else cluster.all_reduce
    return exposed_seconds([collective(elems * training.gradient_bytes / buckets)] * buckets, backward_seconds)


def weight_seconds(cluster, training, elems):
    """Of a sharded optimiser: squares of gradients are summed before its update, weights gathered bucket by bucket after it."""
    buckets = buckets_of(training, elems)
    return cluster.all_reduce(4 * buckets) + buckets * cluster.all_gather(4 * elems / buckets)


def batch_norm_seconds(cluster, training, model):
    """Moments are gathered in every forward pass of G and E; two sums per channel in the one backward pass through them."""
    forward = sum(cluster.all_gather(cluster.ranks * (1 + 2 * c) * F64) for c in model.batch_norms)
    backward = sum(cluster.all_reduce(2 * c * F64) for c in model.batch_norms)
    return training.micro_batches * ((training.d_steps + 1) * forward + backward)


def predict(cluster, training, model, compute, images):
    """The Step of ranks with `images` each. All updates of a step are taken to last equally long."""
    optimizer = compute.optimizer * (1 - 1 / cluster.ranks if training.shard_optimizer else 0)
    busy = compute.fixed + compute.per_image * images - optimizer
    updates = training.d_steps + 1
    # Gradients are complete in the last micro-batch.
    window = training.backward * compute.per_image * images / updates / training.micro_batches
    gradients = (training.d_steps * gradient_seconds(cluster, training, model.d_elems, window)
                 + gradient_seconds(cluster, training, model.eg_elems, window))
    others = (updates + 1) * cluster.all_reduce(TERM_BYTES)
    if training.shard_optimizer:
        others += (training.d_steps * weight_seconds(cluster, training, model.d_elems)
                   + weight_seconds(cluster, training, model.eg_elems))
    return Step(cluster.ranks, images, busy, batch_norm_seconds(cluster, training, model), gradients, others)


# --- measurements -------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Measured:
    batch: int
    d_steps: int
    seconds: float


def read_measured(path):
    """Of a run directory, or of a file of `bigbigan-bench --step PRESET --json`."""
    path = Path(path)
    if path.is_dir():
        train = tomllib.loads((path / "config.toml").read_text())["train"]
        lines = [json.loads(line) for line in (path / "stats.jsonl").read_text().splitlines()]
        # The first interval holds the first steps, which are slower.
        seconds = statistics.median(1e-3 * line["ms_per_step"] for line in lines[1:] or lines)
        return Measured(train["batch"], train["d_steps"], seconds)
    bench = json.loads(path.read_text())
    return Measured(bench["batch"], bench["d_steps"], bench["step_seconds_captured"] or bench["step_seconds_launched"])


def fit_compute(measured):
    """fixed + per_image x batch through steps of one rank; of a single one all is taken to grow with the batch."""
    if len({m.batch for m in measured}) == 1:
        return Compute(0.0, statistics.median(m.seconds for m in measured) / measured[0].batch)
    line = statistics.linear_regression([m.batch for m in measured], [m.seconds for m in measured])
    return Compute(max(0.0, line.intercept), line.slope)


# --- the program --------------------------------------------------------------------------------------------------------

def rank_list(text):
    ranks = sorted({int(word) for word in text.split(",")} | {1})
    if ranks[0] < 1:
        raise argparse.ArgumentTypeError("numbers of ranks, e.g. 1,2,4")
    return ranks


def run_of_ranks(text):
    ranks, _, path = text.partition(":")
    if not ranks.isdigit() or not path:
        raise argparse.ArgumentTypeError("RANKS:RUN, e.g. 2:runs/two")
    return int(ranks), path


def parse(words):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add = parser.add_argument
    add("--model", type=Path, required=True, help="what bigbigan-train --describe printed")
    add("--measured", nargs="+", default=[], metavar="RUN|FILE", help="steps of one rank: run directories, or JSON of bigbigan-bench"
        " --step; of two batch sizes, to tell what does not grow with the batch")
    add("--step-seconds", type=float, help="in place of --measured, with --batch and --d-steps")
    add("--fixed-seconds", type=float, default=0.0, help="with --step-seconds: of it, what does not grow with the batch")
    add("--optimizer-seconds", type=float, default=0.0, help="of that, what --shard-optimizer divides")
    add("--batch", type=int, help="images per step of one rank; default that of the measurement")
    add("--d-steps", type=int)
    add("--scaling", choices=("weak", "strong"), default="weak", help="weak: --batch for each rank; strong: for all together")
    add("--ranks", type=rank_list, default=[1, 2, 4, 8, 16, 32, 64])
    add("--per-node", type=int, default=8)
    add("--link-gb-per-s", type=float, default=370.0, help="bus bandwidth inside a node")
    add("--latency-us", type=float, default=3.4, help="of a hop inside a node")
    add("--call-us", type=float, default=8.4, help="of a collective, whatever its size")
    add("--links", type=Path, help="JSON of bigbigan-bench all_reduce inside a node, in place of these three")
    add("--network-gb-per-s", type=float, default=46.0, help="of a whole node, in each direction; one card of 400 Gbit/s by default")
    add("--network-latency-us", type=float, default=14.0, help="of a hop between nodes")
    add("--trees", action="store_true", help="sums by trees where they are faster than rings: NCCL_ALGO=Ring,Tree")
    add("--backward", type=float, default=0.5, help="share of an update that is its backward pass; 0: sums hide"
        " behind nothing, as those of CPU ranks")
    add("--bucket-mib", type=float, default=25.0, help="ranks.bucket_mib")
    add("--gradient-dtype", choices=("f32", "bf16"), default="f32")
    add("--micro-batches", type=int, default=1)
    add("--shard-optimizer", action="store_true")
    add("--validate", nargs="+", type=run_of_ranks, default=[], metavar="RANKS:RUN", help="compare with measured runs")
    add("--json", action="store_true")
    arguments = parser.parse_args(words)
    if bool(arguments.measured) == bool(arguments.step_seconds):
        parser.error("one of --measured and --step-seconds is needed")
    if arguments.step_seconds and not (arguments.batch and arguments.d_steps):
        parser.error("--step-seconds needs --batch and --d-steps")
    return arguments


def compute_of(arguments):
    """Compute, batch and d_steps."""
    if arguments.step_seconds:
        per_image = (arguments.step_seconds - arguments.fixed_seconds) / arguments.batch
        compute, batch, d_steps = Compute(arguments.fixed_seconds, per_image), arguments.batch, arguments.d_steps
    else:
        measured = [read_measured(path) for path in arguments.measured]
        compute, batch = fit_compute(measured), arguments.batch or max(m.batch for m in measured)
        d_steps = arguments.d_steps or measured[0].d_steps
    return replace(compute, optimizer=arguments.optimizer_seconds), batch, d_steps


def table(steps):
    lines = [f"{'ranks':>6}{'img/rank':>10}{'step ms':>10}{'compute':>10}{'batch norm':>12}{'gradients':>11}{'others':>8}"
             f"{'images/s':>11}{'efficiency':>12}"]
    for s in steps:
        lines.append(f"{s.ranks:>6}{s.images:>10g}{1e3 * s.seconds:>10.2f}{1e3 * s.compute:>10.2f}{1e3 * s.batch_norm:>12.2f}"
                     f"{1e3 * s.gradients:>11.2f}{1e3 * s.others:>8.2f}{s.img_per_s:>11.0f}{100 * efficiency(s, steps):>10.1f} %")
    return "\n".join(lines)


def efficiency(step, steps):
    """Images per second and rank, to those of one rank."""
    return step.img_per_s / step.ranks / steps[0].img_per_s


def validation(runs, predict_for):
    """Lines that compare runs with what predict_for(ranks, batch of all) says."""
    lines = [f"{'ranks':>6}{'batch':>7}{'measured ms':>13}{'predicted ms':>14}{'error':>9}"]
    for ranks, path in runs:
        found = read_measured(path)
        said = predict_for(ranks, found.batch).seconds
        lines.append(f"{ranks:>6}{found.batch:>7}{1e3 * found.seconds:>13.2f}{1e3 * said:>14.2f}"
                     f"{100 * (said / found.seconds - 1):>+8.1f} %")
    return "\n".join(lines)


def main(words=None):
    arguments = parse(words)
    compute, batch, d_steps = compute_of(arguments)
    inside, call_us = Link(arguments.link_gb_per_s, arguments.latency_us), arguments.call_us
    if arguments.links:
        report = json.loads(arguments.links.read_text())
        inside, call_us = fit_link(report["ranks"], report["rows"]), 0.0
        print(f"link: {inside.gb_per_s:.3g} GB/s, {inside.latency_us:.3g} us", file=sys.stderr)
    between = Link(arguments.network_gb_per_s, arguments.network_latency_us)
    training = Training(d_steps, arguments.backward, arguments.bucket_mib, 2 if arguments.gradient_dtype == "bf16" else 4,
                        arguments.micro_batches, arguments.shard_optimizer)
    model = read_model(arguments.model.read_text())

    def of(ranks, images):
        return predict(Cluster(ranks, arguments.per_node, inside, between, call_us, arguments.trees), training, model, compute, images)
    if arguments.validate:
        print(validation(arguments.validate, lambda ranks, whole: of(ranks, whole / ranks)))
        return
    steps = [of(ranks, batch / ranks if arguments.scaling == "strong" else batch) for ranks in arguments.ranks
             if arguments.scaling == "weak" or batch % ranks == 0]
    if arguments.json:
        print(json.dumps([{"ranks": s.ranks, "images_per_rank": s.images, "seconds": s.seconds, "compute_seconds": s.compute,
                           "batch_norm_seconds": s.batch_norm, "gradient_seconds": s.gradients, "other_seconds": s.others,
                           "img_per_s": s.img_per_s, "efficiency": efficiency(s, steps)} for s in steps], indent=1))
    else:
        print(table(steps))


if __name__ == "__main__":
    main()
