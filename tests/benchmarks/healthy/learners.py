"""Small nets that learn sklearn's digits well: of PyTorch, with adapters on a net that was trained before, of Keras."""

from __future__ import annotations

import warnings
from functools import lru_cache, partial
from typing import Any, Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.benchmarks.detection.nets import Adapter, Cnn, Mlp, Transformer, digits

BATCH = 32
DECAY = 0.05
ADAPTERS_SPEED = {"SGD": 0.4, "Adam": 4.0, "AdamW": 4.0}  # times the usual learning rates
OPTIMIZERS: dict[str, tuple[Callable[..., torch.optim.Optimizer], float]] = {
    "SGD": (partial(torch.optim.SGD, momentum=0.9), 0.05),
    "SGD decay": (partial(torch.optim.SGD, momentum=0.9, weight_decay=5e-4), 0.05),
    "Adam": (torch.optim.Adam, 2e-3),
    "AdamW": (partial(torch.optim.AdamW, weight_decay=DECAY), 2e-3),
}
ADAPTED = ("queries_keys_values", "attention_out", "forward_in", "forward_out")


def batches(seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield shuffled batches of the digits without end."""
    inputs, labels = digits()
    chance = torch.Generator().manual_seed(seed)
    while True:
        for rows in torch.randperm(len(inputs), generator=chance).split(BATCH)[:-1]:
            yield inputs[rows], labels[rows]


class TorchLearner:
    """A net of PyTorch, an optimiser of what is trained in it, and LambdaLR."""

    def __init__(
        self,
        net: nn.Module,
        optimizer: str,
        factor: Callable[[int], float] = lambda update: 1.0,
        sign: int = 1,
        speed: float = 1.0,
    ) -> None:
        self.net = net
        make, learning_rate = OPTIMIZERS[optimizer]
        trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
        self.optimizer = make(trained, lr=speed * learning_rate)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, factor)
        self._batches = batches(0)
        self._sign = sign

    def gather(self, share: float) -> None:
        """Add a batch's gradient, times ``share``."""
        inputs, labels = next(self._batches)
        (functional.cross_entropy(self.net(self._sign * inputs), labels) * share).backward()

    def update(self) -> None:
        """Take the step of the gradient that was gathered."""
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.scheduler.step()

    def skip(self) -> None:
        """Drop the gradient, as a loss scaler does where it overflows."""
        self.optimizer.zero_grad()

    def accuracy(self) -> float:
        """Return the share of all images that the net knows."""
        inputs, labels = digits()
        with torch.no_grad():
            return float((self.net(self._sign * inputs).argmax(dim=1) == labels).double().mean())


class KerasLearner:
    """A perceptron of Keras, on PyTorch."""

    def __init__(self, optimizer: str, factor: Callable[[int], float], zero_head: bool) -> None:
        import keras

        head = keras.layers.Dense(10, kernel_initializer="zeros" if zero_head else "glorot_uniform")
        hidden = [keras.layers.Dense(32, activation="relu") for _ in range(2)]
        self.net = keras.Sequential([keras.Input((64,)), *hidden, keras.layers.LayerNormalization(), head])
        made = {"SGD": keras.optimizers.SGD(0.05, 0.9), "Adam": keras.optimizers.Adam(2e-3)}
        made["AdamW"] = keras.optimizers.AdamW(2e-3, weight_decay=DECAY)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.net.compile(optimizer=made[optimizer], loss=loss)
        self._rate = float(self.net.optimizer.learning_rate)
        self._factor, self._updates, self._batches = factor, 0, batches(0)

    def gather(self, share: float) -> None:
        """Take a batch."""
        self._batch = next(self._batches)

    def update(self) -> None:
        """Take the step of the last batch."""
        self.net.optimizer.learning_rate = self._rate * self._factor(self._updates)
        self.net.train_on_batch(*(part.numpy() for part in self._batch))
        self._updates += 1

    def skip(self) -> None:
        """Leave the weights as they are."""

    def accuracy(self) -> float:
        """Return the share of all images that the net knows."""
        inputs, labels = digits()
        return float((self.net.predict(inputs.numpy(), verbose=0).argmax(axis=1) == labels.numpy()).mean())


PLAIN: dict[str, Callable[[], nn.Module]] = {
    "MLP": lambda: Mlp(64, 32, 2, 10, False, nn.ReLU()),
    "CNN BatchNorm": Cnn,
    "Transformer LayerNorm": lambda: Transformer(False),
}


@lru_cache(maxsize=None)
def _trained_before(name: str) -> dict[str, Tensor]:
    """Return the weights of a net that has learnt the digits in negative."""
    learner = TorchLearner(PLAIN[name](), "Adam", sign=-1)
    for _ in range(400):
        learner.gather(1)
        learner.update()
    return learner.net.state_dict()


def _pretrained(name: str) -> nn.Module:
    net = PLAIN[name]()
    net.load_state_dict(_trained_before(name))
    return net


def _adapted_by_hand() -> nn.Module:
    net = _pretrained("Transformer LayerNorm").requires_grad_(False)
    for block in net.blocks:  # type: ignore[union-attr]
        for name in ADAPTED:
            base = getattr(block, name)
            adapter = Adapter(base.in_features, base.out_features)
            adapter.base.load_state_dict(base.state_dict())
            setattr(block, name, adapter)
    return net


def _adapted_by_peft() -> nn.Module:
    from peft import LoraConfig, get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = LoraConfig(r=4, target_modules=["body.0", "body.2"], modules_to_save=["head"])
        return get_peft_model(_pretrained("MLP"), config)


ADAPTERS: dict[str, Callable[[], nn.Module]] = {"LoRA by hand": _adapted_by_hand, "LoRA of peft": _adapted_by_peft}
NETS = [*PLAIN, *ADAPTERS, "Keras MLP"]


def learner_of(name: str, optimizer: str, factor: Callable[[int], float], zero_head: bool) -> Any:
    """Return a net that begins to learn; an adapter's output begins at zero anyway."""
    torch.manual_seed(1)
    if name == "Keras MLP":
        return KerasLearner(optimizer, factor, zero_head)
    net = (PLAIN.get(name) or ADAPTERS[name])()
    if zero_head:
        nn.init.zeros_(net.head.weight)  # type: ignore[union-attr, arg-type]
        nn.init.zeros_(net.head.bias)  # type: ignore[union-attr, arg-type]
    return TorchLearner(net, optimizer, factor, speed=ADAPTERS_SPEED[optimizer] if name in ADAPTERS else 1.0)
