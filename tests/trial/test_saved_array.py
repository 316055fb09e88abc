"""saved_array: what a tensor of any framework becomes in a trial folder, element by element."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

from weight_update_ratio.trial.saved_array import saved_array

KEPT = ["?", "u1", "i4", "i8", "u8", "f2", "f4", "f8", "c16"]
WIDENED = {"i1": "i4", "i2": "i4", "u2": "i4", "u4": "i8", "c8": "c16"}
MOST_DIMENSIONS = 64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else 32


class TorchLike:
    """A tensor with PyTorch's methods: ``numpy`` refuses what PyTorch's refuses, with the errors that PyTorch has.

    Its elements are on another device, conjugated or negated when it is read, and part of a graph, as the arguments
    say. ``is_known`` says whether NumPy has their type.
    """

    def __init__(
        self,
        array: Any,
        is_known: bool = True,
        in_graph: bool = True,
        on_host: bool = False,
        is_conjugated: bool = False,
        is_negated: bool = False,
    ) -> None:
        self.array = np.asarray(array)
        self.state = {
            "is_known": is_known,
            "in_graph": in_graph,
            "on_host": on_host,
            "is_conjugated": is_conjugated,
            "is_negated": is_negated,
        }

    def changed(self, array: Any = None, **state: bool) -> TorchLike:
        return TorchLike(self.array if array is None else array, **{**self.state, **state})

    def detach(self) -> TorchLike:
        return self.changed(in_graph=False)

    def cpu(self) -> TorchLike:
        return self.changed(on_host=True)

    def resolve_conj(self) -> TorchLike:
        return self.changed(self.array.conj(), is_conjugated=False) if self.state["is_conjugated"] else self

    def resolve_neg(self) -> TorchLike:
        return self.changed(-self.array, is_negated=False) if self.state["is_negated"] else self

    def is_complex(self) -> bool:
        return self.array.dtype.kind == "c"

    def float(self) -> TorchLike:
        return self.changed(self.array.astype(np.float32), is_known=True)

    def cfloat(self) -> TorchLike:
        return self.changed(self.array.astype(np.complex64), is_known=True)

    def numpy(self) -> np.ndarray[Any, Any]:
        if not self.state["is_known"]:
            raise TypeError("Got unsupported ScalarType")
        if self.state["in_graph"]:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        if not self.state["on_host"]:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")
        if self.state["is_conjugated"] or self.state["is_negated"]:
            raise RuntimeError("Can't call numpy() on Tensor that has conjugate or negative bit set.")
        return self.array

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        raise RuntimeError("PyTorch's own __array__ refuses most of these")


class Sharded(TorchLike):
    """A DTensor: its elements are those of all processes, and ``to_local`` gives this one's."""

    def to_local(self) -> TorchLike:
        return self.changed(self.array[:2])

    def detach(self) -> TorchLike:
        raise AssertionError("all processes would have to take part")


class ArrayLike:
    """Anything with ``__array__``."""

    def __init__(self, array: Any) -> None:
        self.array = np.asarray(array)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        return self.array if dtype is None else self.array.astype(dtype)


def assert_saved(expected: np.ndarray[Any, Any], tensor: Any) -> np.ndarray[Any, Any]:
    """Assert that a tensor is saved as ``expected``, bit for bit, in C order and little-endian; return that."""
    actual = saved_array(tensor)
    assert (expected.dtype.newbyteorder("<"), expected.shape) == (actual.dtype, actual.shape)
    assert expected.astype(actual.dtype).tobytes() == actual.tobytes()
    assert type(actual) is np.ndarray
    assert actual.flags.c_contiguous
    assert actual.dtype.newbyteorder("<") == actual.dtype
    return actual


