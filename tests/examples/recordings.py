"""Programs that record runs in frameworks, for test_recording.py: one process of each framework.

    python -m tests.examples.recordings pytorch FOLDER

``examples`` runs an example as it is, with several command lines, and writes what they printed and their exit codes to
FOLDER/ends.json. Beside a trial is an .npz file with the weights after each step, as {step/tensor: array}, from another
source than the recorder's. A program imports its own framework only.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping

import numpy as np

from tests.conftest import REPOSITORY
from weight_update_ratio import TrialRecorder

Weights = Mapping[str, Any]

HEALTHY, FROZEN, EXPLODING = ["healthy"], ["frozen", "--freeze"], ["exploding", "--lr", "1e6"]
STEPS = 6


def examples(name: str, folder: Path, command_lines: Iterable[list[str]]) -> None:
    """Run examples/record_{name}.py with each of the command lines, whose first word names the trial."""
    ends = []
    for trial, *options in command_lines:
        out, err, code = io.StringIO(), io.StringIO(), 0
        sys.argv = [f"record_{name}.py", str(folder / trial), *options]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                runpy.run_path(str(REPOSITORY / "examples" / f"record_{name}.py"), run_name="__main__")
            except SystemExit as end:
                code = end.code
        ends.append({"trial": trial, "code": code, "out": out.getvalue(), "err": err.getvalue()})
    (folder / "ends.json").write_text(json.dumps(ends))


def save(file: Path, steps: Iterable[Weights]) -> None:
    """Write arrays by step and name."""
    np.savez(file, **{f"{step}/{name}": array for step, named in enumerate(steps) for name, array in named.items()})


@contextlib.contextmanager
def optimizer_steps(file: Path, named: Callable[[Any], Any], most: int | None = None) -> Iterator[None]:
    """Write the weights after each step of PyTorch's optimizers, of which ``named`` returns (name, weight)."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    truth: list[Weights] = []

    def remember(optimizer: Any, *arguments: Any) -> None:
        truth.append({name: weight.detach().double().numpy() for name, weight in named(optimizer)})

    handle = register_optimizer_step_post_hook(remember)
    yield
    handle.remove()
    save(file, truth[:most])


def pytorch(folder: Path) -> None:
    """Run the example; what its optimizers' hooks see after each step of the healthy run is the truth."""
    names = ["conv.weight", "norm.weight", "norm.bias", "hidden.weight", "hidden.bias", "output.weight", "output.bias"]

    def named(optimizer: Any) -> Any:
        return zip(names, (weight for group in optimizer.param_groups for weight in group["params"]))

    with optimizer_steps(folder / "healthy.npz", named, most=20):
        examples("pytorch", folder, [HEALTHY, HEALTHY, [*FROZEN, "conv"], EXPLODING, ["no_amp", "--no-amp"]])


def keras(folder: Path) -> None:
    """Run the example, and its callback in fit; train_on_batch from the same beginning is the truth."""
    import keras as framework

    lines = [HEALTHY, HEALTHY, [*FROZEN, "conv"], [*EXPLODING, "--dtype", "float32"]]
    examples("keras", folder, [*lines, ["bfloat16", "--dtype", "bfloat16", "--epochs", "1"]])
    example = runpy.run_path(str(REPOSITORY / "examples" / "record_keras.py"))
    images, classes = example["synthetic_images"](STEPS * 16, seed=0)
    for policy in "float32", "mixed_bfloat16":
        framework.config.set_dtype_policy(policy)
        framework.utils.set_random_seed(0)
        network = example["make_network"]()
        start = network.get_weights()
        loss = framework.losses.SparseCategoricalCrossentropy(from_logits=True)
        network.compile(framework.optimizers.SGD(0.05), loss)
        with TrialRecorder(folder / policy) as recorder:
            record = example["Record"](recorder)
            validation = (images[:32], classes[:32])
            options = {"validation_data": validation, "shuffle": False, "verbose": 0, "callbacks": [record]}
            network.fit(images, classes, batch_size=16, **options)
        with TrialRecorder(folder / f"{policy}_model") as recorder:
            recorder.step(network)
        network.set_weights(start)
        truth = []
        for step in range(STEPS):
            batch = slice(16 * step, 16 * step + 16)
            network.train_on_batch(images[batch], classes[batch])
            paths = (weight.path for weight in network.weights)
            truth.append({path: array for path, array in zip(paths, network.get_weights()) if "moving_" not in path})
        save(folder / f"{policy}.npz", truth)


