"""Train a small network with Keras 3, on JAX or PyTorch, and record its weights: a trial folder to check.

    python examples/record_keras.py out                   # a healthy run
    python examples/record_keras.py out --freeze conv     # a layer that does not learn
    python examples/record_keras.py out --lr 1e6          # an exploding one
    weight-update-ratio check out

Needs keras>=3, and jax or, with KERAS_BACKEND=torch, torch.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys

os.environ.setdefault("KERAS_BACKEND", "jax")  # Keras reads it when it is imported

import keras
import numpy as np

from weight_update_ratio import TrialRecorder
from weight_update_ratio.integrations.keras import UpdateRatioCallback

CLASSES = 4
BATCH = 16


def make_network() -> keras.Model:
    """Return a convolution, a batch normalisation and two dense layers: 8 x 8 images to four classes."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, use_bias=False, name="conv"),  # the norm would take a bias out again
            layers.BatchNormalization(name="norm"),
            layers.Activation("relu"),
            layers.Flatten(),
            layers.Dense(16, activation="relu", name="hidden"),
            layers.Dense(CLASSES, dtype="float32", name="output"),
        ],
        name="network",  # without it, a second one in this process is another in its tensors' names
    )


def synthetic_images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return noise in which the quadrant of the class is brighter, and the classes."""
    random = np.random.default_rng(seed)
    classes = random.integers(CLASSES, size=count)
    images = random.normal(size=(count, 8, 8, 1)).astype("float32")
    for quadrant in range(CLASSES):
        row, column = (4 * part for part in divmod(quadrant, 2))
        images[classes == quadrant, row : row + 4, column : column + 4] += 1.5
    return images, classes


def main() -> None:
    """Record a trial as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", help="the trial folder to write; it must not hold a trial yet")
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate (0.05)")
    parser.add_argument("--freeze", choices=["conv", "norm", "hidden", "output"], help="a layer that shall not learn")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of 10 training and 3 validation steps (2)")
    policies = ["mixed_bfloat16", "bfloat16", "float32"]
    parser.add_argument("--dtype", choices=policies, default=policies[0], help=f"Keras's dtype policy ({policies[0]})")
    arguments = parser.parse_args()
    try:
        recorder = TrialRecorder(arguments.out)
    except FileExistsError as error:  # says what to do as well
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(arguments.dtype)
    network = make_network()
    if arguments.freeze:
        network.get_layer(arguments.freeze).trainable = False
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.SGD(arguments.lr), loss)
    with recorder:  # its end writes the end-of-job file if fit raises an error; otherwise the callback does
        network.fit(
            *synthetic_images(10 * BATCH, seed=0),
            batch_size=BATCH,
            epochs=arguments.epochs,
            validation_data=synthetic_images(3 * BATCH, seed=1),
            callbacks=[UpdateRatioCallback(recorder)],
            verbose=2,
        )
    print(f"recorded; judge it with: weight-update-ratio check {shlex.quote(arguments.out)}")


if __name__ == "__main__":
    main()
