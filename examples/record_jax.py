"""Train a small network with JAX and optax, and record its weights: a trial folder to check.

    python examples/record_jax.py out                     # a healthy run
    python examples/record_jax.py out --freeze hidden     # a layer that does not learn
    python examples/record_jax.py out --lr 1e6            # an exploding one
    weight-update-ratio check out

Needs jax and optax.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import Any, Dict

import jax
import jax.numpy as jnp
import numpy as np
import optax

from weight_update_ratio import TrialRecorder

CLASSES = 4
BATCH = 16
SIZES = {"embed": (64, 32), "hidden": (32, 16), "output": (16, CLASSES)}  # layers: inputs and outputs

Weights = Dict[str, Dict[str, jax.Array]]


def named(tree: Any) -> list[tuple[str, jax.Array]]:
    """Return the arrays of a pytree with names such as ``hidden/kernel``; so it does with Flax's and Equinox's.

    As pairs, so that two arrays of one name are an error: a dictionary would keep one of them.
    """
    paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), array) for path, array in paths]


def initial_weights(dtype: Any) -> Weights:
    """Return kernels of He's initialisation, and biases of zero."""
    keys = jax.random.split(jax.random.key(0), len(SIZES))
    initializer = jax.nn.initializers.he_normal()
    return {
        name: {"kernel": initializer(key, shape, dtype), "bias": jnp.zeros(shape[1], dtype)}
        for key, (name, shape) in zip(keys, SIZES.items())
    }


def loss_of(weights: Weights, images: jax.Array, classes: jax.Array) -> jax.Array:
    """Return the mean cross entropy of a batch."""
    values = images
    for name, layer in weights.items():
        values = values @ layer["kernel"] + layer["bias"]
        values = values if name == "output" else jax.nn.relu(values)
    return optax.softmax_cross_entropy_with_integer_labels(values.astype(jnp.float32), classes).mean()


def synthetic_images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return noise in which the quadrant of the class is brighter, and the classes."""
    random = np.random.default_rng(seed)
    classes = random.integers(CLASSES, size=count)
    images = random.normal(size=(count, 8, 8)).astype("float32")
    for quadrant in range(CLASSES):
        row, column = (4 * part for part in divmod(quadrant, 2))
        images[classes == quadrant, row : row + 4, column : column + 4] += 1.5
    return images.reshape(count, -1), classes


def train(recorder: TrialRecorder, rate: float, freeze: str | None, epochs: int, dtype: Any) -> None:
    """Train, and validate after each epoch; the recorder saves the weights after each step's update."""
    weights = initial_weights(dtype)
    labels = {name: "frozen" if name == freeze else "trained" for name in weights}
    optimizer = optax.multi_transform({"trained": optax.sgd(rate), "frozen": optax.set_to_zero()}, labels)
    state = optimizer.init(weights)

    @jax.jit
    def update(weights: Weights, state: Any, images: jax.Array, classes: jax.Array) -> tuple[Weights, Any, jax.Array]:
        loss, gradients = jax.value_and_grad(loss_of)(weights, images, classes)
        updates, state = optimizer.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), state, loss

    validate = jax.jit(loss_of)
    images, classes = synthetic_images(10 * BATCH, seed=0)
    unseen_images, unseen_classes = synthetic_images(3 * BATCH, seed=1)
    for epoch in range(epochs):
        for batch in range(0, len(images), BATCH):
            part = slice(batch, batch + BATCH)
            weights, state, loss = update(weights, state, images[part].astype(dtype), classes[part])
            recorder.step(named(weights))
        unseen_loss = validate(weights, unseen_images.astype(dtype), unseen_classes)
        # No ratio is made of an EVAL step, whose weights rest: leave this line out if nothing else reads it.
        recorder.step(named(weights), mode="EVAL")
        print(f"epoch {epoch}: training loss {loss:.3f}, validation loss {unseen_loss:.3f}")


def main() -> None:
    """Record a trial as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", help="the trial folder to write; it must not hold a trial yet")
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate (0.05)")
    parser.add_argument("--freeze", choices=list(SIZES), help="a layer that shall not learn")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of 10 training steps and a validation (2)")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of the weights (float32)")
    arguments = parser.parse_args()
    try:
        recorder = TrialRecorder(arguments.out)
    except FileExistsError as error:  # says what to do as well
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    with recorder:  # its end writes the end-of-job file
        train(recorder, arguments.lr, arguments.freeze, arguments.epochs, jnp.dtype(arguments.dtype))
    print(f"recorded; judge it with: weight-update-ratio check {shlex.quote(arguments.out)}")


if __name__ == "__main__":
    main()
