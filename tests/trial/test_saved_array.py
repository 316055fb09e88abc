"""What tensors of any framework become in a trial folder: their names, and each of their elements."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Iterable

import numpy as np
import pytest

from weight_update_ratio.trial.saved_array import saved_array, saved_tensors

KEPT = ["?", "u1", "i4", "i8", "u8", "f2", "f4", "f8", "c16"]
WIDENED = {"i1": "i4", "i2": "i4", "u2": "i4", "u4": "i8", "c8": "c16"}
MOST_DIMENSIONS = 64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else 32
ML_DTYPES = ["bfloat16", "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"]
LONG_DOUBLES = pytest.mark.skipif(np.dtype(np.longdouble) == np.dtype(np.float64), reason="they are doubles here")


class TorchLike:
    """A tensor with PyTorch's methods: ``numpy`` refuses, as PyTorch's does, until those in ``needs`` were called."""

    def __init__(self, array: Any, *needs: str) -> None:
        self.array, self.needs = np.asarray(array), {"detach", "cpu", *needs}

    def called(self, name: str, array: Any) -> TorchLike:
        if name in self.needs:
            self.array = array
            self.needs.remove(name)
        return self

    def detach(self) -> TorchLike:
        return self.called("detach", self.array)

    def cpu(self) -> TorchLike:
        return self.called("cpu", self.array)

    def resolve_conj(self) -> TorchLike:
        return self.called("resolve_conj", self.array.conj())

    def resolve_neg(self) -> TorchLike:
        return self.called("resolve_neg", -self.array)

    def float(self) -> TorchLike:
        return self.called("float", self.array.astype(np.float32))

    def cfloat(self) -> TorchLike:
        return self.called("cfloat", self.array.astype(np.complex64))

    def is_complex(self) -> bool:
        return self.array.dtype.kind == "c"

    def numpy(self) -> np.ndarray[Any, Any]:
        if self.needs & {"float", "cfloat"}:
            raise TypeError("Got unsupported ScalarType")
        if self.needs:
            raise RuntimeError("Can't call numpy() on Tensor")
        return self.array

    def __array__(self, *arguments: Any, **options: Any) -> Any:
        raise RuntimeError("PyTorch's own __array__ refuses most of these")


class Sharded(TorchLike):
    """A DTensor: its elements are those of all processes, and ``to_local`` gives this one's."""

    def to_local(self) -> TorchLike:
        return TorchLike(self.array[:2])

    def detach(self) -> TorchLike:
        raise AssertionError("all processes would have to take part")


class ArrayLike:
    """Anything with ``__array__``, as tensors of JAX, TensorFlow and Keras have it."""

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


def numbers(dtype: Any, shape: Any = (3, 4)) -> np.ndarray[Any, Any]:
    """Return elements of any bits, NaN's excepted; booleans are 0 or 1."""
    dtype = np.dtype(dtype)
    content = np.random.default_rng(0).bytes(int(np.prod(shape)) * dtype.itemsize)
    array = np.frombuffer(content, "u1") % 2 == 1 if dtype.kind == "b" else np.frombuffer(content, dtype)
    return np.nan_to_num(array).reshape(shape)


