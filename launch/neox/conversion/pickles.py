"""What the pickles of GPT-NeoX's checkpoints may name, and the loading of nothing else.

A `.pt` file is a program for pickle's machine; torch runs it. Here it creates tensors, plain containers, numpy's arrays and
the state of random generators. Objects of DeepSpeed and Megatron, which stand in optimizer states, become inert stand-ins:
their classes are never imported. Whatever else is named is refused before it is looked up.

`launch.stretch` runs this file by its path with the interpreter of GPT-NeoX's environment, so that it knows no Haigo:

    python pickles.py SOURCE TARGET LENGTH
"""

from __future__ import annotations

import pickle
import sys
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from types import ModuleType
from typing import Any, Dict, Tuple, Type  # noqa: UP035 - GPT-NeoX's environment may be Python 3.8

_STAND_INS = ("deepspeed.", "megatron.", "apex.", "transformer_engine.")
_TENSORS = ("_rebuild_tensor_v2", "_rebuild_tensor", "_rebuild_parameter", "_rebuild_parameter_with_state")
_PLAIN = {
    ("collections", "OrderedDict"), ("collections", "defaultdict"), ("collections", "deque"),
    ("argparse", "Namespace"), ("pathlib", "PosixPath"), ("pathlib", "PurePosixPath"), ("torch", "Size"),
    ("torch", "device"),
}  # fmt: skip
_BUILTINS = (
    "set", "frozenset", "bytearray", "complex", "slice", "range", "dict", "list", "tuple", "int", "float", "str",
)  # fmt: skip
_NUMPY = {("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer")}


class Named(pickle.UnpicklingError):
    """The pickle names something that no checkpoint needs."""


class StandIn:
    """In place of an object of another program: takes everything, does nothing, and cannot be written again."""

    named = ""

    def __init__(self, *args: Any, **options: Any) -> None:
        pass

    def __call__(self, *args: Any, **options: Any) -> StandIn:
        return self

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        pass

    def extend(self, values: Any) -> None:
        pass

    def __reduce__(self) -> Tuple[Any, ...]:  # noqa: UP006
        raise pickle.PicklingError("an object of %s cannot be copied" % self.named)  # noqa: UP031


def _latin(text: str, encoding: str = "latin1") -> bytes:
    """`_codecs.encode` as pickle's second protocol uses it for bytes."""
    if encoding != "latin1":
        raise Named("it names _codecs.encode for %s" % encoding)  # noqa: UP031
    return text.encode("latin1")


class Unpickler(pickle.Unpickler):
    """See the module. torch finds storages before it asks here."""

    def find_class(self, module: str, name: str) -> Any:
        import torch

        # pickle's second protocol, which torch uses, writes modules of Python 2
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        if module == "torch._utils" and name in _TENSORS:
            return getattr(torch._utils, name)
        if (module, name) in _PLAIN or (module == "builtins" and name in _BUILTINS):
            return super().find_class(module, name)
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if (module, name) == ("_codecs", "encode"):
            return _latin
        if module == "numpy" and name in ("ndarray", "dtype"):
            return super().find_class(module, name)
        package, _, last = module.rpartition(".")
        if package in ("numpy.core", "numpy._core") and (last, name) in _NUMPY:
            return _numpy(last, name)
        if self.stands_in(module):
            return type("StandIn", (StandIn,), {"named": module + "." + name})
        raise Named("it names %s.%s" % (module, name))  # noqa: UP031

    def stands_in(self, module: str) -> bool:
        """Whether an object of this module may become a stand-in."""
        return (module + ".").startswith(_STAND_INS)


class Reader(Unpickler):
    """For those who only read weights: objects of any training program become stand-ins. What Python, torch and numpy
    bring along is still refused beyond the list: nothing but an attack needs it."""

    def stands_in(self, module: str) -> bool:
        own = module.partition(".")[0]
        return own not in ("torch", "numpy", *getattr(sys, "stdlib_module_names", (own,)))


def _numpy(module: str, name: str) -> Any:
    """numpy's own function, whichever of its versions wrote the pickle."""
    import importlib

    for package in ("numpy._core", "numpy.core"):
        try:
            return getattr(importlib.import_module(package + "." + module), name)
        except ImportError:
            continue
    raise Named("it names numpy.core.%s.%s" % (module, name))  # noqa: UP031


def _no_legacy(*args: Any, **options: Any) -> Any:
    raise pickle.UnpicklingError("not torch's zip format")


def load(path: str, kind: Type[Unpickler] = Unpickler, **options: Any) -> Any:  # noqa: UP006
    """What a `.pt` file holds, on the CPU.

    Args:
        kind: `Unpickler`, or `Reader` where nothing is written again.
        options: of torch.load.

    Raises:
        Named: it names what no checkpoint needs.
        pickle.UnpicklingError: it is of torch's older format, or a program of TorchScript.
        Exception: what torch and zipfile raise for a damaged file.
    """
    import torch

    with zipfile.ZipFile(path) as archive:
        if any(name.endswith("/constants.pkl") for name in archive.namelist()):
            raise Named("it names torch.jit, whose programs are no data")  # torch.load would start it
    made = ModuleType("pickle")  # torch.load looks at the name of what it is given
    vars(made).update(Unpickler=kind, load=_no_legacy, UnpicklingError=pickle.UnpicklingError)
    return torch.load(path, map_location="cpu", weights_only=False, pickle_module=made, **options)


def stretched(source: str, target: str, length: int) -> None:
    """Write a copy with another `max_position_embeddings` and without the optimizer."""
    import torch

    state: Dict[str, Any] = load(source)  # noqa: UP006
    if not isinstance(state, dict) or not isinstance(state.get("args"), dict):
        sys.exit("no arguments of GPT-NeoX in it")
    if "max_position_embeddings" not in state["args"]:
        sys.exit("no arguments of GPT-NeoX in it")
    state["args"]["max_position_embeddings"] = length
    if "optimizer" in state:
        state["optimizer"] = None
    torch.save(state, target)


if __name__ == "__main__":
    del sys.path[0]  # this folder, whose names are not those that torch means
    stretched(sys.argv[1], sys.argv[2], int(sys.argv[3]))