def numbers(dtype: Any, shape: Any = (3, 4), seed: int = 0) -> np.ndarray[Any, Any]:
    """Return elements of any bits; booleans are 0 or 1."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape))
    content = np.random.default_rng(seed).bytes(size * dtype.itemsize)
    array = np.frombuffer(content, "u1") % 2 == 1 if dtype.kind == "b" else np.frombuffer(content, dtype)
    return array.reshape(shape)


class TestTypes:
    @pytest.mark.parametrize("dtype", KEPT)
    def test_kept(self, dtype: str) -> None:
        """The types that smdebug reads, and uint64, stay as they are, in the memory that they were in."""
        array = numbers(dtype)
        assert np.shares_memory(array, assert_saved(array, array))

    @pytest.mark.parametrize(("dtype", "wider"), WIDENED.items())
    def test_widened(self, dtype: str, wider: str) -> None:
        """Those that smdebug reads wrongly, or not at all, become a wider type that holds each of their values."""
        array = np.nan_to_num(numbers(dtype, 1000))
        assert_saved(array.astype(wider), array)

    @pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "u4"])
    def test_extremes_of_integers(self, dtype: str) -> None:
        """Nothing wraps around."""
        info = np.iinfo(dtype)
        expected = [int(info.min), 0, int(info.max)]
        assert expected == saved_array(np.array(expected, dtype)).tolist()

    def test_special_values(self) -> None:
        """NaN with its bits, infinities, negative zeros and subnormal numbers."""
        bits = np.uint32([0x7FC00001, 0xFFC12345, 0x7F800000, 0xFF800000, 0x80000000, 1])
        assert bits.tolist() == saved_array(bits.view(np.float32)).view(np.uint32).tolist()
        complex_numbers = np.array([complex(np.inf, -0.0), complex(-0.0, -np.inf), 1e-45 + 1j], np.complex64)
        assert_saved(complex_numbers.astype(np.complex128), complex_numbers)

    @pytest.mark.parametrize("dtype", [*KEPT[2:], *WIDENED])
    def test_big_endian(self, dtype: str) -> None:
        """The values are the same, and little-endian."""
        array = np.nan_to_num(numbers(dtype))
        swapped = array.astype(array.dtype.newbyteorder(">"))
        assert_saved(array.astype(WIDENED.get(dtype, dtype)), swapped)

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (True, np.array(True)),
            (3, np.array(3, np.int64)),
            (2**63, np.array(2**63, np.uint64)),
            (1.5, np.array(1.5)),
            (1.5j, np.array(1.5j)),
            ([1.0, 2.0], np.array([1.0, 2.0])),
            ([[1, 2], [3, 4]], np.array([[1, 2], [3, 4]], np.int64)),
            (np.float32(1.5), np.array(1.5, np.float32)),
            (np.int8(-3), np.array(-3, np.int32)),
            (np.bool_(True), np.array(True)),
            ([], np.array([], np.float64)),
        ],
    )
    def test_numbers_and_lists(self, value: Any, expected: np.ndarray[Any, Any]) -> None:
        """They are what NumPy makes of them."""
        assert_saved(expected, value)

    @pytest.mark.parametrize(
        "value",
        [
            None,
            "text",
            b"bytes",
            object(),
            {"w": 1.0},
            2**64,
            np.array(["a"]),
            np.array([b"a"]),
            np.array([object()]),
            np.array(["2024-01-01"], "M8[D]"),
            np.array([1], "m8[s]"),
            np.array([(1, 2.0)], [("a", "i4"), ("b", "f4")]),
            np.array([(1,)], [("a", "i4")]),
            np.zeros(2, "V4"),
        ],
    )
    def test_no_numbers(self, value: Any) -> None:
        """A TypeError names the type."""
        with pytest.raises(TypeError, match="elements of type"):
            saved_array(value)

    def test_masked_ones(self) -> None:
        """What is under the mask is not a weight, and a trial folder holds every element."""
        with pytest.raises(TypeError, match=r"it is masked: pass tensor.filled\("):
            saved_array(np.ma.masked_array([1.0, 2.0], [False, True]))

    @pytest.mark.skipif(np.dtype(np.longdouble) == np.dtype(np.float64), reason="long doubles are doubles here")
    @pytest.mark.parametrize("dtype", [np.longdouble, np.clongdouble])
    def test_no_type_holds_them(self, dtype: Any) -> None:
        """Long doubles are not rounded: they are refused."""
        with pytest.raises(TypeError, match=str(np.dtype(dtype))):
            saved_array(np.ones(2, dtype))

    @pytest.mark.parametrize(
        "name",
        [
            "bfloat16",
            "float8_e3m4",
            "float8_e4m3",
            "float8_e4m3b11fnuz",
            "float8_e4m3fn",
            "float8_e4m3fnuz",
            "float8_e5m2",
            "float8_e5m2fnuz",
            "float8_e8m0fnu",
            "float6_e2m3fn",
            "float6_e3m2fn",
            "float4_e2m1fn",
            "int4",
            "uint4",
            "int2",
            "uint2",
        ],
    )
    def test_types_of_ml_dtypes(self, name: str) -> None:
        """Each pattern of bits has the value that ml_dtypes gives it, as float32 or int32."""
        ml_dtypes = pytest.importorskip("ml_dtypes")
        if not hasattr(ml_dtypes, name):
            pytest.skip(f"this version of ml_dtypes has no {name}")
        dtype = np.dtype(getattr(ml_dtypes, name))
        if "int" in name:
            info = ml_dtypes.iinfo(dtype)
            array = np.arange(int(info.min), int(info.max) + 1).astype(dtype)
        else:
            bits = 16 if dtype.itemsize == 2 else int(name[5])
            array = np.arange(2**bits, dtype=np.uint32).astype(f"u{dtype.itemsize}").view(dtype)
        expected = np.array([int(x) if "int" in name else float(x) for x in array], "i4" if "int" in name else "f4")
        actual = saved_array(array)
        if "int" not in name or actual.dtype != np.float32:  # older versions do not say that int32 holds an int4
            assert expected.dtype == actual.dtype
        np.testing.assert_array_equal(expected, actual)
        np.testing.assert_array_equal(np.signbit(expected), np.signbit(actual))
        np.testing.assert_array_equal(expected[::-2], saved_array(array[::-2]))


class TestLayouts:
    @pytest.mark.parametrize("dtype", ["f4", "c8"])
    def test_order_in_memory(self, dtype: str) -> None:
        """The elements are in C order, whatever their strides are."""
        array = numbers(dtype, (4, 6, 5))
        wide = WIDENED.get(dtype, dtype)
        for view in (np.asfortranarray(array), array.T, array[::2, ::-1, 1:4], array[:, None], np.flip(array)):
            assert_saved(view.astype(wide), view)
        assert_saved(np.full((3, 4), 2, wide), np.broadcast_to(np.array(2, dtype), (3, 4)))

    def test_read_only_and_unaligned(self) -> None:
        """Neither is written to."""
        array = numbers("f4")
        array.flags.writeable = False
        assert np.shares_memory(array, assert_saved(array, array))
        content = b"x" + array.tobytes()
        assert_saved(array, np.frombuffer(content, "f4", offset=1).reshape(3, 4))

    @pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,) * MOST_DIMENSIONS, (1, 2) * 12])
    @pytest.mark.parametrize("dtype", ["f4", "i1"])
    def test_shapes(self, shape: tuple[int, ...], dtype: str) -> None:
        """No dimensions, no elements, and as many dimensions as NumPy has."""
        array = numbers(dtype, shape)
        assert_saved(array.astype(WIDENED.get(dtype, dtype)), array)

    def test_subclasses(self, tmp_path: Any) -> None:
        """A matrix and a memory-mapped file are arrays."""
        file = np.memmap(tmp_path / "w", "f4", "w+", shape=(2, 3))
        file[:] = [[1, 2, 3], [4, 5, 6]]
        assert_saved(np.array(file), file)
        assert_saved(np.float32([[1, 2]]), np.float32([[1, 2]]).view(np.matrix))

    @settings(deadline=None, max_examples=50)
    @given(st.data())
    def test_any_array(self, data: st.DataObject) -> None:
        """Every value is NumPy's own of the saved type."""
        dtype = data.draw(
            st.one_of(
                np_st.boolean_dtypes(),
                np_st.integer_dtypes(endianness="="),
                np_st.unsigned_integer_dtypes(endianness=">"),
                np_st.floating_dtypes(sizes=(16, 32, 64)),
                np_st.complex_number_dtypes(sizes=(64, 128)),
            )
        )
        array = data.draw(np_st.arrays(dtype, np_st.array_shapes(min_dims=0, min_side=0)))
        kind = dtype.newbyteorder("=").str[1:]
        assert_saved(array.astype(WIDENED.get(kind, kind)), array)


