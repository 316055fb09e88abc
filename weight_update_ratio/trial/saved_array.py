"""A framework's tensors as the names and NumPy arrays of a trial folder. No framework is imported.

PyTorch's tensors have ``detach``, and a process's shard of a DTensor has ``to_local``; all others have ``__array__``.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections import Counter
from typing import Any, Callable, Iterable, Iterator, NamedTuple

import numpy as np

from .selection import without_wrappers

# smdebug 1.0.34 reads these (core/tfevent/event_file_reader.py), except uint64, which has no wider type. It reads int8
# as uint8, and fails at the others that it writes itself.
_SAVED = frozenset(map(np.dtype, ("?", "u1", "<i4", "<i8", "<u8", "<f2", "<f4", "<f8", "<c16")))
_WIDER = tuple(map(np.dtype, ("<i4", "<i8", "<f4", "<c16")))  # the first that represents a type exactly replaces it

USUAL_COLLECTIONS = "weights", "biases", "vectors"  # vectors apart, because short ones cross zero in good runs
_SAYS_BIAS = re.compile(r"(?:bias|beta)[^./\[]*$", re.IGNORECASE)  # in the last part of a name
_OTHER_NAMES = (
    "Name each by where it is: in Keras by its path (or pass the model itself), in JAX by the pairs of "
    "jax.tree_util.tree_flatten_with_path."
)
_WITHOUT_ELEMENTS = {  # by the attribute of PyTorch's tensors that says so; a lazy one may be asked for the first alone
    "cls_to_become": "it is lazy, and has no elements yet: run the model once before it is recorded",
    "is_meta": "it is on the meta device, which holds no elements: pass it when its weights are loaded",
    "is_nested": "it is nested: pass the tensors of tensor.unbind(), each with a name",
    "get_mask": "it is masked: pass tensor.to_tensor(0)",
    "is_quantized": "it is quantised: pass tensor.dequantize()",
    "quant_state": "it is quantised: pass the weights that are trained (trained_only=True)",  # of bitsandbytes
}


class SavedTensor(NamedTuple):
    """A tensor as it is saved."""

    name: str  # without those of wrappers
    array: np.ndarray[Any, Any]
    collection: str  # unless another is given
    type: str  # before it was widened, such as "bfloat16"
    is_trained: bool | None  # None: it does not say


def saved_tensors(
    given: Any,
    num_workers: int = 1,
    trained_only: bool = False,
    is_wanted: Callable[[str], bool] = lambda name: True,
) -> Iterator[SavedTensor]:
    """Yield the tensors of what was passed to ``step``; each is asked for and converted when it is its turn."""
    is_empty, taken = True, set()
    for name, tensor in _plainly_named(_checked_pairs(given)):
        if not name or name in taken:
            problem = f"two tensors of one step are named {name!r}" if name else "a tensor has the empty name ''"
            raise ValueError(f"{problem}\n\n{_OTHER_NAMES}")
        taken.add(name)
        try:
            is_trained = getattr(tensor, "requires_grad", getattr(tensor, "trainable", None))
            if trained_only and is_trained is False:
                continue
            is_empty = False
            if not is_wanted(name):
                continue
            array = saved_array(tensor, num_workers)
            dtype = getattr(tensor, "dtype", array.dtype)  # of any framework
            type_name = str(getattr(dtype, "name", None) or getattr(dtype, "__name__", dtype)).rpartition(".")[2]
        except (TypeError, ValueError, RuntimeError) as error:  # what frameworks raise, mostly without the name
            raise TypeError(f"the tensor {name!r} cannot be recorded: {error}") from error
        yield SavedTensor(name, array, _usual_collection(name, array), type_name, is_trained)
    if taken and is_empty:
        raise ValueError(
            "only what is trained is taken, and no tensor has requires_grad\n\n"
            "Pass the model or model.named_parameters: a state_dict's tensors do not say that they are trained."
        )
    if is_empty:
        raise ValueError(
            "step() was given no tensors\n\n"
            "Pass a function, such as model.named_parameters: an iterator that was passed before has nothing left."
        )


def _checked_pairs(given: Any) -> Iterator[tuple[str, Any]]:
    pairs = _pairs(given)
    if pairs is given and callable(given):
        pairs = _pairs(given())
    for pair in pairs if isinstance(pairs, Iterable) else [pairs]:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not isinstance(pair[0], str):
            raise TypeError(
                "step() takes {name: array}, pairs (name, array), a PyTorch module, a Keras model, or a function that "
                f"returns one of these (got {reprlib.repr(pair)})"
            )
        yield pair[0], pair[1]


def _pairs(given: Any) -> Any:
    if hasattr(given, "trainable_weights"):  # Keras's; on PyTorch its models are modules as well, with other names
        return [(getattr(weight, "path", None) or weight.name, weight) for weight in given.weights]  # Keras 2: no path
    if hasattr(given, "named_parameters"):  # a ModuleDict has items as well, which are modules
        return given.named_parameters()
    return given.items() if hasattr(given, "items") else given


def _plainly_named(pairs: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield tensors by the plain model's names; if two names would become one, both stay as they are."""
    before = []
    for name, tensor in pairs:
        if without_wrappers(name) == name:
            before.append(name)
            yield name, tensor
            continue
        rest = [(name, tensor), *pairs]  # from the first name of a wrapper on, all other names are needed
        count = Counter([*before, *(without_wrappers(wrapped) for wrapped, _ in rest)])
        for wrapped, each in rest:
            plain = without_wrappers(wrapped)
            yield (plain if count[plain] == 1 else wrapped), each


