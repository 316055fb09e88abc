"""Small nets that train well, each with its data, optimiser and schedule: the set-ups of the benchmark.

Every net ends in a linear layer named ``head``; faults rely on it. Inputs are rows of features, standardised by
constants, and each net gives them the shape that it needs.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Callable

import torch
from sklearn import datasets
from torch import Tensor, nn
from torch.nn import functional

PIXEL_MEAN, PIXEL_SCALE = 5.0, 6.0  # digits: 64 pixels, each a whole number of 0..16
SHADES = 5  # of a pixel, if pixels are words


def in_a_row(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


def mlp(features: int, width: int, depth: int, classes: int, norm: bool, activation: nn.Module) -> nn.Module:
    """Return linear layers, each followed by a LayerNorm (or nothing) and an activation."""
    layers: list[nn.Module] = []
    for number in range(depth):
        layers.append(nn.Linear(width if number else features, width))
        layers += [nn.LayerNorm(width)] if norm else []
        layers.append(activation)
    return in_a_row(body=nn.Sequential(*layers), head=nn.Linear(width, classes))


def cnn() -> nn.Module:
    """Return two convolutions with BatchNorm over 8x8 pixels, with biases, which BatchNorm makes useless."""
    body = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )
    return in_a_row(image=nn.Unflatten(1, (1, 8, 8)), body=body, head=nn.Linear(96, 10))


class ResidualBlock(nn.Module):
    """Two convolutions whose sum with their input begins as that input: the last BatchNorm's gain begins at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.second_norm.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        inner = functional.relu(self.first_norm(self.first(inputs)))
        return functional.relu(inputs + self.second_norm(self.second(inner)))


def resnet() -> nn.Module:
    """Return a stem and two residual blocks over 8x8 pixels."""
    return in_a_row(
        image=nn.Unflatten(1, (1, 8, 8)),
        stem=nn.Conv2d(1, 16, 3, padding=1, stride=2, bias=False),
        stem_norm=nn.BatchNorm2d(16),
        stem_relu=nn.ReLU(),
        blocks=nn.Sequential(ResidualBlock(16), ResidualBlock(16)),
        flat=nn.Flatten(),
        head=nn.Linear(16 * 4 * 4, 10),
    )