def jax(folder: Path) -> None:
    """Run the example; a descent in NumPy with the gradients of JAX is the truth."""
    import jax as framework

    examples("jax", folder, [HEALTHY, HEALTHY, [*FROZEN, "hidden"], EXPLODING, ["bfloat16", "--dtype", "bfloat16"]])
    example = runpy.run_path(str(REPOSITORY / "examples" / "record_jax.py"))
    images, classes = example["synthetic_images"](160, seed=0)
    weights = framework.tree_util.tree_map(np.asarray, example["initial_weights"]("float32"))
    gradients_of = framework.jit(framework.grad(example["loss_of"]))
    truth = []
    for step in range(10):
        batch = slice(16 * step, 16 * step + 16)
        gradients = gradients_of(weights, images[batch], classes[batch])
        weights = {
            layer: {kind: array - np.float32(0.05) * gradients[layer][kind] for kind, array in arrays.items()}
            for layer, arrays in weights.items()
        }
        truth.append({f"{layer}/{kind}": array for layer in weights for kind, array in weights[layer].items()})
    save(folder / "healthy.npz", truth)


def _enter(folder: Path) -> None:
    folder.mkdir()
    os.chdir(folder)


def _truth_of(model: Any) -> Any:
    return optimizer_steps(Path("out.npz"), lambda optimizer: model.named_parameters())


def lightning(folder: Path) -> None:
    """Train with the callback of the document, in FOLDER/lightning_callback.py; an optimizer's hook sees the truth."""
    import lightning as framework
    import torch
    from lightning_callback import Record
    from torch.utils.data import DataLoader, TensorDataset

    class Module(framework.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))

        def training_step(self, batch: Any, index: int) -> Any:
            return torch.nn.functional.cross_entropy(self.model(batch[0]), batch[1])

        def validation_step(self, batch: Any, index: int) -> None:
            if self.fails:
                raise RuntimeError("training ends here")
            self.training_step(batch, index)

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), 0.01)

    for name, accumulate, precision in [("accumulated", 4, "bf16-mixed"), ("failing", 1, None)]:
        _enter(folder / name)
        torch.manual_seed(0)
        images = torch.randn(160, 8)
        loader = DataLoader(TensorDataset(images, images[:, :4].argmax(1)), batch_size=16)
        module = Module()
        module.fails = name == "failing"
        quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        trainer = framework.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=2,
            num_sanity_val_steps=0,
            accumulate_grad_batches=accumulate,
            precision=precision,
            callbacks=[Record()],
            **dict.fromkeys(quiet, False),
        )
        with _truth_of(module), contextlib.suppress(RuntimeError):
            trainer.fit(module, loader, loader)


def transformers(folder: Path) -> None:
    """Train a Llama of two small layers with the callback of the document, in FOLDER/transformers_callback.py."""
    import torch
    import transformers as framework
    from transformers_callback import Record

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = framework.LlamaConfig(vocab_size=64, num_hidden_layers=2, max_position_embeddings=16, **sizes)
    rows = [torch.arange(row, row + 12) % 64 for row in range(32)]
    data = [{"input_ids": row, "labels": row} for row in rows]
    for name, accumulate, dtype in [("accumulated", 2, "mixed"), ("bfloat16", 1, torch.bfloat16)]:
        _enter(folder / name)
        framework.set_seed(0)
        model = framework.LlamaForCausalLM(config).to(dtype if name == "bfloat16" else torch.float32)
        arguments = framework.TrainingArguments(
            output_dir="checkpoints",
            per_device_train_batch_size=4,
            gradient_accumulation_steps=accumulate,
            num_train_epochs=1,
            learning_rate=1e-3,
            bf16=dtype == "mixed",
            eval_strategy="epoch",
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = framework.Trainer(model, arguments, train_dataset=data, eval_dataset=data, callbacks=[Record()])
        with _truth_of(model):
            trainer.train()


def distributed(folder: Path) -> None:
    """Train as one of two processes of torch.distributed, by RANK; its rows of the full tensors are the truth."""
    import torch
    from torch.distributed.fsdp import fully_shard

    rank = int(os.environ["RANK"])
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.manual_seed(0)
    # 7 rows are 4 and 3; 1 row is 1 and none.
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 1))
    fully_shard(model)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    random = torch.Generator().manual_seed(rank)
    truth = []
    with TrialRecorder(folder / "fsdp", num_workers=2) as recorder:
        for _ in range(STEPS):
            optimizer.zero_grad()
            model(torch.randn(4, 5, generator=random)).square().mean().backward()
            optimizer.step()
            recorder.step(model)
            full = {name: weight.full_tensor().detach().clone().numpy() for name, weight in model.named_parameters()}
            rows = {name: -(-len(array) // 2) for name, array in full.items()}
            truth.append({name: array[rank * rows[name] :][: rows[name]] for name, array in full.items()})
    save(folder / f"fsdp_{rank}.npz", truth)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
