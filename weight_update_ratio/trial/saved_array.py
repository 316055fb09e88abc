"""A framework's tensor as the NumPy array that a trial folder holds.

No framework is imported: a tensor is recognised by what it can do. PyTorch's has ``detach``, and ``to_local`` where it
is one process's shard of a DTensor; all others have ``__array__``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# smdebug 1.0.34 reads these (core/tfevent/event_file_reader.py), but for uint64, which has no wider type. It reads int8
# as uint8, and fails at the others that it writes itself.
_SAVED = frozenset(map(np.dtype, ("?", "u1", "<i4", "<i8", "<u8", "<f2", "<f4", "<f8", "<c16")))
_WIDER = tuple(map(np.dtype, ("<i4", "<i8", "<f4", "<c16")))  # the first that holds a type exactly takes its place


def saved_array(tensor: Any) -> np.ndarray[Any, Any]:
    """Return a tensor's elements: its shape, in C order, little-endian, of a type that every reader knows.

    bool, uint8, int32, int64, uint64, float16, float32, float64 and complex128 stay as they are, in the tensor's own
    memory where that is possible. Others are widened, exactly: int8, int16 and uint16 to int32, uint32 to int64,
    bfloat16 and the float8 types to float32, complex64 to complex128.

    Args:
        tensor: A NumPy array or a number, or a tensor of PyTorch (on any device), JAX, TensorFlow or Keras, or anything
            else with ``__array__``. Of a DTensor it is this process's shard.

    Raises:
        TypeError: The elements are masked or not numbers, or no type holds them exactly.
        Exception: What the framework raises where it cannot give the elements, for example of a buffer that it deleted.
    """
    if isinstance(tensor, np.ma.MaskedArray):
        raise TypeError("it is masked: pass tensor.filled(...), because a trial folder holds every element")
    array = _torch_array(tensor) if hasattr(tensor, "detach") and hasattr(tensor, "cpu") else np.asarray(tensor)
    dtype = array.dtype.newbyteorder("<")
    if dtype not in _SAVED:  # ml_dtypes tells NumPy which types hold its own exactly
        wider = (wide for wide in _WIDER if np.can_cast(array.dtype, wide, "safe"))
        found = next(wider, None)
        if found is None:
            raise TypeError(f"a trial folder cannot hold elements of type {array.dtype}")
        dtype = found
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