class Recurrent(nn.Module):
    """A GRU or LSTM that reads an image row by row; its last output is classified."""

    def __init__(self, cell: type[nn.GRU] | type[nn.LSTM]) -> None:
        super().__init__()
        self.cell = cell(8, 40, batch_first=True)
        self.head = nn.Linear(40, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs, _ = self.cell(inputs.view(-1, 8, 8))
        return self.head(outputs[:, -1])


class TransformerBlock(nn.Module):
    """Attention and a feed-forward layer, each normalised before and, if asked for, with zero-initialised outputs."""

    def __init__(self, width: int, heads: int, zero: bool) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.forward_norm = nn.LayerNorm(width)
        self.forward_in = nn.Linear(width, 2 * width)
        self.forward_out = nn.Linear(2 * width, width)
        if zero:
            for layer in (self.attention_out, self.forward_out):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        batch, length, width = inputs.shape
        joint = self.queries_keys_values(self.attention_norm(inputs))
        queries, keys, values = joint.view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(queries, keys, values)
        inputs = inputs + self.attention_out(attended.transpose(1, 2).reshape(batch, length, width))
        return inputs + self.forward_out(functional.gelu(self.forward_in(self.forward_norm(inputs))))


class Transformer(nn.Module):
    """Two blocks over the 8 rows of an image, whose outputs are averaged."""

    def __init__(self, zero: bool) -> None:
        super().__init__()
        self.embedding = nn.Linear(8, 24)
        self.positions = nn.Parameter(torch.randn(8, 24) * 0.02)
        self.blocks = nn.Sequential(TransformerBlock(24, 2, zero), TransformerBlock(24, 2, zero))
        self.norm = nn.LayerNorm(24)
        self.head = nn.Linear(24, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        rows = self.embedding(inputs.view(-1, 8, 8)) + self.positions
        return self.head(self.norm(self.blocks(rows)).mean(dim=1))


class Embedding(nn.Module):
    """Pixels as words, one for each position and shade: a batch moves only its words' rows of the table."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(64 * SHADES, 24, mode="mean")
        self.hidden = nn.Linear(24, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        shades = ((inputs * PIXEL_SCALE + PIXEL_MEAN) / 4).round().clamp(0, SHADES - 1).long()
        positions = torch.arange(64) * SHADES
        return self.head(functional.relu(self.hidden(self.table(positions + shades))))


class Adapter(nn.Module):
    """A frozen linear layer beside a product of two small ones, of which the second begins at zero (LoRA)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.base = nn.Linear(width, width).requires_grad_(False)
        self.down = nn.Linear(width, 4, bias=False)
        self.up = nn.Linear(4, width, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.base(inputs) + self.up(self.down(inputs))


def adapted() -> nn.Module:
    """Return a frozen random net with adapters, and a head that is trained as a whole."""
    body = nn.Sequential(Adapter(64), nn.ReLU(), Adapter(64), nn.ReLU())
    return in_a_row(body=body, head=nn.Linear(64, 10))


class Experts(nn.Module):
    """Each row goes to one of some experts, by a rule that is not trained; a rare one has no row in most batches."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("router", torch.randn(64, 6, generator=torch.Generator().manual_seed(0)))
        self.experts = nn.ModuleList(nn.Linear(64, 32) for _ in range(6))
        self.head = nn.Linear(32, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        chosen = (inputs @ self.router).argmax(dim=1)
        hidden = inputs.new_zeros(len(inputs), 32)
        for number, expert in enumerate(self.experts):
            rows = torch.nonzero(chosen == number)[:, 0]
            if len(rows):
                hidden = hidden.index_copy(0, rows, functional.relu(expert(inputs[rows])))
        return self.head(hidden)


def reinforce(logits: Tensor, labels: Tensor) -> Tensor:
    """Return a policy's loss where only the class that it draws is rewarded, if it is right: a loss that wanders."""
    policy = logits.log_softmax(dim=1)
    noise = -(-torch.rand_like(policy).log()).log()  # Gumbel's, because NaN may be drawn from
    actions = (policy.detach() + noise).argmax(dim=1)
    rewards = (actions == labels).float()
    drawn = policy.gather(1, actions[:, None])[:, 0]
    return -((rewards - rewards.mean()) * drawn).mean() + 0.01 * (policy.exp() * policy).sum(dim=1).mean()


@lru_cache(maxsize=None)
def digits() -> tuple[Tensor, Tensor]:
    """Return 1797 images of 64 pixels and their classes, 10."""
    images, labels = datasets.load_digits(return_X_y=True)
    return torch.tensor((images - PIXEL_MEAN) / PIXEL_SCALE, dtype=torch.float32), torch.tensor(labels)


@lru_cache(maxsize=None)
def tumours() -> tuple[Tensor, Tensor]:
    """Return 569 tumours of 30 features, standardised, and their classes, 2."""
    features, labels = datasets.load_breast_cancer(return_X_y=True)
    return torch.tensor((features - features.mean(0)) / features.std(0), dtype=torch.float32), torch.tensor(labels)


def cosine(progress: float) -> float:
    """Return the learning rate's factor, which falls from 1 to 0; ``progress`` is 0 at the first step, 1 at the end."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def linear(progress: float) -> float:
    return 1 - 0.95 * progress


def stairs(progress: float) -> float:
    return 1.0 if progress < 0.5 else 0.1 if progress < 0.8 else 0.01


@dataclass(frozen=True)
class Setup:
    """A net, its data and how it is trained well."""

    name: str  # architecture and optimiser, as the tables show it
    net: Callable[[], nn.Module]  # torch's generator initialises it
    optimizer: Callable[..., torch.optim.Optimizer]  # of some parameters
    learning_rate: float  # the highest
    data: Callable[[], tuple[Tensor, Tensor]] = digits  # all inputs and labels
    schedule: Callable[[float], float] = lambda progress: 1.0  # the learning rate's factor by progress, 0..1
    warm_up: float = 0.0  # the share of the steps in which the learning rate rises from 0
    clip: float | None = None  # the highest norm of the gradients
    batch: int = 64  # rows
    loss: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy  # of logits and labels
    skips: float = 0.0  # the share of the steps that a loss scaler skips


NORMED = partial(mlp, 64, 48, 3, 10, True, nn.ReLU())
PLAIN = partial(mlp, 64, 48, 4, 10, False, nn.ReLU())
SMOOTH = partial(mlp, 30, 32, 2, 2, False, nn.Tanh())
MOMENTUM = partial(torch.optim.SGD, momentum=0.9)
DECAYED = partial(torch.optim.AdamW, weight_decay=0.05)

SETUPS = {
    setup.name: setup
    for setup in (
        Setup("MLP LayerNorm, Adam", NORMED, torch.optim.Adam, 2e-3),
        Setup("MLP LayerNorm, SGD cosine", NORMED, MOMENTUM, 0.05, schedule=cosine),
        Setup("MLP plain, Adam linear", PLAIN, torch.optim.Adam, 2e-3, schedule=linear),
        Setup("MLP tanh on tumours, RMSprop", SMOOTH, torch.optim.RMSprop, 1e-3, data=tumours, batch=32),
        Setup("CNN BatchNorm, SGD", cnn, partial(MOMENTUM, weight_decay=5e-4), 0.05),
        Setup("CNN BatchNorm, AdamW warm-up cosine", cnn, DECAYED, 5e-3, schedule=cosine, warm_up=0.1),
        Setup("CNN BatchNorm, RMSprop", cnn, torch.optim.RMSprop, 1e-3),
        Setup("ResNet, SGD Nesterov stairs", resnet, partial(MOMENTUM, nesterov=True), 0.05, schedule=stairs),
        Setup("GRU, Adam clipped", partial(Recurrent, nn.GRU), torch.optim.Adam, 5e-3, clip=1.0),
        Setup("GRU, RMSprop linear", partial(Recurrent, nn.GRU), torch.optim.RMSprop, 4e-3, schedule=linear),
        Setup("LSTM, SGD clipped", partial(Recurrent, nn.LSTM), MOMENTUM, 0.5, clip=1.0, schedule=cosine),
        Setup(
            "Transformer zero-init, AdamW warm-up cosine",
            partial(Transformer, True),
            DECAYED,
            1e-2,
            schedule=cosine,
            warm_up=0.1,
        ),
        Setup("Transformer, Adam", partial(Transformer, False), torch.optim.Adam, 2e-3),
        Setup("Embedding, Adam", Embedding, torch.optim.Adam, 2e-2),
        Setup("REINFORCE, Adam", NORMED, torch.optim.Adam, 2e-3, loss=reinforce),
        Setup("Adapters zero-init, AdamW warm-up cosine", adapted, DECAYED, 1e-2, schedule=cosine, warm_up=0.1),
        Setup("MLP LayerNorm, Adam, loss scaler that skips", NORMED, torch.optim.Adam, 2e-3, skips=0.08),
        Setup("Experts that miss batches, SGD", Experts, torch.optim.SGD, 0.5, batch=16),
    )
}
