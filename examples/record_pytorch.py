"""Train a small network on synthetic images and record its weights: a trial folder to check.

    python examples/record_pytorch.py out                 # a healthy run
    python examples/record_pytorch.py out --freeze conv   # a layer that does not learn
    python examples/record_pytorch.py out --lr 1e6        # an exploding one
    weight-update-ratio check out

Needs torch; smdebug's hook, which needs an old NumPy as well, is in record_pytorch_smdebug.py.
"""

from __future__ import annotations

import argparse
import shlex
import sys

import torch
from torch import nn

from weight_update_ratio import TrialRecorder

CLASSES = 4
BATCH = 16


class Network(nn.Module):
    """A convolution, a batch normalisation and two linear layers: 8 x 8 images to four classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, bias=False)  # the norm would take a bias out again: it would never move
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


def train(network: Network, recorder: TrialRecorder, rate: float, epochs: int, amp: bool) -> None:
    """Train, and validate after each epoch; the recorder saves the weights after each step's update."""
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=rate)
    images, classes = synthetic_images(10 * BATCH, seed=0)
    unseen_images, unseen_classes = synthetic_images(3 * BATCH, seed=1)
    for epoch in range(epochs):
        network.train()
        for batch, labels in zip(images.split(BATCH), classes.split(BATCH)):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=amp):  # the weights stay float32, and are saved as such
                loss = criterion(network(batch), labels)
            loss.backward()
            optimizer.step()
            recorder.step(network)
        network.eval()
        for batch, labels in zip(unseen_images.split(BATCH), unseen_classes.split(BATCH)):
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=amp):
                unseen_loss = criterion(network(batch), labels)
            # No ratio is made of these steps, whose weights rest: leave this line out if nothing else reads them.
            recorder.step(network, mode="EVAL")
        print(f"epoch {epoch}: training loss {loss.item():.3f}, validation loss {unseen_loss.item():.3f}")


def main() -> None:
    """Record a trial as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", help="the trial folder to write; it must not hold a trial yet")
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate (0.05)")
    parser.add_argument("--freeze", choices=["conv", "norm", "hidden", "output"], help="a layer that shall not learn")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of 10 training and 3 validation steps (2)")
    parser.add_argument("--no-amp", action="store_true", help="compute in float32, without autocast to bfloat16")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    network = Network()
    if arguments.freeze:
        getattr(network, arguments.freeze).requires_grad_(False)
    try:
        recorder = TrialRecorder(arguments.out)
    except FileExistsError as error:  # says what to do as well
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    with recorder:  # its end writes the end-of-job file
        train(network, recorder, arguments.lr, arguments.epochs, not arguments.no_amp)
    print(f"recorded; judge it with: weight-update-ratio check {shlex.quote(arguments.out)}")


if __name__ == "__main__":
    main()
