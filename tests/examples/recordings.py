"""Programs that record runs in frameworks, for test_recording.py: one process of each framework.

    python -m tests.examples.recordings pytorch FOLDER

``examples`` runs an example as it is, with several command lines, and writes what they printed and their exit codes to
FOLDER/ends.json. Beside a trial is an .npz file with the weights after each step, as {step/tensor: array}, from another
source than the recorder's. Where a monitor watches what a recorder records, its rows are in FOLDER/.../watched.pickle.
A program imports its own framework only.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping

import numpy as np

from tests.conftest import REPOSITORY
from tests.documents import blocks, text_of
from weight_update_ratio import RatioMonitor, TrainingFault, TrialRecorder

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


@contextlib.contextmanager
def both(folder: Path, every: int = 1, **options: Any) -> Iterator[tuple[TrialRecorder, RatioMonitor]]:
    """Give a recorder into FOLDER/trial, and a monitor of the same training, whose rows go to FOLDER/watched.pickle."""
    folder.mkdir(parents=True, exist_ok=True)
    monitor = RatioMonitor(every, history=folder / "run.jsonl", **options)
    with TrialRecorder(folder / "trial", save_interval=every, pairs=every > 1, trained_only=True) as recorder:
        yield recorder, monitor
    monitor.report().comparisons().to_pickle(folder / "watched.pickle")


def explode(folder: Path, train: Callable[[RatioMonitor], Any]) -> None:
    """Train with a monitor that raises, and write what it says."""
    try:
        train(RatioMonitor(1, on_fault="raise"))
    except TrainingFault as fault:
        (folder / "fault.json").write_text(json.dumps([str(fault), fault.report.exit_code, len(fault.report)]))


def run_block(folder: Path, line: str, **names: Any) -> None:
    """Run the block of examples/README.md that has a line, in FOLDER/document, with what it leaves to the reader."""
    (block,) = (block for block in blocks(text_of("examples/README.md"), "python") if f"{line}\n" in block)
    _enter(folder / "document")
    Path("block.py").write_text(block)
    runpy.run_path("block.py", init_globals=names)


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
    pytorch_monitor(folder)


def pytorch_monitor(folder: Path) -> None:
    """Train in float32, under autocast, and with a scaler whose first steps are skipped; what is frozen is left out."""
    import torch

    torch.manual_seed(0)
    inputs = torch.randn(120, 16, 8)
    batches = [(batch, batch[:, :4].argmax(1)) for batch in inputs]

    def criterion(scores: Any, classes: Any) -> Any:
        return 100 * torch.nn.functional.cross_entropy(scores, classes)  # whose gradients a scale makes infinite

    def network_and_optimizer(rate: float = 1e-4) -> Any:
        model = torch.nn.Sequential(
            torch.nn.Linear(8, 8), torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4)
        )
        model[0].requires_grad_(False)
        return model, torch.optim.SGD((weight for weight in model.parameters() if weight.requires_grad), rate)

    for name, scale in [("float32", 1.0), ("autocast", 1.0), ("scaler", 2.0**127)]:
        model, optimizer = network_and_optimizer()
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, enabled=scale > 1)
        with both(folder / name / "every", on_fault="raise") as each, both(folder / name / "pairs", 5) as pairs:
            for batch, classes in batches[:26]:
                optimizer.zero_grad()
                with torch.autocast("cpu", torch.bfloat16, enabled=name == "autocast"):
                    loss = criterion(model(batch), classes)
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
                for target in (*each, *pairs):
                    target.step(model)

    def train(monitor: RatioMonitor) -> None:
        model, optimizer = network_and_optimizer(rate=1e4)
        for batch, classes in batches:
            optimizer.zero_grad()
            criterion(model(batch), classes).backward()
            optimizer.step()
            monitor.step(model)

    explode(folder, train)
    model, optimizer = network_and_optimizer()
    run_block(folder, "    optimizer.step()", model=model, optimizer=optimizer, criterion=criterion, loader=batches)


def keras(folder: Path) -> None:
    """Run the example, and the callback in fit; train_on_batch from the same beginning is the truth."""
    import keras as framework

    from weight_update_ratio.integrations.keras import UpdateRatioCallback

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
        with both(folder / policy) as targets:
            validation = (images[:32], classes[:32])
            options = {"shuffle": False, "verbose": 0, "callbacks": list(map(UpdateRatioCallback, targets))}
            network.fit(images, classes, batch_size=16, validation_data=validation, **options)
        network.set_weights(start)
        truth = []
        for step in range(STEPS):
            batch = slice(16 * step, 16 * step + 16)
            network.train_on_batch(images[batch], classes[batch])
            paths = (weight.path for weight in network.weights)
            truth.append({path: array for path, array in zip(paths, network.get_weights()) if "moving_" not in path})
        save(folder / f"{policy}.npz", truth)

    class Failing(framework.callbacks.Callback):
        def on_test_begin(self, logs: Any = None) -> None:
            raise RuntimeError("training ends here")

    images, classes = example["synthetic_images"](64 * 16, seed=0)
    framework.config.set_dtype_policy("float32")
    network = example["make_network"]()
    network.compile(framework.optimizers.SGD(0.05, gradient_accumulation_steps=4), loss)
    with both(folder / "accumulated") as targets:
        callbacks = list(map(UpdateRatioCallback, targets))
        network.fit(images[:256], classes[:256], batch_size=16, epochs=1, verbose=0, callbacks=callbacks)
        with contextlib.suppress(RuntimeError):
            options = {"validation_data": validation, "callbacks": [*callbacks, Failing()], "verbose": 0}
            network.fit(images[:256], classes[:256], batch_size=16, **options)
        network.fit(images[:128], classes[:128], batch_size=16, verbose=0, callbacks=callbacks)
    network.compile(framework.optimizers.SGD(1e6), loss)
    options = {"batch_size": 16, "verbose": 0}
    explode(folder, lambda m: network.fit(images, classes, callbacks=[UpdateRatioCallback(m)], **options))
    network = example["make_network"]()
    network.compile(framework.optimizers.SGD(0.01), loss)
    run_block(folder, "import keras", model=network, inputs=images, targets=classes)


def jax(folder: Path) -> None:
    """Run the example; a descent in NumPy with the gradients of JAX is the truth."""
    import jax as framework
    import optax

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

    def train(*targets: TrialRecorder | RatioMonitor, rate: float = 0.05, dtype: str = "float32") -> None:
        @functools.partial(framework.jit, donate_argnums=0)  # whose memory the next step takes
        def update(weights: Any, *batch: Any) -> Any:
            gradients = framework.grad(example["loss_of"])(weights, *batch)
            return framework.tree_util.tree_map(lambda array, by: (array - rate * by).astype(dtype), weights, gradients)

        weights = example["initial_weights"](dtype)
        for step in range(20):
            batch = slice(16 * (step % 10), 16 * (step % 10) + 16)
            weights = update(weights, images[batch], classes[batch])
            for target in targets:
                target.step(example["named"](weights))

    for dtype in "float32", "bfloat16":
        with both(folder / "watched" / dtype) as each, both(folder / "pairs" / dtype, 5) as pairs:
            train(*each, *pairs, dtype=dtype)
    explode(folder, functools.partial(train, rate=1e6))
    weights = example["initial_weights"]("float32")
    optimizer = optax.sgd(0.05)

    @framework.jit
    def update(weights: Any, state: Any, *batch: Any) -> Any:
        updates, state = optimizer.update(framework.grad(example["loss_of"])(weights, *batch), state)
        return optax.apply_updates(weights, updates), state

    batches = [(images[:16], classes[:16])] * 60
    run_block(folder, "import jax", weights=weights, state=optimizer.init(weights), update=update, batches=batches)


def _enter(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)


def _truth_of(model: Any) -> Any:
    return optimizer_steps(Path("out.npz"), lambda optimizer: model.named_parameters())


def lightning(folder: Path) -> None:
    """Fit twice with gradients accumulated, fail, and explode; an optimizer's hook sees the truth."""
    import lightning as framework
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from weight_update_ratio.integrations.lightning import UpdateRatioCallback

    class Module(framework.LightningModule):
        def __init__(self, rate: float = 0.01, fails: bool = False) -> None:
            super().__init__()
            self.rate, self.fails = rate, fails
            self.model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))

        def training_step(self, batch: Any, index: int) -> Any:
            return torch.nn.functional.cross_entropy(self.model(batch[0]), batch[1])

        def validation_step(self, batch: Any, index: int) -> None:
            if self.fails:
                raise RuntimeError("training ends here")
            self.training_step(batch, index)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), self.rate)

    def trainer(*targets: TrialRecorder | RatioMonitor, **options: Any) -> Any:
        quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        return framework.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=2,
            num_sanity_val_steps=0,
            callbacks=list(map(UpdateRatioCallback, targets)),
            **dict.fromkeys(quiet, False),
            **options,
        )

    torch.manual_seed(0)
    images = torch.randn(160, 8)
    loader = DataLoader(TensorDataset(images, images[:, :4].argmax(1)), batch_size=16)
    _enter(folder / "accumulated")
    module = Module()
    with _truth_of(module), both(Path()) as targets:
        for _ in range(2):
            fit = trainer(*targets, accumulate_grad_batches=4, precision="bf16-mixed")
            fit.fit(module, loader, loader)
    fit.save_checkpoint("checkpoint")
    _enter(folder / "resumed")
    with both(Path()) as targets:
        resumed = trainer(*targets, accumulate_grad_batches=4)
        resumed.fit_loop.max_epochs = 3
        resumed.fit(Module(), loader, ckpt_path="../accumulated/checkpoint")
    _enter(folder / "failing")
    module = Module(fails=True)
    with _truth_of(module), contextlib.suppress(RuntimeError):
        trainer(TrialRecorder("trial")).fit(module, loader, loader)
    explode(folder, lambda monitor: trainer(monitor).fit(Module(rate=1e6), loader))
    run_block(folder, "import lightning", module=Module(), loader=loader)


