"""BigBiGAN in plain PyTorch, for comparison with the engine: parity and speed.

Written from the paper (Donahue & Simonyan 2019, arXiv 1907.02544), BigGAN and ResNet-v2, independently of the
engine's code. Names and shapes of parameters are those of docs/parameters.md, so that state_dict() keys are the
names in the engine's files. Images are NCHW here.
"""
import tomllib
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import nn

from layers import Attention, BatchNorm, ConditionalBatchNorm, Conv, Linear, Network, ResidualMlp

# Channel multipliers and attention by resolution: BigGAN's G_arch and D_arch.
G_TABLE = {32: (4, 4, 4, 4), 64: (16, 16, 8, 4, 2), 128: (16, 16, 8, 4, 2, 1), 256: (16, 16, 8, 8, 4, 2, 1)}
D_TABLE = {32: (4, 4, 4, 4), 64: (1, 2, 4, 8, 16), 128: (1, 2, 4, 8, 16, 16), 256: (1, 2, 4, 8, 8, 16, 16)}
D_DOWNS = {32: 2, 64: 4, 128: 5, 256: 6}
G_ATTENTION = {32: 0, 64: 32, 128: 64, 256: 128}
D_ATTENTION = {32: 0, 64: 32, 128: 64, 256: 64}
RESNET_UNITS = {"resnet14": (1, 1, 1, 1), "resnet26": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3),
                "resnet101": (3, 4, 23, 3)}

DEFAULTS = {
    "model": dict(
        resolution=128, image_channels=3, z_dim=120, prior="normal", embed_dim=128, g_width=96, d_width=96,
        g_channels=[], d_channels=[], g_attention=-1, d_attention=-1, mlp_width=2048, mlp_blocks=4,
        encoder="resnet50", encoder_width=1.0, encoder_channels=[], encoder_resolution=0,
        encoder_head_width=4096, encoder_head_blocks=2, encoder_stochastic=True, encoder_last_relu=True,
        loss_x=True, loss_z=True, loss_xz=True, sn_eps=1e-4, g_bn_eps=1e-4, e_bn_eps=1e-3, bn_momentum=0.99),
    "train": dict(batch=2048, d_steps=2, ema_decay=0.9999, ema_start=20000),
    "optim": dict(g_lr=5e-5, d_lr=2e-4, e_lr=5e-5, beta1=0.0, beta2=0.999, eps=1e-8),
}


