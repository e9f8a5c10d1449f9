"""Writes tests/golden/*.safetensors: what the PyTorch peer computes in f64, for tests/models/test_parity.cc.

A file holds the configuration (metadata "config"), and as tensors
  <name>                     initial weights and buffers, f32, under their names in docs/parameters.md
  input.<k>.z, .eps          latents and noise of sub-step k: three steps of d_steps + 1 each
  input.<k>.x                images, u8 NHWC, of the even (k = 0) and the odd sub-steps (k = 1)
  forward.<what>             of the first D update, at the initial weights
  stored.<what>              the same in evaluation: stored BN statistics, no power iteration
  terms.d, terms.eg          the loss terms of both updates, each at the initial weights
  gradient.<name>            of L_D (discriminator) and L_EG, each at the initial weights
  after.<name>               after three steps: rows live, average (G and E), Adam's m and v (parameters)
From forward on all are f64 and digests: see digest().

Usage: scripts/peers/python scripts/peers/make_golden.py [--search N] [--cases NAME...]
--search tries N seeds of each case and prints the best, see kink_distance().
"""
import argparse
import json
import struct
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from bigbigan_torch import BigBiGAN, discriminator_loss, encoder_generator_loss, load_config

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "golden"
STEPS = 3
LEARNING = """
[train]
batch = {batch}
d_steps = {d_steps}
ema_decay = 0.9
ema_start = 2

[optim]
g_lr = 1e-3
d_lr = 2e-3
e_lr = 5e-4
beta1 = {beta1}
eps = {eps}
"""
SMALL = """[model]
resolution = 32
image_channels = 1
z_dim = 8
embed_dim = 3
g_channels = [8, 6, 4, 4]
d_channels = [4, 6, 8, 8]
mlp_width = 6
mlp_blocks = 2
encoder = "basic"
encoder_channels = [4, 6, 8]
encoder_head_width = 6
"""
ATTENTION = """[model]
resolution = 32
z_dim = 12
embed_dim = 4
g_channels = [12, 8, 8, 4]
d_channels = [8, 8, 12, 12]
g_attention = 16
d_attention = 16
mlp_width = 8
mlp_blocks = 3
encoder = "resnet14"
encoder_width = 0.03125
encoder_head_width = 16
"""
POOLED = """[model]
resolution = 64
encoder_resolution = 128
image_channels = 1
z_dim = 10
embed_dim = 5
g_channels = [8, 8, 8, 8, 4]
d_channels = [4, 8, 8, 8, 8]
g_attention = 32
d_attention = 16
mlp_width = 8
mlp_blocks = 1
encoder = "resnet14"
encoder_width = 0.03125
encoder_head_width = 8
encoder_head_blocks = 1
"""
# A large Adam eps, as is usual here, keeps rounding noise from being scaled up to full steps (f32 compares
# too) and shows where eps enters the formula.
CASES = {
    "basic": (SMALL, {}),
    "attention": (ATTENTION, dict(d_steps=2, beta1=0.5)),
    "pooled": (POOLED, dict(batch=2)),
    "deterministic": (SMALL + "encoder_stochastic = false\nencoder_last_relu = false\n", dict(eps=1e-6)),
    "uniform": (SMALL + 'prior = "uniform"\nencoder_stochastic = false\n', {}),
    "no_encoder": (SMALL + "loss_z = false\nloss_xz = false\n", {}),
    "joint_only": (SMALL + "loss_x = false\nloss_z = false\n", dict(d_steps=2, beta1=0.9)),
    "latent_only": (SMALL + "loss_x = false\nloss_xz = false\n", {}),
}
SEEDS = dict(basic=80, attention=90, pooled=113, deterministic=20, uniform=134, no_encoder=15, joint_only=209,
             latent_only=47)      # found with --search 200 or more
LEARNING_DEFAULTS = dict(batch=3, d_steps=1, beta1=0.0, eps=1e-3)


def digest(tensor):
    """The values where there are at most 32; else the largest magnitude and 7 sums with fixed random signs.

    The sign of element i in sum k is bit k of a hash of i; an error anywhere moves all sums.
    """
    values = tensor.detach().double().flatten().numpy()
    if values.size <= 32:
        return values
    mask = np.uint64(0xFFFFFFFF)
    h = (np.arange(1, values.size + 1, dtype=np.uint64) * np.uint64(2654435761)) & mask
    h ^= h >> np.uint64(15)
    h = (h * np.uint64(2246822519)) & mask
    h ^= h >> np.uint64(13)
    sums = [np.where(h >> np.uint64(k) & np.uint64(1), values, -values).sum() for k in range(7)]
    return np.array([np.abs(values).max(), *sums])


