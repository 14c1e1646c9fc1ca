"""Where calls were made."""

import gc
import inspect
import io
import pdb
import sys
import textwrap
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from attn_cli.recording.places.place import Places
from tests.recording import programs
from tests.recording.kept import recorded

X = torch.zeros(1, 1, 2, 4)


class Attention(nn.Module):
    """Asks for its place where others would attend."""

    def __init__(self, places):
        super().__init__()
        self.places = places
        self.seen = []

    def forward(self, x):
        self.seen.append(self.places.place_of_call("f").site)
        return x


class Block(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.attention = inner

    def forward(self, x):
        return self.attention(x)


def test_the_path_is_that_of_the_innermost_module_in_the_outermost():
    leaf = Attention(Places())
    model = nn.Sequential(nn.Identity(), Block(leaf))
    model(X)
    model(X)
    assert [(site.module, site.root, site.step) for site in leaf.seen] == [
        ("1.attention", "Sequential", 0),
        ("1.attention", "Sequential", 1),
    ]
    line = Attention.forward.__code__.co_firstlineno + 1
    assert leaf.seen[0].caller == f"tests/recording/test_places.py:{line} in forward"


def test_steps_are_counted_by_module():
    places = Places()
    first, second = Attention(places), Attention(places)
    for _ in range(2):
        nn.ModuleList([first, second])
        nn.Sequential(first, second)(X)
    assert [site.step for site in (*first.seen, *second.seen)] == [0, 1, 0, 1]


def test_a_module_that_attends_on_two_lines_has_two_names():
    class Twice(Attention):
        def forward(self, x):
            self.seen.append(self.places.place_of_call("f").site)
            self.seen.append(self.places.place_of_call("f").site)
            return x

    leaf = Twice(Places())
    model = Block(leaf)
    model(X)
    model(X)
    line = Twice.forward.__code__.co_firstlineno + 2
    names = ["attention", f"attention.line_{line}"]
    assert [(site.module, site.step) for site in leaf.seen] == [(n, step) for step in (0, 1) for n in names]


def test_outside_of_modules_a_place_is_a_file_and_a_line():
    site = Places().place_of_call("f").site
    line = sys._getframe().f_lineno - 1
    assert (site.module, site.root) == (f"test_places_{line}", "")
    assert site.caller == f"tests/recording/test_places.py:{line} in {sys._getframe().f_code.co_name}"


def test_a_single_module_is_named_by_its_class():
    leaf = Attention(Places())
    leaf(X)
    assert leaf.seen[0].module == "Attention"


def test_a_path_is_never_taken_for_a_step():
    leaf = Attention(Places())
    model = nn.Module()
    model.steps = nn.ModuleList([nn.Identity(), leaf])
    model.forward = lambda x: model.steps[1](x)

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.steps = model.steps

        def forward(self, x):
            return self.steps[1](x)

    Outer()(X)
    assert leaf.seen[0].module == "Outer.steps.1"


@pytest.mark.parametrize("is_hidden", [False, True])
def test_a_class_is_never_taken_for_the_steps(is_hidden):
    leaf = type("steps", (Attention,), {})(Places())
    hidden = [leaf]

    class Hiding(nn.Module):
        def forward(self, x):
            return hidden[0](x)

    (Hiding() if is_hidden else leaf)(X)
    assert leaf.seen[0].module == "model.steps"


def test_a_module_in_a_plain_list_has_the_path_of_its_own_tree():
    leaf = Attention(Places())

    class Hiding(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = [Block(leaf)]

        def forward(self, x):
            return self.hidden[0](x)

    Hiding()(X)
    assert (leaf.seen[0].module, leaf.seen[0].root) == ("attention", "Hiding")


def test_modules_added_later_are_found():
    places = Places()
    model = nn.Sequential(Attention(places))
    model(X)
    later = Attention(places)
    model.append(later)
    model(X)
    assert later.seen[0].module == "1"


def test_layers_that_are_computed_again_keep_their_paths():
    leaves = [Attention(Places()) for _ in range(2)]

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([Block(leaf) for leaf in leaves])
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x):
            for layer in self.layers:
                x = checkpoint(lambda x, layer=layer: layer(x * self.scale).sin(), x, use_reentrant=False)
            return x

    Model()(X).sum().backward()
    assert [site.module for site in leaves[1].seen] == ["layers.1.attention"] * 2


def test_generated_code_is_numbered_by_its_lines_in_order():
    class Twice(nn.Module):
        def forward(self, x):
            return F.scaled_dot_product_attention(*[F.scaled_dot_product_attention(x, x, x)] * 3)

    traced = torch.fx.symbolic_trace(Twice())
    _, calls, _ = recorded(lambda: [traced(X), traced(X)])
    module = type(traced).__name__
    assert [(call.site.module, call.site.step) for call in calls] == [
        (f"{module}.compiled.{number}", step) for step in (0, 1) for number in (0, 1)
    ]


def test_callers_in_installed_packages_are_given_without_the_folder():
    model = programs.bert()
    _, calls, _ = recorded(lambda: model(**programs.prompts()))
    site = calls[1].site
    assert (site.module, site.root) == ("encoder.layer.1.attention.self", "BertModel")
    assert site.caller.startswith("transformers/integrations/sdpa_attention.py:")


def test_what_a_model_was_given_is_found_around_the_call():
    places, found = Places(), []

    class Leaf(nn.Module):
        def forward(self, x, position_ids):
            found.append(places.place_of_call("f").given)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.leaf = Leaf()

        def forward(self, input_ids, scale=1.0):
            self.leaf(X * scale, torch.arange(3)[None])

    model, ids = Model(), torch.tensor([[1, 2, 3]])
    model(ids, scale=2.0)
    model(input_ids=ids)
    model.leaf(X, ids)
    assert [None if given is None else given.module for given in found] == [model, model, None]
    assert found[0].args[0] is ids
    assert found[1].kwargs["input_ids"] is ids


class Deleting(nn.Module):
    """Deletes a tensor after its attention, and tells whether it is gone."""

    def forward(self, x):
        large = x * 2
        gone = weakref.ref(large)
        F.scaled_dot_product_attention(large, large, large)
        del large
        gc.collect()
        return gone() is None


def test_a_recording_keeps_no_tensor_of_the_program_alive():
    class Sink:
        def take(self, call):
            return True

    from attn_cli.recording.options import RecordOptions
    from attn_cli.recording.recorder import Recorder
    from attn_cli.recording.swapping.patching import listening

    recorder = Recorder(RecordOptions(), Sink())
    with listening(recorder):
        assert Block(Deleting())(torch.randn(1, 2, 4, 8))
    assert recorder.heard.kept == 1


def test_no_module_is_kept_alive():
    places = Places()
    model = nn.Sequential(Attention(places))
    model(X)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="locals() is a copy of its own")