def load_config(text):
    """The sections model, train and optim of a configuration in TOML, tables filled in."""
    given = tomllib.loads(text)
    config = SimpleNamespace(
        **{name: SimpleNamespace(**(keys | given.get(name, {}))) for name, keys in DEFAULTS.items()})
    m = config.model
    # The table's last blocks keep the image's size; own channels halve it down to 4x4, but for the last block.
    own_downs = min((m.resolution // 4).bit_length() - 1, len(m.d_channels) - 1)
    m.d_downs = own_downs if m.d_channels else D_DOWNS[m.resolution]
    m.g_channels = m.g_channels or [k * m.g_width for k in G_TABLE[m.resolution]]
    m.d_channels = m.d_channels or [k * m.d_width for k in D_TABLE[m.resolution]]
    m.g_attention = G_ATTENTION[m.resolution] if m.g_attention < 0 else m.g_attention
    m.d_attention = D_ATTENTION[m.resolution] if m.d_attention < 0 else m.d_attention
    m.encoder_resolution = m.encoder_resolution or m.resolution
    m.z_chunk = m.z_dim // len(m.g_channels)
    m.uses_latent = m.loss_z or m.loss_xz
    return config


# --- generator --------------------------------------------------------------------------------------------------

class GeneratorBlock(nn.Module):
    def __init__(self, n_in, n_out, condition, m):
        super().__init__()
        self.bn_1 = ConditionalBatchNorm(n_in, condition, m)
        self.conv_1 = Conv(n_in, n_out, 3, sn_eps=m.sn_eps)
        self.bn_2 = ConditionalBatchNorm(n_out, condition, m)
        self.conv_2 = Conv(n_out, n_out, 3, sn_eps=m.sn_eps)
        self.conv_sc = Conv(n_in, n_out, 1, sn_eps=m.sn_eps)
        # A batch norm follows at once and removes it: its gradient is rounding noise, which Adam would
        # scale up to full steps.
        self.conv_1.bias.requires_grad_(False)

    def forward(self, x, c):
        h = self.conv_1(F.interpolate(F.relu(self.bn_1(x, c)), scale_factor=2))
        h = self.conv_2(F.relu(self.bn_2(h, c)))
        return h + self.conv_sc(F.interpolate(x, scale_factor=2))


class Generator(Network):
    def __init__(self, m):
        super().__init__()
        channels = m.g_channels
        self.chunk, self.attention_resolution, self.blocks = m.z_chunk, m.g_attention, len(channels) - 1
        self.shared = Linear(m.embed_dim, 1, bias=False)    # weight (1, embed_dim): the one label's embedding
        self.linear = Linear(m.z_chunk, 16 * channels[0], sn_eps=m.sn_eps)
        for i in range(self.blocks):
            block = GeneratorBlock(channels[i], channels[i + 1], m.z_chunk + m.embed_dim, m)
            self.add_module(f"block_{i}", block)
            if 8 << i == m.g_attention:
                self.attention = Attention(channels[i + 1], m.sn_eps)
        self.output_bn = BatchNorm(channels[-1], m.g_bn_eps, m.bn_momentum)
        self.output_conv = Conv(channels[-1], m.image_channels, 3, sn_eps=m.sn_eps)

    def forward(self, z):
        first, *chunks = z.split(self.chunk, dim=1)
        embedding = self.shared.used.expand(z.shape[0], -1)
        x = self.linear(first).reshape(z.shape[0], 4, 4, -1).permute(0, 3, 1, 2)
        for i in range(self.blocks):
            x = getattr(self, f"block_{i}")(x, torch.cat([chunks[i], embedding], dim=1))
            if x.shape[2] == self.attention_resolution:
                x = self.attention(x)
        return torch.tanh(self.output_conv(F.relu(self.output_bn(x))))


# --- discriminator ----------------------------------------------------------------------------------------------

class DiscriminatorBlock(nn.Module):
    def __init__(self, n_in, n_out, first, down, sn_eps):
        super().__init__()
        self.conv_1 = Conv(n_in, n_out, 3, sn_eps=sn_eps)
        self.conv_2 = Conv(n_out, n_out, 3, sn_eps=sn_eps)
        self.conv_sc = Conv(n_in, n_out, 1, sn_eps=sn_eps) if down or n_in != n_out else None
        self.first, self.down = first, down

    def forward(self, x):
        h = self.conv_2(F.relu(self.conv_1(x if self.first else F.relu(x))))
        if not self.down:
            return h + (self.conv_sc(x) if self.conv_sc else x)
        shortcut = self.conv_sc(F.avg_pool2d(x, 2)) if self.first else F.avg_pool2d(self.conv_sc(x), 2)
        return F.avg_pool2d(h, 2) + shortcut


class ImageBranch(nn.Module):
    """F, and the score theta_x."""

    def __init__(self, m):
        super().__init__()
        self.blocks, self.attention_after = len(m.d_channels), None
        n_in, resolution = m.image_channels, m.resolution
        for i, n_out in enumerate(m.d_channels):
            down = i < m.d_downs
            self.add_module(f"block_{i}", DiscriminatorBlock(n_in, n_out, i == 0, down, m.sn_eps))
            resolution //= 2 if down else 1
            if resolution == m.d_attention and self.attention_after is None:
                self.attention, self.attention_after = Attention(n_out, m.sn_eps), i
            n_in = n_out
        self.score = Linear(n_in, 1, sn_eps=m.sn_eps) if m.loss_x else None

    def forward(self, x):
        for i in range(self.blocks):
            x = getattr(self, f"block_{i}")(x)
            if i == self.attention_after:
                x = self.attention(x)
        return F.relu(x).sum(dim=(2, 3))


class Discriminator(Network):
    def __init__(self, m):
        super().__init__()
        self.image = ImageBranch(m)
        mlp = dict(width=m.mlp_width, blocks=m.mlp_blocks, sn_eps=m.sn_eps)
        self.latent = self.joint = None
        if m.uses_latent:
            self.latent = ResidualMlp(m.z_dim, raw_input=True, with_score=m.loss_z, **mlp)
        if m.loss_xz:
            self.joint = ResidualMlp(m.d_channels[-1] + m.mlp_width, with_score=True, **mlp)

    def scores(self, f, h):
        """The scores in use, by name, of F's and H's outputs."""
        scores = {}
        if self.image.score:
            scores["x"] = self.image.score(f)
        if self.latent and self.latent.score:
            scores["z"] = self.latent.score(h)
        if self.joint:
            scores["xz"] = self.joint.score(self.joint(torch.cat([f, h], dim=1)))
        return scores


# --- encoder ----------------------------------------------------------------------------------------------------

class Unit(nn.Module):
    """ResNet-v2 unit: bottleneck (1x1, 3x3 with the stride, 1x1) or basic (3x3 with the stride, 3x3)."""

    def __init__(self, n_in, n_out, stride, bottleneck, bn):
        super().__init__()
        inner = n_out // 4 if bottleneck else n_out
        kernels = (1, 3, 1) if bottleneck else (3, 3)
        widths = (n_in, inner, inner, n_out) if bottleneck else (n_in, inner, n_out)
        self.convs = len(kernels)
        for i, kernel in enumerate(kernels):
            strided = i == (1 if bottleneck else 0)
            self.add_module(f"bn_{i + 1}", BatchNorm(widths[i], **bn))
            conv = Conv(widths[i], widths[i + 1], kernel, stride if strided else 1, bias=False)
            self.add_module(f"conv_{i + 1}", conv)
        self.conv_sc = Conv(n_in, n_out, 1, stride, bias=False) if stride > 1 or n_in != n_out else None

    def forward(self, x):
        h = F.relu(self.bn_1(x))
        shortcut = self.conv_sc(h) if self.conv_sc else x
        h = self.conv_1(h)
        for i in range(2, self.convs + 1):
            h = getattr(self, f"conv_{i}")(F.relu(getattr(self, f"bn_{i}")(h)))
        return h + shortcut


class Encoder(Network):
    def __init__(self, m):
        super().__init__()
        basic = m.encoder == "basic"
        bn = dict(eps=m.e_bn_eps, momentum=m.bn_momentum)
        self.small_stem = m.encoder_resolution <= 32
        widths = m.encoder_channels if basic else [int(c * m.encoder_width) for c in (256, 512, 1024, 2048)]
        units = [1] * len(widths) if basic else RESNET_UNITS[m.encoder]
        n_in = widths[0] if basic else int(64 * m.encoder_width)
        kernel, stride = (3, 1) if self.small_stem else (7, 2)
        self.stem = Conv(m.image_channels, n_in, kernel, stride, bias=False)
        self.stages = len(widths)
        for s, (n_out, count) in enumerate(zip(widths, units)):
            stage = nn.Sequential()
            for u in range(count):
                stage.add_module(f"unit_{u}", Unit(n_in, n_out, 2 if s > 0 and u == 0 else 1, not basic, bn))
                n_in = n_out
            self.add_module(f"stage_{s}", stage)
        self.final_bn = BatchNorm(n_in, **bn)
        self.last_relu = m.encoder_last_relu
        self.head = ResidualMlp(n_in, m.encoder_head_width, m.encoder_head_blocks)
        self.stochastic, self.tanh = m.encoder_stochastic, m.prior == "uniform"
        self.output = Linear(m.encoder_head_width, m.z_dim * (2 if self.stochastic else 1))

    def avepool(self, x):
        x = self.stem(x)
        if not self.small_stem:
            x = F.max_pool2d(F.pad(x, (1, 1, 1, 1)), 3, 2)      # explicit zeros take part in the maximum
        for s in range(self.stages):
            x = getattr(self, f"stage_{s}")(x)
        x = self.final_bn(x)
        return (F.relu(x) if self.last_relu else x).mean(dim=(2, 3))

    def latent(self, avepool):
        """Mean and standard deviation of z given x; deviation 0 where deterministic."""
        out = self.output(self.head(avepool))
        if self.stochastic:
            mean, raw = out.chunk(2, dim=1)
            return mean, F.softplus(raw, threshold=1e9)
        return (torch.tanh(out) if self.tanh else out), torch.zeros_like(out)

    def forward(self, x, eps):
        mean, stdev = self.latent(self.avepool(x))
        return mean + eps * stdev if self.stochastic else mean


# --- losses and training ----------------------------------------------------------------------------------------

def discriminator_loss(real, fake):
    """L_D: each score's hinge clamped on its own."""
    return sum(F.relu(1 - real[k]).mean() + F.relu(1 + fake[k]).mean() for k in real)


def encoder_generator_loss(real, fake):
    """L_EG: linear."""
    return sum(real[k].mean() - fake[k].mean() for k in real)


class BigBiGAN(nn.Module):
    """G, E (where a score reads a latent) and D with their optimisers and moving averages."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.generator, self.discriminator = Generator(config.model), Discriminator(config.model)
        self.encoder = Encoder(config.model) if config.model.uses_latent else None
        self.average = {}       # of G's and E's weights and running statistics, by name
        self.steps = 0
        self.make_optimisers()

    def make_optimisers(self, **options):
        o = self.config.optim
        adam = dict(betas=(o.beta1, o.beta2), eps=o.eps, **options)
        groups = [dict(params=self.trained(self.generator), lr=o.g_lr)]
        if self.encoder:
            groups.append(dict(params=self.trained(self.encoder), lr=o.e_lr))
        self.eg_parameters = [p for group in groups for p in group["params"]]
        self.d_optimiser = torch.optim.Adam(self.trained(self.discriminator), lr=o.d_lr, **adam)
        self.eg_optimiser = torch.optim.Adam(groups, **adam)

    @staticmethod
    def trained(network):
        return [p for p in network.parameters() if p.requires_grad]

    def discriminator_image(self, x):
        factor = x.shape[2] // self.config.model.resolution
        return F.avg_pool2d(x, factor) if factor > 1 else x

    def discriminator_scores(self, x, z, eps):
        """Scores of encoder and generator pairs for L_D: gradient to D only."""
        d, n = self.discriminator, x.shape[0]
        with torch.no_grad():
            self.generator.begin()
            images = torch.cat([self.discriminator_image(x), self.generator(z)])
            if d.latent:
                self.encoder.begin()
                latents = torch.cat([self.encoder(x, eps), z])
        d.begin()
        scores = d.scores(d.image(images), d.latent(latents) if d.latent else None)
        return {k: s[:n] for k, s in scores.items()}, {k: s[n:] for k, s in scores.items()}

    def encoder_generator_scores(self, x, z, eps):
        """Scores of both halves for L_EG: D's weights are constants, F(x) and H(z) need no gradient."""
        d = self.discriminator
        self.generator.begin(update_running=True)
        with torch.no_grad():
            d.begin()
            f_real = d.image(self.discriminator_image(x))
            h_fake = d.latent(z) if d.latent else None
        f_fake, h_real = d.image(self.generator(z)), None
        if d.latent:
            self.encoder.begin(update_running=True)
            h_real = d.latent(self.encoder(x, eps))
        return d.scores(f_real, h_real), d.scores(f_fake, h_fake)

    def discriminator_gradients(self, x, z, eps):
        self.d_optimiser.zero_grad()
        loss = discriminator_loss(*self.discriminator_scores(x, z, eps))
        loss.backward(inputs=self.trained(self.discriminator))
        return loss

    def encoder_generator_gradients(self, x, z, eps):
        self.eg_optimiser.zero_grad()
        self.discriminator.requires_grad_(False)
        loss = encoder_generator_loss(*self.encoder_generator_scores(x, z, eps))
        loss.backward(inputs=self.eg_parameters)
        self.discriminator.requires_grad_(True)
        return loss

    def step(self, batches):
        """One training step on d_steps + 1 batches (x, z, eps)."""
        *d_batches, eg_batch = batches
        for batch in d_batches:
            self.discriminator_gradients(*batch)
            self.d_optimiser.step()
        self.encoder_generator_gradients(*eg_batch)
        self.eg_optimiser.step()
        self.steps += 1
        self.update_average()

    def averaged(self):
        """Live weights and statistics that have a moving average: G's and E's; u is shared, not averaged."""
        return {name: value for name, value in self.state_dict().items()
                if not name.startswith("discriminator.") and not name.endswith(".u")}

    @torch.no_grad()
    def update_average(self):
        """average = decay average + (1 - decay) live; equal to the live values before step ema_start."""
        t = self.config.train
        if not self.average or self.steps < t.ema_start:
            self.average = {name: value.clone() for name, value in self.averaged().items()}
        else:
            live = list(self.averaged().values())
            torch._foreach_lerp_(list(self.average.values()), live, 1 - t.ema_decay)
