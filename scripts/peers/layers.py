"""Layers of the PyTorch BigBiGAN: spectrally normalised weights, batch norms, attention, residual MLP."""
import torch
import torch.nn.functional as F
from torch import nn


class Spectral(nn.Module):
    """A weight that is used divided by its largest singular value, where `sn_eps` is set."""

    def __init__(self, shape, bias, sn_eps):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.zeros(shape[0])) if bias else None
        self.sn_eps = sn_eps
        if sn_eps is not None:
            self.register_buffer("u", torch.randn(shape[0]))
        nn.init.orthogonal_(self.weight)

    @property
    def used(self):
        return self.weight if self.sn_eps is None else self.normalised

    def prepare(self, iterate):
        """At most one power iteration; `normalised` is what forward passes read until the next call."""
        if self.sn_eps is None:
            return
        with torch.autocast(self.weight.device.type, enabled=False):    # in f32, whatever the rest is in
            self.normalised = self.weight / self.sigma(iterate)

    def sigma(self, iterate):
        matrix = self.weight.flatten(1)
        with torch.no_grad():
            v = F.normalize(self.u @ matrix, dim=0, eps=self.sn_eps)
            u = F.normalize(matrix @ v, dim=0, eps=self.sn_eps) if iterate else self.u
            self.u.copy_(u)
        return torch.dot(u, matrix @ v)


class Linear(Spectral):
    def __init__(self, n_in, n_out, bias=True, sn_eps=None):
        super().__init__((n_out, n_in), bias, sn_eps)

    def forward(self, x):
        return F.linear(x, self.used, self.bias)


class Conv(Spectral):
    """Square convolution with symmetric padding kernel // 2."""

    def __init__(self, n_in, n_out, kernel, stride=1, bias=True, sn_eps=None):
        super().__init__((n_out, n_in, kernel, kernel), bias, sn_eps)
        self.stride, self.padding = stride, kernel // 2

    def forward(self, x):
        return F.conv2d(x, self.used, self.bias, self.stride, self.padding)


class Normalise(nn.Module):
    """x - mean over sqrt(var + eps) by batch statistics, or stored ones: running means, biased variance."""

    def __init__(self, channels, eps, momentum):
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.eps, self.momentum = eps, momentum
        self.update_running = self.stored = False

    def standardise(self, x, gain=None, bias=None):
        if self.stored:
            return F.batch_norm(x, self.running_mean, self.running_var, gain, bias, eps=self.eps)
        if not self.update_running:
            return F.batch_norm(x, None, None, gain, bias, training=True, eps=self.eps)
        mean, var = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
        y = F.batch_norm(x, mean, var, gain, bias, training=True, momentum=1.0, eps=self.eps)
        count = x.numel() // x.shape[1]
        self.running_mean.lerp_(mean, 1 - self.momentum)
        self.running_var.lerp_(var * ((count - 1) / count), 1 - self.momentum)
        return y


class BatchNorm(Normalise):
    def __init__(self, channels, eps, momentum):
        super().__init__(channels, eps, momentum)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        return self.standardise(x, self.weight, self.bias)


class ConditionalBatchNorm(Normalise):
    """Gain 1 + W_g c and shift W_b c of a condition c."""

    def __init__(self, channels, condition, m):
        super().__init__(channels, m.g_bn_eps, m.bn_momentum)
        self.gain = Linear(condition, channels, bias=False, sn_eps=m.sn_eps)
        self.bias = Linear(condition, channels, bias=False, sn_eps=m.sn_eps)

    def forward(self, x, c):
        gain, shift = 1 + self.gain(c)[:, :, None, None], self.bias(c)[:, :, None, None]
        return torch.addcmul(shift, self.standardise(x), gain)


class Attention(nn.Module):
    """BigGAN's non-local block: keys and values max-pooled, no scaling, gain gamma starting at 0."""

    def __init__(self, channels, sn_eps):
        super().__init__()
        def conv(n_in, n_out): return Conv(n_in, n_out, 1, bias=False, sn_eps=sn_eps)
        self.theta, self.phi = conv(channels, channels // 8), conv(channels, channels // 8)
        self.g, self.o = conv(channels, channels // 2), conv(channels // 2, channels)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        query = self.theta(x).flatten(2)                    # (N, C/8, HW)
        key = F.max_pool2d(self.phi(x), 2).flatten(2)       # (N, C/8, HW/4)
        value = F.max_pool2d(self.g(x), 2).flatten(2)       # (N, C/2, HW/4)
        weights = torch.softmax(query.transpose(1, 2) @ key, dim=-1)
        mixed = value @ weights.transpose(1, 2)
        return x + self.gamma * self.o(mixed.reshape(x.shape[0], -1, *x.shape[2:]))


class MlpBlock(nn.Module):
    def __init__(self, n_in, width, raw_input, sn_eps):
        super().__init__()
        self.linear_1 = Linear(n_in, width, sn_eps=sn_eps)
        self.linear_2 = Linear(width, width, sn_eps=sn_eps)
        self.proj = Linear(n_in, width, bias=False, sn_eps=sn_eps) if n_in != width else None
        self.raw_input = raw_input

    def forward(self, x):
        h = self.linear_2(F.relu(self.linear_1(x if self.raw_input else F.relu(x))))
        return h + (self.proj(x) if self.proj else x)


class ResidualMlp(nn.Module):
    """Residual blocks and a final ReLU; `with_score` adds the linear score that D puts on top."""

    def __init__(self, n_in, width, blocks, raw_input=False, sn_eps=None, with_score=False):
        super().__init__()
        self.blocks = blocks
        for i in range(blocks):
            block = MlpBlock(n_in if i == 0 else width, width, raw_input and i == 0, sn_eps)
            self.add_module(f"block_{i}", block)
        self.score = Linear(width, 1, sn_eps=sn_eps) if with_score else None

    def forward(self, x):
        for i in range(self.blocks):
            x = getattr(self, f"block_{i}")(x)
        return F.relu(x)


class Network(nn.Module):
    def begin(self, update_running=False, stored=False):
        """Once per optimiser sub-step: a power iteration, and what batch norms do in the passes that follow.

        `update_running`: they move their running statistics. `stored`: evaluation, with the running statistics
        and without power iteration.
        """
        for module in self.modules():
            if isinstance(module, Spectral):
                module.prepare(iterate=not stored)
            if isinstance(module, Normalise):
                module.update_running, module.stored = update_running, stored