class TestObjects:
    @pytest.mark.parametrize("dtype", ["f4", "i1", ">f8"])
    def test_with_nothing_but_an_array(self, dtype: str) -> None:
        """As tensors of JAX, TensorFlow and Keras have it."""
        array = np.arange(6).astype(dtype).reshape(2, 3)
        assert_saved(array.astype("i4" if dtype == "i1" else array.dtype.newbyteorder("<")), ArrayLike(array))

    def test_an_older_array_method(self) -> None:
        """It takes no arguments, as NumPy 1's documentation has it."""

        class Older:
            def __array__(self) -> np.ndarray[Any, Any]:
                return np.float32([1, 2])

        assert_saved(np.float32([1, 2]), Older())

    def test_what_a_framework_raises_goes_through(self) -> None:
        """As JAX does of a buffer that was given away."""

        class Deleted:
            def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
                raise RuntimeError("Array has been deleted")

        with pytest.raises(RuntimeError, match="deleted"):
            saved_array(Deleted())


class TestTorchLike:
    def test_in_a_graph_on_another_device(self) -> None:
        """It is detached, and copied to this machine's memory."""
        array = numbers("f4")
        assert np.shares_memory(array, assert_saved(array, TorchLike(array)))

    @pytest.mark.parametrize("states", [{"is_conjugated": True}, {"is_negated": True}])
    @pytest.mark.parametrize("dtype", ["c16", "c8"])
    def test_what_is_computed_when_it_is_read(self, states: dict[str, bool], dtype: str) -> None:
        """PyTorch's conjugated and negated views are resolved."""
        array = np.nan_to_num(numbers(dtype))
        expected = -array if "is_negated" in states else array.conj()
        assert_saved(expected.astype("c16"), TorchLike(array, **states))

    def test_a_type_that_numpy_has_not(self) -> None:
        """It becomes float32 (bfloat16, float8), or complex128 by way of complex64 (half-precision complex numbers)."""
        assert_saved(np.float32([1.5, -2]), TorchLike(np.float16([1.5, -2]), is_known=False))
        assert_saved(np.complex128([1.5 - 2j]), TorchLike(np.complex64([1.5 - 2j]), is_known=False))

    def test_a_shard(self) -> None:
        """Of a DTensor this process's shard is saved, and the other processes are not waited for."""
        array = numbers("f4")
        assert_saved(array[:2], Sharded(array))