def transformers(folder: Path) -> None:
    """Train a Llama of two small layers: twice, with adapters, begun anew with smaller batches, and exploding."""
    import peft
    import torch
    import transformers as framework

    from weight_update_ratio.integrations.huggingface import UpdateRatioCallback

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = framework.LlamaConfig(vocab_size=64, num_hidden_layers=2, max_position_embeddings=16, **sizes)
    rows = [torch.arange(row, row + 12) % 64 for row in range(32)]
    data = [{"input_ids": row, "labels": row} for row in rows]
    framework.set_seed(0)

    class SmallMemory(framework.Trainer):
        calls = 0

        def training_step(self, model: Any, inputs: Any, *rest: Any) -> Any:
            self.calls += len(inputs["input_ids"]) > 4
            if self.calls > 3:  # in the middle of a try: of batches of 8, 7, 6 and 5
                self.calls = 0
                raise RuntimeError("CUDA out of memory.")
            return super().training_step(model, inputs, *rest)

    def arguments(**options: Any) -> Any:
        usual = {"num_train_epochs": 1, "learning_rate": 1e-3, "per_device_train_batch_size": 4}
        quiet = {"save_strategy": "no", "report_to": [], "use_cpu": True, "disable_tqdm": True}
        return framework.TrainingArguments("checkpoints", **{**usual, **quiet, **options})

    def train(model: Any, targets: Any, trains: int = 1, kind: Any = framework.Trainer, **options: Any) -> None:
        callbacks = list(map(UpdateRatioCallback, targets))
        trainer = kind(model, arguments(**options), train_dataset=data, eval_dataset=data, callbacks=callbacks)
        for _ in range(trains):
            trainer.train()

    def llama() -> Any:
        return framework.LlamaForCausalLM(config)

    _enter(folder / "accumulated")
    model = llama()
    options = {"gradient_accumulation_steps": 4, "bf16": True, "eval_strategy": "epoch"}
    with _truth_of(model), both(Path()) as targets:
        train(model, targets, trains=2, **options)
    _enter(folder / "bfloat16")
    model = llama().to(torch.bfloat16)
    with _truth_of(model), both(Path(), on_fault=lambda report, violations: None) as targets:
        train(model, targets)
    _enter(folder / "lora")
    adapted = peft.get_peft_model(llama(), peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    with both(Path(), on_fault="raise") as targets:
        train(adapted, targets)
    _enter(folder / "smaller")
    with both(Path(), on_fault="raise") as targets:
        train(llama(), targets, kind=SmallMemory, auto_find_batch_size=True, per_device_train_batch_size=8)
    explode(folder, lambda monitor: train(llama(), [monitor], learning_rate=1e6, num_train_epochs=4))
    run_block(
        folder, "from transformers import Trainer", model=llama(), data=data, arguments=arguments(num_train_epochs=8)
    )


def distributed(folder: Path) -> None:
    """Train as one of two processes of torch.distributed, by RANK; its rows of the full tensors are the truth.

    ``fsdp`` has the shards of FSDP2, each of which is a worker's; under ``ddp`` each worker has the whole weights.
    """
    import torch
    from torch.distributed.fsdp import fully_shard
    from torch.nn.parallel import DistributedDataParallel

    rank = int(os.environ["RANK"])
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.manual_seed(0)
    # 7 rows are 4 and 3; 1 row is 1 and none.
    plain = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 1))
    random = torch.Generator().manual_seed(rank)
    models = {"ddp": DistributedDataParallel(copy.deepcopy(plain)), "fsdp": fully_shard(plain)}
    for name, model in models.items():
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        truth = []
        monitor = RatioMonitor(1, history=folder / f"{name}_{rank}.jsonl", num_workers=2)
        with TrialRecorder(folder / name, num_workers=2) as recorder:
            for _ in range(STEPS):
                optimizer.zero_grad()
                model(torch.randn(4, 5, generator=random)).square().mean().backward()
                optimizer.step()
                recorder.step(model)
                monitor.step(model)
                if name == "fsdp":
                    full = {
                        key: weight.full_tensor().detach().clone().numpy() for key, weight in model.named_parameters()
                    }
                    rows = {key: -(-len(array) // 2) for key, array in full.items()}
                    truth.append({key: array[rank * rows[key] :][: rows[key]] for key, array in full.items()})
    save(folder / f"fsdp_{rank}.npz", truth)
    try:
        RatioMonitor().step(models["fsdp"])
    except TypeError as error:
        (folder / f"refused_{rank}.txt").write_text(str(error))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