class TestTypes:
    @pytest.mark.parametrize("dtype", [*KEPT, *WIDENED])
    def test_of_either_byte_order(self, dtype: str) -> None:
        """What smdebug reads, and uint64, stays as it is; what it does not becomes a wider type, without a loss."""
        array = numbers(dtype, 1000)
        if array.dtype.kind in "iu":
            array[:2] = np.iinfo(dtype).min, np.iinfo(dtype).max
        expected = array.astype(WIDENED.get(dtype, dtype))
        array.flags.writeable = False
        assert (dtype in KEPT) == np.shares_memory(array, assert_saved(expected, array))
        assert_saved(expected, array.astype(array.dtype.newbyteorder(">")))

    def test_special_values(self) -> None:
        bits = np.uint32([0x7FC00001, 0xFFC12345, 0x7F800000, 0xFF800000, 0x80000000, 1])
        assert bits.tolist() == saved_array(bits.view(np.float32)).view(np.uint32).tolist()
        complex_numbers = np.array([complex(np.inf, -0.0), complex(-0.0, -np.inf), 1e-45 + 1j], np.complex64)
        assert_saved(complex_numbers.astype(np.complex128), complex_numbers)

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (True, np.array(True)),
            (2**63, np.array(2**63, np.uint64)),
            (1.5, np.array(1.5)),
            (1.5j, np.array(1.5j)),
            ([[1, 2], [3, 4]], np.array([[1, 2], [3, 4]], np.int64)),
            (np.int8(-3), np.array(-3, np.int32)),
            ([], np.array([], np.float64)),
        ],
    )
    def test_numbers_and_lists(self, value: Any, expected: np.ndarray[Any, Any]) -> None:
        assert_saved(expected, value)

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            (None, "elements of type object"),
            ("text", "elements of type <U4"),
            (2**64, "elements of type object"),
            (np.array(["2024-01-01"], "M8[D]"), "elements of type datetime64"),
            (np.array([(1, 2.0)], [("a", "i4"), ("b", "f4")]), "elements of type .*'a'"),
            (np.zeros(2, "V4"), r"elements of type \|V4: pass an array of numbers of NumPy's types"),
            ({"v": [1.0]}, "elements of type object: pass the pairs of its leaves"),
            (SimpleNamespace(cls_to_become=object), "it is lazy, and has no elements yet: run the model once"),
            (SimpleNamespace(is_meta=True), "it is on the meta device, which holds no elements: pass it when its"),
            (SimpleNamespace(is_nested=True), r"it is nested: pass the tensors of tensor.unbind\(\)"),
            (SimpleNamespace(get_mask=len), r"it is masked: pass tensor.to_tensor\(0\)"),
            (SimpleNamespace(is_quantized=True), r"it is quantised: pass tensor.dequantize\(\)"),
            (
                SimpleNamespace(quant_state=object()),
                r"it is quantised: pass the weights that are trained \(trained_only",
            ),
            (np.ma.masked_array([1.0, 2.0], [False, True]), r"it is masked: pass tensor.filled\("),
            pytest.param(np.ones(2, np.longdouble), str(np.dtype(np.longdouble)), marks=LONG_DOUBLES),
            pytest.param(np.ones(2, np.clongdouble), str(np.dtype(np.clongdouble)), marks=LONG_DOUBLES),
        ],
    )
    def test_what_has_no_numbers(self, value: Any, words: str) -> None:
        """A TypeError names the type; long doubles are not rounded."""
        with pytest.raises(TypeError, match=words):
            saved_array(value)

    @pytest.mark.parametrize("name", ML_DTYPES)
    def test_types_of_ml_dtypes(self, name: str) -> None:
        """Each pattern of bits has the value that ml_dtypes gives it, as float32."""
        dtype = np.dtype(getattr(pytest.importorskip("ml_dtypes"), name))
        array = np.arange(256**dtype.itemsize).astype(f"u{dtype.itemsize}").view(dtype)
        expected, actual = np.array([float(x) for x in array], "f4"), saved_array(array)
        assert expected.dtype == actual.dtype
        np.testing.assert_array_equal(expected, actual)
        np.testing.assert_array_equal(np.signbit(expected), np.signbit(actual))


class TestLayouts:
    @pytest.mark.parametrize("dtype", ["f4", "c8"])
    def test_order_in_memory(self, dtype: str) -> None:
        array = numbers(dtype, (4, 6, 5))
        views = [np.asfortranarray(array), array[::2, ::-1, 1:4], np.broadcast_to(array[0], (3, 6, 5))]
        views += [np.frombuffer(b"x" + array.tobytes(), dtype, offset=1), array[0].view(np.matrix)]
        for view in views:
            assert_saved(view.astype(WIDENED.get(dtype, dtype)), view)

    @pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,) * MOST_DIMENSIONS])
    @pytest.mark.parametrize("dtype", ["f4", "i1"])
    def test_shapes(self, shape: tuple[int, ...], dtype: str) -> None:
        array = numbers(dtype, shape)
        assert_saved(array.astype(WIDENED.get(dtype, dtype)), array)


