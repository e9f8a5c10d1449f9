"""Times PyTorch's operation of the same meaning as each kernel that bigbigan-bench timed, with the sizes that its name tells.

On a GPU the calls are recorded as one graph and timed by CUDA events, over copies of the operands that no cache holds
together; images are channels_last. What PyTorch has no operation for is left out. Writes {"us": {name: microseconds}}.

Usage: python3 scripts/peers/op_time.py --device cuda --names bench.json --out peer_ops.json
"""
import argparse
import json
import re
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from bigbigan_torch import BigBiGAN, load_config

ROOT = Path(__file__).resolve().parents[2]
COLD_BYTES = 256 << 20      # operands beyond every cache
LAUNCHES, REPEATS = 8, 5
PEERS = {}      # launcher -> function that makes operands by a Setup, of the sizes in a name, and returns the call


def peer(name):
    def register(function):
        PEERS[name] = function
        return function
    return register


class Setup:
    """Makes operands on the device; `bytes` counts them."""

    def __init__(self, device, dtype):
        self.device, self.dtype, self.bytes = device, dtype, 0

    def normal(self, *shape, dtype=None):
        made = torch.randn(shape, device=self.device).to(dtype or self.dtype)
        self.bytes += made.numel() * made.element_size()
        return made

    def image(self, n, h, w, c):
        """NCHW with channels last, from the engine's NHWC."""
        return self.normal(n, h, w, c).permute(0, 3, 1, 2)


def backward_of(forward, inputs, setup):
    """A call that runs only the backward pass of a forward pass done here."""
    inputs = [x.detach().requires_grad_(True) for x in inputs]
    y = forward(*inputs)
    d_y = setup.normal(*y.shape)
    if y.dim() == 4:
        d_y = d_y.contiguous(memory_format=torch.channels_last)
    return lambda: torch.autograd.grad(y, inputs, d_y, retain_graph=True)


# --- images -------------------------------------------------------------------------------------------------------------

@peer("relu_forward")
def _(s, k):
    x = s.image(*k["x"])
    return lambda: torch.relu(x)


@peer("relu_backward")
def _(s, k):
    return backward_of(torch.relu, [s.image(*k["x"])], s)


@peer("add")
def _(s, k):
    a, b = s.image(*k["x"]), s.image(*k["x"])
    return lambda: a + b