def _usual_collection(name: str, array: np.ndarray[Any, Any]) -> str:
    weights, biases, vectors = USUAL_COLLECTIONS
    if array.ndim >= 2:
        return weights
    if _SAYS_BIAS.search(name):
        return biases
    return vectors if array.size else weights  # whose elements are likely elsewhere (DeepSpeed ZeRO-3)


def saved_array(tensor: Any, num_workers: int = 1) -> np.ndarray[Any, Any]:
    """Return a tensor's elements: its shape, in C order, little-endian, of a type that every reader knows.

    bool, uint8, int32, int64, uint64, float16, float32, float64 and complex128 stay as they are, if possible in the
    tensor's memory. Others are widened, exactly: int8, int16 and uint16 to int32, uint32 to int64, bfloat16 and the
    float8 types to float32, complex64 to complex128. A TypeError says why a tensor cannot be recorded.
    """
    if isinstance(tensor, np.ma.MaskedArray):
        raise TypeError("it is masked: pass tensor.filled(...), because a trial folder holds every element")
    for attribute, words in _WITHOUT_ELEMENTS.items():
        if getattr(tensor, attribute, None):
            raise TypeError(words)
    placed = enumerate(getattr(tensor, "placements", ()))  # of a DTensor; a shard is on one process
    shards = math.prod(tensor.device_mesh.size(dim) for dim, placement in placed if not placement.is_replicate())
    if shards > num_workers:
        raise TypeError(
            f"it is one of {shards} shards, and num_workers is {num_workers}: record in all {shards} processes with "
            f"num_workers={shards}, or pass tensor.full_tensor(), which all of them have to call"
        )
    array = _torch_array(tensor) if hasattr(tensor, "detach") and hasattr(tensor, "cpu") else np.asarray(tensor)
    dtype = array.dtype.newbyteorder("<")
    if dtype not in _SAVED:  # ml_dtypes says to NumPy which types represent its types exactly
        wider = [wide for wide in _WIDER if np.can_cast(array.dtype, wide, "safe")]
        if not wider:
            instead = "the pairs of its leaves" if hasattr(tensor, "items") else "an array of numbers of NumPy's types"
            raise TypeError(f"a trial folder cannot hold elements of type {array.dtype}: pass {instead}")
        dtype = wider[0]
    return np.asarray(array, dtype, order="C")


def _torch_array(tensor: Any) -> np.ndarray[Any, Any]:
    """Return a PyTorch tensor as an array; NumPy has no bfloat16, no float8 and no half-precision complex numbers."""
    local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    host = local.detach().cpu().resolve_conj().resolve_neg()
    try:
        array: np.ndarray[Any, Any] = host.numpy()
    except TypeError:
        array = (host.cfloat() if host.is_complex() else host.float()).numpy()
    return array