class TestObjects:
    @pytest.mark.parametrize(
        ("tensor", "expected"),
        [
            (ArrayLike(np.arange(6).astype("i1")), np.arange(6, dtype="i4")),
            (ArrayLike(np.arange(6).astype(">f8")), np.arange(6, dtype="f8")),
            (TorchLike(np.float32([1, 2])), np.float32([1, 2])),
            (TorchLike(np.complex64([1 - 2j]), "resolve_conj"), np.complex128([1 + 2j])),
            (TorchLike(np.complex128([1 - 2j]), "resolve_neg"), np.complex128([-1 + 2j])),
            (TorchLike(np.float16([1.5, -2]), "float"), np.float32([1.5, -2])),  # bfloat16, float8
            (TorchLike(np.complex64([1.5 - 2j]), "cfloat"), np.complex128([1.5 - 2j])),  # of half precision
            (Sharded(np.float32([1, 2, 3])), np.float32([1, 2])),
        ],
    )
    def test_of_frameworks(self, tensor: Any, expected: np.ndarray[Any, Any]) -> None:
        """A shard is this process's own, and the other processes are not waited for."""
        assert_saved(expected, tensor)

    @pytest.mark.parametrize(
        ("replicated", "num_workers", "shards"),
        [([True], 1, 1), ([False], 3, 3), ([False], 2, 3), ([True, False], 2, 2), ([False, False], 3, 6)],
    )
    def test_of_some_processes_alone(self, replicated: list[bool], num_workers: int, shards: int) -> None:
        tensor = Sharded(np.float32([1, 2, 3]))
        tensor.placements = [SimpleNamespace(is_replicate=lambda whole=whole: whole) for whole in replicated]
        tensor.device_mesh = SimpleNamespace(size=lambda dim: 3 - dim if len(replicated) == 2 else 3)
        if shards <= num_workers:
            assert_saved(np.float32([1, 2]), next(saved_tensors({"w": tensor}, num_workers)).array)
            return
        with pytest.raises(TypeError) as caught:
            next(saved_tensors({"w": tensor}, num_workers))
        assert str(caught.value) == (
            f"the tensor 'w' cannot be recorded: it is one of {shards} shards, and num_workers is {num_workers}: "
            f"record in all {shards} processes with num_workers={shards}, or pass tensor.full_tensor(), which all of "
            "them have to call"
        )

    def test_nothing_is_copied_that_is_in_this_machines_memory(self) -> None:
        array = numbers("f4")
        assert np.shares_memory(array, saved_array(TorchLike(array)))


class TestTorch:
    @pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
    def test_types(self) -> None:
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
        torch = pytest.importorskip("torch")
        parameter = torch.nn.Parameter(torch.arange(12.0).reshape(3, 4))
        actual = assert_saved(np.arange(12, dtype="f4").reshape(3, 4), parameter)
        assert np.shares_memory(actual, parameter.detach().numpy())
        assert_saved(np.arange(12, dtype="f4").reshape(3, 4).T[::2], parameter.T[::2])
        assert_saved(np.float32(3), torch.tensor(3.0, requires_grad=True))
        assert_saved(np.zeros((0, 3), "f4"), torch.zeros(0, 3))
        assert_saved(np.full((2, 3), 1.5, "f4"), torch.tensor(1.5, dtype=torch.bfloat16).expand(2, 3))

    @pytest.mark.filterwarnings("ignore")  # that some of these are prototypes, or will go
    def test_without_elements(self) -> None:
        torch = pytest.importorskip("torch")
        tensors = {
            "Sparse.*to_dense": torch.eye(3).to_sparse(),
            "meta": torch.zeros(3, device="meta"),
            "lazy": torch.nn.LazyLinear(3).weight,
            "nested": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
            "masked": torch.masked.masked_tensor(torch.ones(2), torch.tensor([True, False])),
            "quantised": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        }
        for words, tensor in tensors.items():
            with pytest.raises(TypeError, match=words):
                saved_array(tensor)

    @pytest.mark.filterwarnings("ignore")  # what compiling warns of
    def test_modules(self) -> None:
        torch = pytest.importorskip("torch")
        modules = {"a": torch.nn.Linear(2, 2), "b": torch.nn.Linear(2, 2).bfloat16()}
        modules["b"].bias.requires_grad_(False)
        model = torch.nn.ModuleDict({**modules, "a": torch.compile(modules["a"])})
        expected = [("a.weight", "float32", True), ("a.bias", "float32", True)]
        expected += [("b.weight", "bfloat16", True), ("b.bias", "bfloat16", False)]
        for given in (model, torch.compile(model), torch.nn.DataParallel(model), model.named_parameters):
            assert expected == [(name, kind, trained) for name, _, _, kind, trained in saved_tensors(given)]