@peer("add_upsampled")
def _(s, k):
    n, h, w, c = k["x"]
    a, b = s.image(n, h, w, c), s.image(n, h // 2, w // 2, c)
    return lambda: a + F.interpolate(b, scale_factor=2)


@peer("upsample2x")
def _(s, k):
    x = s.image(*k["x"])
    return lambda: F.interpolate(x, scale_factor=2)


@peer("pool_sum2x2")
@peer("box_downsample")
def _(s, k):
    x = s.image(*k["x"])
    return lambda: F.avg_pool2d(x, 2)


@peer("max_pool_forward")
def _(s, k):
    x = s.image(*k["x"])
    return lambda: F.max_pool2d(x, 2)


@peer("max_pool_backward")
def _(s, k):
    return backward_of(lambda x: F.max_pool2d(x, 2), [s.image(*k["x"])], s)


@peer("relu_pool_forward")
def _(s, k):
    x = s.image(*k["x"])
    return lambda: (torch.relu(x), F.avg_pool2d(x, 2))


@peer("relu_pool_backward")
def _(s, k):
    n, h, w, c = k["x"]
    x = s.image(n, h, w, c).requires_grad_(True)
    outputs = torch.relu(x), F.avg_pool2d(x, 2)
    gradients = s.image(n, h, w, c), s.image(n, h // 2, w // 2, c)
    return lambda: torch.autograd.grad(outputs, x, gradients, retain_graph=True)


@peer("relu_backward_sums")
def _(s, k):
    y, d_y = s.image(*k["x"]), s.image(*k["x"])

    def call():
        d = torch.where(y > 0, d_y, 0)
        return d, d.sum(dim=(0, 2, 3))
    return call


@peer("global_pool_forward")
def _(s, k):
    x = s.image(*k["x"])
    return lambda: x.sum(dim=(2, 3))


@peer("column_sum")
def _(s, k):
    x = s.image(*k["x"])
    return lambda: x.sum(dim=(0, 2, 3))


@peer("normalize_image")
def _(s, k):
    n, h, w, c = k["x"]
    pixels = torch.randint(0, 256, (n, h, w, c), dtype=torch.uint8, device=s.device)
    s.bytes += pixels.numel()
    return lambda: pixels.to(torch.float32).mul_(1 / 127.5).sub_(1)


@peer("random_normal")
def _(s, k):
    y = s.normal(*k["y"])
    return lambda: y.normal_()


@peer("reparametrize_forward")
def _(s, k):
    n, z = k["z"]
    stats, eps = s.normal(n, 2 * z), s.normal(n, z)
    return lambda: torch.addcmul(stats[:, :z], F.softplus(stats[:, z:]), eps)


@peer("adversarial_forward")
def _(s, k):
    kinds, n = k["scores"]
    real, fake = s.normal(kinds // 2, n), s.normal(kinds // 2, n)
    return lambda: F.relu(1 - real).mean(1) + F.relu(1 + fake).mean(1)


# --- batch norm ---------------------------------------------------------------------------------------------------------

@peer("batch_statistics")
def _(s, k):
    x = s.image(*k["x"])

    def forward():
        variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)
        return mean, torch.rsqrt(variance + 1e-4)
    return forward


@peer("batch_norm_apply")
def _(s, k):
    """By given statistics, with gain and shift of each sample, and ReLU. Its backward is one operation in PyTorch and two
    kernels here, which have no peers."""
    x = s.image(*k["x"])
    n, c = x.shape[:2]
    gain, shift = s.normal(n, c)[:, :, None, None], s.normal(n, c)[:, :, None, None]
    mean, variance = torch.zeros(c, device=s.device), torch.ones(c, device=s.device)

    def forward():
        y = F.relu(torch.addcmul(shift, F.batch_norm(x, mean, variance), gain))
        return F.interpolate(y, scale_factor=2) if k.get("upsample") else y
    return forward


# --- weights ------------------------------------------------------------------------------------------------------------

@peer("spectral_norm")
def _(s, k):
    text = (ROOT / "train/presets/base.toml").read_text() if k["elems"] > 1e6 else SMALL
    model = BigBiGAN(load_config(text))
    network = {"g": model.generator, "d": model.discriminator}[k["network"]].to(s.device)
    network.requires_grad_(False)
    s.bytes += 4 * k["elems"]
    return network.begin


SMALL = "[model]\nresolution = 32\nz_dim = 32\ng_channels = [8, 8, 8, 8]\nd_channels = [4, 4, 4, 4]\nmlp_width = 8\n"


@peer("optimizer_update")
def _(s, k):
    """Adam, then the moving average and the weights in bf16: of one tensor, PyTorch's best case."""
    weight = torch.nn.Parameter(s.normal(k["elems"]))
    weight.grad, average = s.normal(k["elems"]), s.normal(k["elems"])
    packed = s.normal(k["elems"], dtype=torch.bfloat16) if "packed" in k else None
    adam = torch.optim.Adam([weight], lr=1e-4, betas=(0.5, 0.999), fused=True, capturable=s.device == "cuda")

    def update():
        adam.step()
        torch._foreach_lerp_([average], [weight.detach()], 0.001)
        if packed is not None:
            packed.copy_(weight.detach())
    return update


@peer("ema_update")
def _(s, k):
    average, value = s.normal(k["elems"]), s.normal(k["elems"])
    return lambda: torch._foreach_lerp_([average], [value], 0.001)


@peer("gradient_sums")
def _(s, k):
    """The gradient's norm, and its product with the weights: of one tensor, PyTorch's best case."""
    grad, weight = s.normal(k["elems"]), s.normal(k["elems"])
    return lambda: (torch._foreach_norm([grad]), torch.dot(grad, weight))


# --- products, attention, classes ---------------------------------------------------------------------------------------

def attention_inputs(s, k):
    return [s.normal(k["n"], 1, rows, width) for rows, width in
            ((k["q"], k["d"]), (k["k"], k["d"]), (k["k"], k["v"]))]


def attention(query, key, value):
    return F.scaled_dot_product_attention(query, key, value, scale=1.0)


@peer("attention_forward")
def _(s, k):
    inputs = attention_inputs(s, k)
    return lambda: attention(*inputs)


@peer("attention_backward")
def _(s, k):
    return backward_of(attention, attention_inputs(s, k), s)


def split_projections(joint, depth):
    return joint[:, :depth].contiguous(memory_format=torch.channels_last), F.max_pool2d(joint[:, depth:], 2)


@peer("split_projections")
def _(s, k):
    joint = s.image(*k["x"])
    return lambda: split_projections(joint, k["d"])


@peer("split_projections_backward")
def _(s, k):
    joint = s.image(*k["x"]).requires_grad_(True)
    outputs = split_projections(joint, k["d"])
    gradients = [torch.randn_like(y) for y in outputs]
    s.bytes += sum(g.numel() * g.element_size() for g in gradients)
    return lambda: torch.autograd.grad(outputs, joint, gradients, retain_graph=True)


def convolution(s, k):
    x = s.image(k["n"], k["hw"], k["hw"], k["c"])
    w = s.image(k["k"], k["r"], k["r"], k["c"])
    pad = (k["r"] - 1) // 2
    return x, w, lambda x, w: F.conv2d(x, w, stride=k["stride"], padding=pad)


@peer("conv2d_fprop")
def _(s, k):
    x, w, forward = convolution(s, k)
    return lambda: forward(x, w)


@peer("conv2d_dgrad")
def _(s, k):
    x, w, forward = convolution(s, k)
    return backward_of(lambda x: forward(x, w), [x], s)


@peer("conv2d_wgrad")
def _(s, k):
    x, w, forward = convolution(s, k)
    return backward_of(lambda w: forward(x, w), [w], s)


@peer("gemm")
def _(s, k):
    a, b = s.normal(k["m"], k["k"]), s.normal(k["n"], k["k"])
    return lambda: F.linear(a, b)


@peer("softmax_cross_entropy_fwd")
def _(s, k):
    logits = s.normal(k["rows"], k["classes"])
    labels = torch.randint(0, k["classes"], (k["rows"],), device=s.device)
    return lambda: F.cross_entropy(logits, labels)


# --- nearest neighbours -------------------------------------------------------------------------------------------------

@peer("l1_distances")
def _(s, k):
    queries, references = s.normal(k["queries"], k["columns"]), s.normal(k["references"], k["columns"])
    return lambda: torch.cdist(queries, references, p=1)


@peer("update_nearest")
def _(s, k):
    """Of the distances: PyTorch would write and read them once more."""
    distances = s.normal(k["queries"], k["references"])
    return lambda: torch.topk(distances, k["k"], dim=1, largest=False)


# --- timing -------------------------------------------------------------------------------------------------------------

def parse(name):
    """The launcher, its sizes and its dtype: relu_forward/x:2x4x4x8/bf16."""
    launcher, *keys, dtype = name.split("/")
    sizes = {}
    for key in keys:
        word, value = key.split(":")
        numbers = re.fullmatch(r"\d+(x\d+)*", value)
        sizes[word] = value if not numbers else int(value) if "x" not in value else [int(v) for v in value.split("x")]
        if word in ("x", "y", "z", "scores") and isinstance(sizes[word], int):
            sizes[word] = [sizes[word]]
    return launcher, sizes, {"f32": torch.float32, "bf16": torch.bfloat16}[dtype]


def calls_of(make, sizes, dtype, device):
    """The same call on so many sets of operands that none is in a cache when its turn comes."""
    setup = Setup(device, dtype)
    calls = [make(setup, sizes)]
    copies = 1 if device == "cpu" else min(LAUNCHES, -(-COLD_BYTES // max(1, setup.bytes)))
    return calls + [make(Setup(device, dtype), sizes) for _ in range(copies - 1)]


def cpu_us(calls):
    begin = time.perf_counter()
    for call in calls:
        call()
    return (time.perf_counter() - begin) / len(calls) * 1e6


def cuda_us(calls):
    """Runs on the stream that the calls were made on: autograd's backward uses that of its forward."""
    def run():
        for i in range(LAUNCHES):
            calls[i % len(calls)]()

    run()       # warm-up: libraries choose their algorithms
    torch.cuda.synchronize()
    repeat = run
    try:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
            run()
        repeat = graph.replay
    except RuntimeError as error:       # it does without a graph, at the cost of launch times
        print(f"not recorded: {str(error).splitlines()[0]}", file=sys.stderr)
    times = []
    for _ in range(REPEATS + 1):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        repeat()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e3 / LAUNCHES)
    return statistics.median(times[1:])


def versions(device):
    if device == "cpu":
        return {"torch": torch.__version__, "device": "cpu"}
    return {"torch": torch.__version__, "cudnn": torch.backends.cudnn.version(), "device": torch.cuda.get_device_name()}


def measure_all(names, device, measure, save):
    """Microseconds by name, and the names that failed; `save` gets both after each, since the time may end."""
    results, failed = {}, []
    for name in names:
        if name.split("/")[0] not in PEERS:
            continue
        try:
            launcher, sizes, dtype = parse(name)
            results[name] = measure(calls_of(PEERS[launcher], sizes, dtype, device))
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            failed.append(name)
            print(f"{name}: {str(error).splitlines()[0]}", file=sys.stderr)
        save(results, failed)
        if device == "cuda":
            torch.cuda.empty_cache()
    return results, failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"])
    parser.add_argument("--names", type=Path, required=True, help="JSON of bigbigan-bench")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = True, False
    names = dict.fromkeys(re.sub(r"(/iterations:1)?/manual_time$", "", b["name"])
                          for b in json.loads(arguments.names.read_text())["benchmarks"] if "error_message" not in b)
    about = versions(arguments.device)

    def save(results, failed):
        arguments.out.write_text(json.dumps({**about, "us": results, "failed": failed}, indent=1))

    if arguments.device == "cuda":
        with torch.cuda.stream(torch.cuda.Stream()):
            results, failed = measure_all(names, arguments.device, cuda_us, save)
    else:
        results, failed = measure_all(names, arguments.device, cpu_us, save)
    print(f"{len(results)} of {len(names)} kernels have a peer; {len(failed)} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
