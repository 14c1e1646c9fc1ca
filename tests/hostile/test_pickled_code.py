"""``.pt`` files with code in them: it is named, and never runs."""

import builtins
import codecs
import collections
import os
import pickle

import numpy as np
import pytest
import torch

from tests.hostile.law import accepted, refused, refused_as_json, told_of_contents, unharmed
from tests.hostile.odd_tensors import nested
from tests.hostile.torch_saved import FORMATS, THREE, Q, saved
from tests.hostile.warm import warm


class Calls:
    """Pickled, it is a call of any function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Sets:
    """Pickled, it is an object of any class and its state."""

    def __init__(self, kind, state):
        self.parts = kind, (), state

    def __reduce__(self):
        return self.parts


CODE = {
    "os.mkdir": (lambda trace: Calls(os.mkdir, trace), "posix.mkdir"),
    "open": (lambda trace: Calls(open, trace, "w"), "io.open"),
    "eval": (lambda trace: Calls(eval, f"open({trace!r}, 'w')"), "builtins.eval"),
    "exec in a list": (lambda trace: [1, {"a": (Calls(exec, f"open({trace!r}, 'w')"),)}], "builtins.exec"),
    "getattr": (lambda _: Calls(getattr, Calls(__import__, "os"), "system"), "builtins.getattr"),
    "torch's own": (lambda trace: Calls(torch.load, trace), "torch.serialization.load"),
    "a module": (lambda _: torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
    "a class with a state": (lambda trace: Sets(pickle.Pickler, {"a": trace}), "names pickle.Pickler"),
    "an array": (lambda _: np.zeros(3), "numpy"),
    "a bytearray of 10 GB": (lambda _: Calls(bytearray, 10**10), "builtins.bytearray"),
    "a nested tensor": (lambda _: nested(), "torch._utils._rebuild_nested_tensor"),
    "a set of lists": (lambda _: Calls(set, [[1], [2]]), "keys that are no plain values"),
    "a set with a number of 65 bits": (lambda _: Calls(set, [2**64]), "keys that are no plain values"),
    "a key of 65 bits": (lambda _: {2**64: 1}, "keys that are no plain values"),
    "a key that takes for ever": (lambda _: {((((1,),),),): 1}, "keys that are no plain values"),
    "a frozen set": (lambda _: frozenset([1]), "builtins.frozenset"),
    "a key of 65 numbers": (lambda _: {(1,) * 65: 1}, "keys that are no plain values"),
    "a Counter of a text": (lambda _: Calls(collections.Counter, "abc"), "collections.Counter"),
    "a Counter's state": (lambda _: Sets(collections.Counter, {"items": 1}), "sets the state of an object"),
    "a complex number of text": (lambda _: Calls(complex, "1"), "builtins.complex"),
    "an encoding of any kind": (lambda _: Calls(codecs.encode, "a" * 99, "zip"), "_codecs.encode"),
    "a tensor of 4 TB": (lambda _: Calls(torch.Tensor, 10**12), "torch.Tensor"),
    "a storage of 1 TB": (lambda _: Calls(torch.UntypedStorage, 10**12), "torch.storage.UntypedStorage"),
    "a shape of 10**5 axes": (lambda _: Calls(torch.Size, (1,) * 10**5), "torch.Size"),
    "a shape beyond int64": (lambda _: Calls(torch.Size, (2**63,)), "calls torch.Size in a way that makes no size"),
    "a shape of text": (lambda _: Calls(torch.Size, ("a",)), "calls torch.Size in a way that makes no size"),
    "a device that only this machine has": (lambda _: Calls(torch.device, 5), "in a way that makes no device"),
    "a device that no machine has": (lambda _: Calls(torch.device, "abacus"), "in a way that makes no device"),
    "a layout": (lambda _: Calls(torch.serialization._get_layout, "torch.heap"), "in a way that makes no layout"),
    "an ordered dict of another": (lambda _: Calls(collections.OrderedDict, {"a": 1}), "collections.OrderedDict"),
    "a dict's state": (lambda _: Sets(collections.OrderedDict, 3), "a state that is no dict"),
    "a parameter's state": (
        lambda _: Calls(torch._utils._rebuild_parameter_with_state, Q, False, collections.OrderedDict(), 3),
        "a state that is no dict",
    ),
}


@pytest.fixture(scope="module")
def told_of_code(tmp_path_factory):
    """What one process says of every file with code in it; nothing of it may have run."""
    folder = tmp_path_factory.mktemp("code")
    contents = {}
    for case, (make, _) in CODE.items():
        for name, is_zip in FORMATS.items():
            value = {**THREE, "x": make(str(folder / "trace"))}
            contents[case, name] = saved(value, _use_new_zipfile_serialization=is_zip)
    return told_of_contents(folder, ".pt", contents)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("case", CODE)
def test_code_is_named_and_never_runs(told_of_code, case, name):
    for says in ("is no pickle of plain tensors", CODE[case][1], "hint: save tensors alone"):
        assert says in told_of_code[case, name]


@pytest.mark.parametrize("is_zip", FORMATS.values())
def test_attributes_with_the_names_of_methods_are_not_called(tmp_path, is_zip):
    """A file may give ordered dicts and tensors attributes, and so hide the methods of their types."""
    hidden = dict.fromkeys(("items", "keys", "dim", "item", "detach", "resolve_conj", "resolve_neg", "view"), "x")
    tensors = {
        name: Calls(torch._utils._rebuild_parameter_with_state, x, False, collections.OrderedDict(), hidden)
        for name, x in THREE.items()
    }
    path = tmp_path / "x.pt"
    given = {**tensors, "o": Sets(collections.OrderedDict, hidden), "d": Calls(torch.device, "cuda:7")}
    path.write_bytes(saved(given, _use_new_zipfile_serialization=is_zip))
    accepted(warm("run", str(path)))


@pytest.mark.parametrize("command", ["run", "check", "diff", "explain"])
def test_every_command_names_it_in_json_too(tmp_path, command):
    path = tmp_path / "x.pth"
    path.write_bytes(saved({"q": Calls(os.mkdir, str(tmp_path / "trace"))}))
    rest = {"diff": [str(path)], "explain": ["--head", "0", "--query", "0"]}.get(command, [])
    with unharmed(tmp_path):
        refused_as_json(warm(command, str(path), *rest, "--json"), command, names=path, says="mkdir")


def test_code_does_not_run_behind_another_name_or_as_weights(tmp_path):
    harm = saved({"q": Calls(os.mkdir, str(tmp_path / "trace"))})
    (tmp_path / "x.bin").write_bytes(harm)
    (tmp_path / "w.pt").write_bytes(harm)
    (tmp_path / "x.pt").write_bytes(saved(THREE))
    with unharmed(tmp_path):
        refused(warm("run", str(tmp_path / "x.bin")), says="mkdir")
        refused(warm("run", str(tmp_path / "x.pt"), "--weights-file", str(tmp_path / "w.pt")), says="mkdir")
        refused(warm("run", "-", stdin=harm), names="-: ", says="mkdir")


def test_what_would_run_does_run_in_a_loader_that_trusts(tmp_path):
    trace = tmp_path / "trace"
    harm = pickle.dumps(CODE["os.mkdir"][0](str(trace)), 2)
    assert b"mkdir" in harm
    pickle.loads(harm)
    assert trace.is_dir()
    assert builtins.eval is eval