def write_safetensors(path, tensors, metadata):
    names = {np.dtype("float64"): "F64", np.dtype("float32"): "F32", np.dtype("uint8"): "U8"}
    header, offset = {"__metadata__": metadata}, 0
    for name, value in tensors.items():
        header[name] = {"dtype": names[value.dtype], "shape": list(value.shape),
                        "data_offsets": [offset, offset + value.nbytes]}
        offset += value.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for value in tensors.values():
            file.write(np.ascontiguousarray(value).tobytes())


def initial_weights(model, rng):
    """Random values for everything, so that nothing is at a special point; exact in f32."""
    result = {}
    for name, value in model.state_dict().items():
        shape = tuple(value.shape)
        draw = rng.standard_normal(shape)
        if name.endswith(".u"):
            weight = draw
        elif name.endswith("running_var"):
            weight = 0.5 + rng.random(shape)
        elif name.endswith("gamma"):
            weight = 0.5 + 0.1 * draw
        elif len(shape) >= 2:
            weight = draw / np.sqrt(np.prod(shape[1:]))
        else:
            weight = (name.endswith(".weight") and 1.0) + 0.2 * draw
        result[name] = weight.astype(np.float32)
    return result


def stored_inputs(config, rng):
    m, n = config.model, config.train.batch
    draw = rng.standard_normal if m.prior == "normal" else lambda shape: rng.uniform(-1, 1, shape)
    image = (n, m.encoder_resolution, m.encoder_resolution, m.image_channels)
    stored = {f"input.{k}.x": rng.integers(0, 256, image, dtype=np.uint8) for k in range(2)}
    for k in range(STEPS * (config.train.d_steps + 1)):
        stored[f"input.{k}.z"] = draw((n, m.z_dim)).astype(np.float32)
        stored[f"input.{k}.eps"] = rng.standard_normal((n, m.z_dim)).astype(np.float32)
    return stored


def sub_step(stored, k):
    """x, z and eps of sub-step k as the model takes them."""
    x, z, eps = (torch.from_numpy(stored[name]).double()
                 for name in (f"input.{k % 2}.x", f"input.{k}.z", f"input.{k}.eps"))
    return x.permute(0, 3, 1, 2) / 127.5 - 1, z, eps


def forward_values(model, inputs, stored):
    """What the first D update computes on the way, or the same in evaluation; images as NHWC."""
    x, z, eps = inputs
    d, values = model.discriminator, {}
    with torch.no_grad():
        for network in filter(None, (model.generator, d, model.encoder)):
            network.begin(stored=stored)
        image = model.generator(z)
        values["generated"] = image.permute(0, 2, 3, 1)
        pairs = {"real": [model.discriminator_image(x), None], "fake": [image, z]}
        if model.encoder:
            values["avepool"] = model.encoder.avepool(x)
            values["mean"], values["stdev"] = model.encoder.latent(values["avepool"])
            pairs["real"][1] = model.encoder(x, eps)
        for half, (image, latent) in pairs.items():
            values[f"{half}.f"] = d.image(image)
            values[f"{half}.h"] = d.latent(latent) if d.latent else None
            f, h = values[f"{half}.f"], values[f"{half}.h"]
            values[f"{half}.j"] = d.joint(torch.cat([f, h], dim=1)) if d.joint else None
            values |= {f"{half}.score_{k}": s for k, s in d.scores(f, h).items()}
    return {name: value for name, value in values.items() if value is not None}


def loss_terms(loss, real, fake):
    """Loss, its parts by x, z, xz, then mean scores (real, fake) of x, z, xz; 0 for those not in use."""
    kinds = ("x", "z", "xz")
    parts = [loss({k: real[k]}, {k: fake[k]}).item() if k in real else 0.0 for k in kinds]
    means = [s[k].mean().item() if k in s else 0.0 for k in kinds for s in (real, fake)]
    return np.array([sum(parts), *parts, *means])