class TestTorch:
    @pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
    def test_types(self) -> None:
        """Each of PyTorch's has the values that PyTorch gives it."""
        torch = pytest.importorskip("torch")
        floats = ["float16", "float32", "float64", "bfloat16", *(name for name in dir(torch) if "float8" in name)]
        for name in floats:
            dtype = getattr(torch, name)
            tensor = torch.tensor([0.5, 1.0, 2.0, 16.0]).to(dtype)
            kept = name in ("float16", "float32", "float64")
            assert_saved(np.array(tensor.double().tolist(), name if kept else "f4"), tensor)
        for name, saved in {"uint8": "u1", "int8": "i4", "int16": "i4", "int32": "i4", "int64": "i8"}.items():
            assert_saved(np.array([0, 1, 127], saved), torch.tensor([0, 1, 127], dtype=getattr(torch, name)))
        assert_saved(np.array([True, False]), torch.tensor([True, False]))
        for name in ("complex32", "complex64", "complex128"):
            tensor = torch.tensor([1.5 - 2j]).to(getattr(torch, name))
            assert_saved(np.complex128([1.5 - 2j]), tensor)
            assert_saved(np.complex128([1.5 + 2j]), tensor.conj())
        assert_saved(np.float32([2]), torch.tensor([1.5 - 2j]).conj().imag)  # a view with the negative bit

    def test_layouts(self) -> None:
        """Parameters, strided views and scalars; a contiguous one on this machine is not copied."""
        torch = pytest.importorskip("torch")
        parameter = torch.nn.Parameter(torch.arange(12.0).reshape(3, 4))
        actual = assert_saved(np.arange(12, dtype="f4").reshape(3, 4), parameter)
        assert np.shares_memory(actual, parameter.detach().numpy())
        assert_saved(np.arange(12, dtype="f4").reshape(3, 4).T[::2], parameter.T[::2])
        assert_saved(np.float32(3), torch.tensor(3.0, requires_grad=True))
        assert_saved(np.zeros((0, 3), "f4"), torch.zeros(0, 3))
        assert_saved(np.full((2, 3), 1.5, "f4"), torch.tensor(1.5, dtype=torch.bfloat16).expand(2, 3))

    @pytest.mark.parametrize(("kind", "error"), [("sparse", TypeError), ("meta", NotImplementedError)])
    def test_without_elements(self, kind: str, error: type[Exception]) -> None:
        """What PyTorch says goes through."""
        torch = pytest.importorskip("torch")
        tensor = torch.eye(3).to_sparse() if kind == "sparse" else torch.zeros(3, device="meta")
        with pytest.raises(error, match=f"(?i){kind}"):
            saved_array(tensor)
