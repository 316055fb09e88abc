"""Train a small network on synthetic images and record its weights with smdebug's hook: a trial folder to check.

    python examples/record_pytorch_smdebug.py out                 # a healthy run
    python examples/record_pytorch_smdebug.py out --freeze conv   # a layer that does not learn
    python examples/record_pytorch_smdebug.py out --lr 1e6        # an exploding one
    weight-update-ratio check out

For jobs that have the hook already; record_pytorch.py does without it. Needs torch, and numpy<2.3: smdebug writes with
``ndarray.tostring``, which NumPy 2.3 took away.
"""

from __future__ import annotations

import argparse
import os
import sys

import numpy as np


def command_line() -> argparse.Namespace:
    """Return the arguments, if the hook can record as they say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", help="the trial folder to write; it must not exist yet")
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate (0.05)")
    parser.add_argument("--freeze", choices=["conv", "norm", "hidden", "output"], help="a layer that shall not learn")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of 10 training and 3 validation steps (2)")
    arguments = parser.parse_args()
    if not hasattr(np.ndarray, "tostring"):
        stop(
            f"smdebug cannot record with NumPy {np.__version__}: it writes with ndarray.tostring, gone since NumPy 2.3",
            "Install 'numpy<2.3', or use examples/record_pytorch.py.",
        )
    if os.path.lexists(arguments.out):
        stop(f"{arguments.out!r} exists already", "Record into a folder that does not exist yet.")
    return arguments


def stop(problem: str, remedy: str) -> None:
    """End the program before it has begun."""
    print(f"Error: {problem}\n\n{remedy}", file=sys.stderr)
    sys.exit(2)


ARGUMENTS = command_line()  # before the imports that take seconds
os.environ.setdefault("SMDEBUG_LOG_LEVEL", "error")  # smdebug logs to stdout, and reads this when it is imported

import smdebug.pytorch as smd
import torch
from torch import nn

CLASSES = 4
BATCH = 16


class Network(nn.Module):
    """A convolution, a batch normalisation and two linear layers: 8 x 8 images to four classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.hidden = nn.Linear(4 * 6 * 6, 16)
        self.output = nn.Linear(16, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the scores of the classes."""
        features = torch.relu(self.norm(self.conv(images))).flatten(1)
        return self.output(torch.relu(self.hidden(features)))


def synthetic_images(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return noise in which the quadrant of the class is brighter, and the classes."""
    random = torch.Generator().manual_seed(seed)
    classes = torch.randint(0, CLASSES, (count,), generator=random)
    images = torch.randn(count, 1, 8, 8, generator=random)
    for quadrant in range(CLASSES):
        row, column = (4 * part for part in divmod(quadrant, 2))
        images[classes == quadrant, :, row : row + 4, column : column + 4] += 1.5
    return images, classes


def train(network: Network, hook: smd.Hook, rate: float, epochs: int) -> None:
    """Train, and validate after each epoch; the hook saves the weights before each step's update."""
    criterion = nn.CrossEntropyLoss()
    hook.register_module(network)
    hook.register_loss(criterion)
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=rate)
    images, classes = synthetic_images(10 * BATCH, seed=0)
    unseen_images, unseen_classes = synthetic_images(3 * BATCH, seed=1)
    for epoch in range(epochs):
        network.train()
        hook.set_mode(smd.modes.TRAIN)
        for batch, labels in zip(images.split(BATCH), classes.split(BATCH)):
            optimizer.zero_grad()
            loss = criterion(network(batch), labels)
            loss.backward()
            optimizer.step()
        network.eval()
        hook.set_mode(smd.modes.EVAL)
        with torch.no_grad():
            for batch, labels in zip(unseen_images.split(BATCH), unseen_classes.split(BATCH)):
                criterion(network(batch), labels)
        print(f"epoch {epoch}: training loss {loss.item():.3f}")


def main() -> None:
    """Record a trial as the command line says."""
    torch.manual_seed(0)
    network = Network()
    if ARGUMENTS.freeze:
        getattr(network, ARGUMENTS.freeze).requires_grad_(False)
    hook = smd.Hook(
        out_dir=ARGUMENTS.out,
        include_collections=["weights", "losses"],
        save_config=smd.SaveConfig(save_interval=1),
    )
    train(network, hook, ARGUMENTS.lr, ARGUMENTS.epochs)
    hook.close()  # writes the end-of-job file
    print(f"recorded {ARGUMENTS.out}")


if __name__ == "__main__":
    main()