def named(given: Any, **options: Any) -> list[str]:
    return [tensor.name for tensor in saved_tensors(given, **options)]


class Model(SimpleNamespace):
    """A model of Keras, or a module of PyTorch: it can be called, and is not."""

    def __call__(self) -> Any:
        raise AssertionError

    def items(self) -> Any:
        raise AssertionError


class TestNames:
    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            (["_orig_mod.a", "b._orig_mod.c"], ["a", "b.c"]),
            (["module.module.a", "b.module.c"], ["a", "b.module.c"]),
            (["module._orig_mod.module.a", "_orig_mod._fsdp_wrapped_module.b"], ["a", "b"]),
            (["l.0._checkpoint_wrapped_module._orig_mod._fsdp_wrapped_module.w"], ["l.0.w"]),
            (["my_orig_mod.a", "_orig_mod", "module", "module."], ["my_orig_mod.a", "_orig_mod", "module", "module."]),
            (["a", "module.a", "module.b"], ["a", "module.a", "b"]),
            (["module.a", "a", "module.b"], ["module.a", "a", "b"]),
            (["module.a", "_orig_mod.a", "b"], ["module.a", "_orig_mod.a", "b"]),
        ],
    )
    def test_of_wrappers(self, given: Iterable[str], expected: list[str]) -> None:
        assert expected == named(dict.fromkeys(given, 1.0))
        assert expected == named((name, 1.0) for name in given)

    def test_of_models(self) -> None:
        """A module's named parameters; a Keras model's weights by path, and where it has none by name."""
        module = Model(named_parameters=lambda: iter([("a", 1.0)]))
        weights = [ArrayLike([1.0]), ArrayLike([1.0])]
        weights[0].path, weights[0].name, weights[1].name = "net/d/kernel", "kernel", "d/bias:0"
        keras = Model(weights=weights, trainable_weights=weights, named_parameters=None)
        for given in (module, lambda: module):
            assert ["a"] == named(given)
        assert ["net/d/kernel", "d/bias:0"] == named(keras)

    @pytest.mark.parametrize("attribute", ["requires_grad", "trainable"])
    def test_of_what_is_trained(self, attribute: str) -> None:
        tensors = {name: TorchLike([1.0]) for name in "ab"}
        setattr(tensors["a"], attribute, False)
        setattr(tensors["b"], attribute, True)
        given = {**tensors, "c": np.ones(2)}
        assert [False, True, None] == [tensor.is_trained for tensor in saved_tensors(given)]
        assert ["b", "c"] == named(given, trained_only=True)
        with pytest.raises(ValueError, match=r"^only what is trained is taken, and no tensor has requires_grad"):
            named({"a": tensors["a"]}, trained_only=True)

    def test_of_types(self) -> None:
        tensors = {dtype: TorchLike([1.0]) for dtype in ("bfloat16", "torch.bfloat16", np.float32, np.dtype(">f4"))}
        for dtype, tensor in tensors.items():
            tensor.dtype = dtype
        kinds = [tensor.type for tensor in saved_tensors((str(n), tensor) for n, tensor in enumerate(tensors.values()))]
        assert ["bfloat16", "bfloat16", "float32", "float32"] == kinds
        assert ["float64", "int8"] == [kind for *_, kind, _ in saved_tensors({"a": 1.5, "b": np.int8(1)})]