def after_rows(model, name, value):
    rows = [value]
    if name in model.average:
        rows.append(model.average[name])
    parameter = dict(model.named_parameters()).get(name)
    if parameter is not None:
        optimiser = model.d_optimiser if name.startswith("discriminator.") else model.eg_optimiser
        state = optimiser.state.get(parameter) or dict.fromkeys(("exp_avg", "exp_avg_sq"), value * 0)
        rows += [state["exp_avg"], state["exp_avg_sq"]]
    return np.stack([digest(row) for row in rows])


class TooClose(Exception):
    """A value came closer to a kink than wanted."""


@contextmanager
def kink_distance(least=0.0):
    """Collects how close a ReLU came to 0 or a max-pool to a tie, relative to the tensor's largest value.

    f32 puts a value closer than its rounding, about 3e-7, on the other side at times, and gradients jump. Seeds
    are chosen for a distance of about 1e-6, so that f32 can be held to 1e-5. Raises TooClose below `least`.
    """
    distances = []
    relu, max_pool2d = F.relu, F.max_pool2d

    def record(x, gaps):
        gaps = gaps[gaps != 0]      # exact zeros and ties are exact in f32, too
        if gaps.numel() and torch.is_grad_enabled():
            distances.append((gaps.abs().min() / x.abs().max()).item())
            if distances[-1] < least:
                raise TooClose

    def recording_relu(x):
        record(x.detach(), x.detach())
        return relu(x)

    def recording_max_pool2d(x, size, stride=None):
        stride = stride or size
        windows = x.detach().unfold(2, size, stride).unfold(3, size, stride).flatten(4)
        record(x.detach(), torch.diff(windows.topk(2).values))
        return max_pool2d(x, size, stride)

    F.relu, F.max_pool2d = recording_relu, recording_max_pool2d
    try:
        yield distances
    finally:
        F.relu, F.max_pool2d = relu, max_pool2d


def golden_tensors(toml, seed):
    config = load_config(toml)
    rng = np.random.default_rng(seed)
    model = BigBiGAN(config)
    initial, stored = initial_weights(model, rng), stored_inputs(config, rng)
    tensors = initial | stored
    per_step = config.train.d_steps + 1
    inputs = [sub_step(stored, k) for k in range(STEPS * per_step)]

    def restart():
        model.load_state_dict({key: torch.from_numpy(value).double() for key, value in initial.items()})

    for prefix in ("forward", "stored"):
        restart()
        values = forward_values(model, inputs[0], stored=prefix == "stored")
        tensors |= {f"{prefix}.{what}": digest(value) for what, value in values.items()}
    restart()
    tensors["terms.d"] = loss_terms(discriminator_loss, *model.discriminator_scores(*inputs[0]))
    restart()
    tensors["terms.eg"] = loss_terms(encoder_generator_loss, *model.encoder_generator_scores(*inputs[0]))
    restart()
    model.discriminator_gradients(*inputs[0])
    restart()
    model.encoder_generator_gradients(*inputs[0])
    for key, parameter in model.named_parameters():
        gradient = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
        tensors[f"gradient.{key}"] = digest(gradient)

    restart()
    for step in range(STEPS):
        model.step(inputs[step * per_step:(step + 1) * per_step])
    return tensors | {f"after.{key}": after_rows(model, key, v) for key, v in model.state_dict().items()}


def search(name, toml, seeds):
    best = (0.0, -1)
    for seed in range(seeds):
        try:
            with kink_distance(best[0]) as distances:
                golden_tensors(toml, seed)
            best = (min(distances), seed)
        except TooClose:
            pass
    print(f"{name}: seed {best[1]} keeps a distance of {best[0]:.1e}", flush=True)


def write(name, toml):
    with kink_distance() as distances:
        tensors = golden_tensors(toml, SEEDS[name])
    path = FOLDER / f"{name}.safetensors"
    write_safetensors(path, tensors, {"config": toml})
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB, loss D {tensors['terms.d'][0]:.3f}, "
          f"EG {tensors['terms.eg'][0]:.3f}, distance to kinks {min(distances):.1e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--search", type=int, metavar="N", help="try N seeds of each case")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    arguments = parser.parse_args()
    torch.set_default_dtype(torch.float64)
    FOLDER.mkdir(exist_ok=True)
    for name in arguments.cases:
        model, learning = CASES[name]
        toml = model + LEARNING.format(**(LEARNING_DEFAULTS | learning))
        if arguments.search:
            search(name, toml, arguments.search)
        else:
            write(name, toml)


if __name__ == "__main__":
    main()
