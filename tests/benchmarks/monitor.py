"""Times RatioMonitor beside a training step of a small GPT, recording of the same steps, and PyTorch's own norms.

    python -m tests.benchmarks.monitor

Every figure is processor's time for one training step: the mean, because most steps measure nothing. All take turns.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Callable

import click
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.benchmarks.__main__ import machine, print_table
from weight_update_ratio import RatioMonitor, TrialRecorder

WIDTH, LAYERS, VOCABULARY, CONTEXT, BATCH = 256, 4, 512, 128, 8
torch.set_num_threads(1)


class SmallGPT(nn.Module):
    """A decoder of 3.5 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        options = {"dropout": 0.0, "batch_first": True, "norm_first": True}
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, **options) for _ in range(LAYERS))
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.mask = nn.Transformer.generate_square_subsequent_mask(CONTEXT)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits, shape (batch, steps, vocabulary)."""
        hidden = self.tokens(tokens) + self.positions.weight
        for layer in self.layers:
            hidden = layer(hidden, src_mask=self.mask, is_causal=True)
        return self.head(hidden)


def torch_norms(model: nn.Module, before: dict[str, Tensor]) -> dict[str, float]:
    """Return ratios by PyTorch's float32 norms, and keep a copy of the weights, as a loop would by hand."""
    ratios = {}
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if name in before:
                ratios[name] = float((weights - before[name]).norm() / before[name].norm())
            before[name] = weights.clone()
    return ratios


@click.command()
@click.option("--steps", default=200, show_default=True, help="Training steps.")
def main(steps: int) -> None:
    """Time the monitor beside a training."""
    torch.manual_seed(0)
    model, before = SmallGPT(), {}
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    with tempfile.TemporaryDirectory() as folder:
        monitors = {every: RatioMonitor(every, history=Path(folder) / f"{every}.jsonl") for every in (1, 50)}
        recorder = TrialRecorder(Path(folder) / "trial", save_interval=50, pairs=True)
        torch_ratios: dict[str, float] = {}
        measures: dict[str, Callable[[], object]] = {
            "monitor, every=1": lambda: monitors[1].step(model),
            "monitor, every=50": lambda: monitors[50].step(model),
            "recorder, save_interval=50 in pairs": lambda: recorder.step(model),
            "torch's norms in float32, each step": lambda: torch_ratios.update(torch_norms(model, before)),
        }
        times: dict[str, list[float]] = {name: [] for name in ("training step", *measures)}
        for _ in range(steps):
            tokens = torch.randint(VOCABULARY, (BATCH, CONTEXT))

            def train() -> None:
                logits = model(tokens)  # noqa: B023  (called at once)
                optimizer.zero_grad()
                functional.cross_entropy(logits.flatten(0, 1), tokens.roll(-1, 1).flatten()).backward()  # noqa: B023
                optimizer.step()

            for name, measure in {"training step": train, **measures}.items():
                began = time.process_time()
                measure()
                times[name].append(time.process_time() - began)
        exact = {row.tensor: row.ratio for row in monitors[1].report() if row.step == steps - 1}
        error = max(abs(torch_ratios[name] / ratio - 1) for name, ratio in exact.items())
    step = statistics.median(times.pop("training step"))
    means = {name: math.fsum(values) / len(values) for name, values in times.items()}
    click.echo(machine())
    rows = [(name, f"{1e3 * mean:.2f} ms", f"{mean / step:.2%}") for name, mean in means.items()]
    print_table(f"beside a training step of {1e3 * step:.0f} ms", ["what", "a step", "of a training step"], rows)
    click.echo(f"\nLargest relative error of PyTorch's float32 ratios at the last step: {error:.1e}")


if __name__ == "__main__":
    main()