def test_a_function_that_holds_its_locals_is_left_alone():
    class Holding(Attention):
        def forward(self, x):
            mine = locals()
            y = x + 1
            super().forward(y)
            return sorted(mine)

    assert Holding(Places())(X) == ["__class__", "self", "x"]


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="f_locals shows the variables themselves")
@pytest.mark.parametrize("how", ["by a callee", "by inspect", "by the function itself"])
def test_variables_that_somebody_holds_are_left_alone(how):
    def theirs():
        return sys._getframe(1).f_locals

    class Held(Attention):
        def forward(self, x):
            y = x + 1
            mine = theirs() if how == "by a callee" else inspect.currentframe().f_locals
            super().forward(y)
            return sorted(mine)

    class HoldingOneself(Attention):
        def forward(self, x):
            y = x + 1
            mine = sys._getframe().f_locals
            mine["note"] = 3
            super().forward(y)
            return sorted(mine)

    held = HoldingOneself(Places())(X) if how == "by the function itself" else Held(Places())(X)
    assert set(held) >= {"self", "x", "y"}
    assert ("note" in held) == (how == "by the function itself")


@pytest.fixture
def debugged():
    """Runs a function under a debugger that is given these commands at its ``stop()``; gives what it wrote."""
    before = sys.gettrace()

    def run(function, *commands):
        written = io.StringIO()
        given = io.StringIO("".join(f"{command}\n" for command in commands))
        debugger = pdb.Pdb(stdin=given, stdout=written, readrc=False, nosigint=True)
        return function(debugger.set_trace), written.getvalue()

    yield run
    sys.settrace(before)


class Stopping(nn.Module):
    """Stops in its forward, before some attention of its own."""

    def __init__(self, stop):
        super().__init__()
        self.stop = stop

    def forward(self, x):
        y = x * 2
        self.stop()
        z = F.scaled_dot_product_attention(y, y, y)
        return y + z


def test_a_program_under_a_debugger_is_left_alone(debugged):
    """Attention is called at the prompt, and by the program, line by line."""
    x = torch.randn(1, 1, 2, 4)
    plain = Stopping(lambda: None)(x)
    for commands in (["p F.scaled_dot_product_attention(x, x, x).shape", "p y.shape", "c"], ["next", "next", "c"]):
        (result, calls, heard), written = debugged(
            lambda stop: recorded(lambda stop=stop: Stopping(stop)(x)), *commands
        )
        assert torch.equal(result, plain)
        assert len(calls) == heard.calls
        assert calls[-1].site.module == "Stopping"
        assert "Error" not in written
    assert heard.fault is None


def test_what_is_changed_in_a_debugger_stays_changed(debugged):
    commands = ["!y = x * 3", "p F.scaled_dot_product_attention(x, x, x).shape", "c"]
    x = torch.randn(1, 1, 2, 4)
    (result, _, _), _ = debugged(lambda stop: recorded(lambda: Stopping(stop)(x)), *commands)
    y = x * 3
    assert torch.equal(result, y + F.scaled_dot_product_attention(y, y, y))


@pytest.mark.parametrize("where", ["settrace", "setprofile"])
def test_a_program_that_is_traced_keeps_its_variables(where):
    """The tracer attends in the middle of the program, as one that is not written in Python may."""
    places = Places()

    class Tracer:
        def __call__(self, frame, event, argument):
            if frame.f_code is Attention.forward.__code__ and event == "call":
                attend()
            return self

    def attend():
        return Attention(places)(X + 1)

    class Traced(Attention):
        def forward(self, x):
            y = x * 2
            found = super().forward(y)
            return y, found

    before = getattr(sys, where.replace("set", "get"))()
    try:
        getattr(sys, where)(Tracer())
        y, _ = Traced(places)(X)
    finally:
        getattr(sys, where)(before)
    assert torch.equal(y, X * 2)


def test_the_path_is_short_in_a_program_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "train.py"
    file.write_text("def run(places):\n    return places.place_of_call('f').site\n")
    space = {}
    exec(compile(textwrap.dedent(file.read_text()), str(file), "exec"), space)
    site = space["run"](Places())
    assert (site.module, site.caller) == ("train_2", "train.py:2 in run")
