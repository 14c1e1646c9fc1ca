"""A capture that is written call by call, read back with safetensors' own reader."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from attn_cli.attention.masks import MaskRule, aligned_places
from attn_cli.attention.types import AttentionInputs, CallIndex, Rules
from attn_cli.errors import ResourceError
from attn_cli.recording.types import CallSite, CaughtCall
from attn_cli.reporters.captures import finish as finishing
from attn_cli.reporters.captures import journal as journals
from attn_cli.reporters.captures import tensor_bytes
from attn_cli.reporters.captures.finish import CaptureSummary, finish_capture
from attn_cli.reporters.captures.folder import working_folder
from attn_cli.reporters.captures.index import LARGEST_HEADER, ROOM, WrittenCall, rest_of
from attn_cli.reporters.captures.journal import CaptureJournal
from attn_cli.reporters.captures.names import own_names
from tests.cli.process import ROOT, environment, python


def caught(module="layers.0", step=0, *, shape=(1, 2, 3, 4), dtype=torch.float32, keep=None, number=0, **rules):
    """A call with random tensors of ``shape`` (B, H, S, D)."""
    batch, heads, length, _ = shape
    q, k, v = (torch.randn(shape).to(dtype) for _ in range(3))
    mask = MaskRule(length, aligned_places(length, length, "bottom-right"), keep=keep)
    inputs = AttentionInputs(q, k, v, Rules(mask, **rules), CallIndex.whole(batch, heads, length))
    site = CallSite(module, "Model", step, "scaled_dot_product_attention", "model.py:3 in forward")
    return CaughtCall(number, site, inputs, "bottom-right", output=torch.randn(shape).to(dtype))


class Recording:
    """A journal in a folder, and the file that comes of it."""

    def __init__(self, folder, max_bytes=None):
        self.data, self.index, self.target = folder / "data", folder / "index", folder / "out.safetensors"
        self.journal = CaptureJournal(self.data, self.index, max_bytes)

    def finish(self):
        return finish_capture(self.data, self.index, self.target, "train.py")

    def read(self):
        with safe_open(self.target, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


@pytest.fixture
def recording(tmp_path):
    return Recording(tmp_path)


def same(left, right):
    """Bit for bit, for dtypes that cannot be compared too."""
    bits = [x.contiguous().reshape(-1).view(torch.uint8) for x in (left, right)]
    return left.dtype == right.dtype and left.shape == right.shape and torch.equal(*bits)


def test_a_call_is_read_back_as_it_was(recording):
    call = caught(number=7, softcap=30.0)
    assert recording.journal.take(call)
    summary = recording.finish()
    tensors, metadata = recording.read()
    assert set(tensors) == {"layers.0.q", "layers.0.k", "layers.0.v", "layers.0.output"}
    assert same(tensors["layers.0.q"], call.inputs.q)
    assert same(tensors["layers.0.output"], call.output)
    assert summary == CaptureSummary(1, ("layers.0",), 1, os.path.getsize(recording.target))
    assert (metadata["schema"], metadata["program"]) == ("attn.capture/1", "train.py")
    assert (metadata["layers.0.causal"], metadata["layers.0.softcap"]) == ("false", "30.0")
    assert float(metadata["layers.0.scale"]) == 0.5
    assert json.loads(metadata["layers.0.call"]) == {
        "number": 7,
        "step": 0,
        "module": "layers.0",
        "root": "Model",
        "function": "scaled_dot_product_attention",
        "caller": "model.py:3 in forward",
        "dropout": 0.0,
    }


def test_attn_reads_it(recording):
    from attn_cli.inputs.options import ReadOptions
    from attn_cli.inputs.source import open_calls

    calls = {
        prefix: caught(module, step, keep=torch.rand(1, 1, 3, 3) > 0.5)
        for prefix, module, step in (("layers.0", "layers.0", 0), ("steps.1.layers.0", "layers.0", 1))
    }
    assert all(recording.journal.take(call) for call in calls.values())
    recording.finish()
    with open_calls(ReadOptions(file=str(recording.target))) as source:
        loaded = {call.prefix: call for call in (plan.load() for plan in source.plans)}
    assert set(loaded) == set(calls)
    for prefix, call in calls.items():
        assert same(loaded[prefix].inputs.k, call.inputs.k)
        assert torch.equal(loaded[prefix].inputs.rules.mask.keep, call.inputs.rules.mask.keep)
        assert loaded[prefix].recorded.output is not None


def test_what_is_no_tensor_is_in_the_metadata(recording):
    call = caught(shape=(1, 2, 3, 4))
    rules = replace(call.inputs.rules, mask=replace(call.inputs.rules.mask, causal=True, window=(2, 0)))
    index = CallIndex((0,), (1, 5), torch.arange(3), 1, 8, 3)
    inputs = replace(call.inputs, rules=rules, index=index, token_ids=torch.tensor([[4, 5, 4]]))
    recording.journal.take(replace(call, inputs=inputs, align="top-left", tokens=(("a", "b", "a"),), dropout=0.25))
    recording.finish()
    tensors, metadata = recording.read()
    own = {key.removeprefix("layers.0."): text for key, text in metadata.items()}
    assert (own["causal"], own["causal_align"], own["window"]) == ("true", "top-left", "2,0")
    assert (own["heads"], own["total_heads"], own["tokens"]) == ("[1, 5]", "8", '[["a", "b", "a"]]')
    assert json.loads(own["call"])["dropout"] == 0.25
    assert torch.equal(tensors["layers.0.token_ids"], torch.tensor([[4, 5, 4]]))


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2],
    ids=str,
)
def test_every_dtype_is_kept_bit_for_bit(recording, dtype):
    call = caught(shape=(1, 3, 5, 7), dtype=dtype)
    recording.journal.take(call)
    recording.finish()
    tensors, _ = recording.read()
    assert same(tensors["layers.0.v"], call.inputs.v)


def test_a_dtype_that_files_do_not_have_keeps_its_values(recording):
    call = caught()
    q = torch.tensor([0.5, -8.0, 0.0]).to(torch.float8_e4m3fnuz)
    assert recording.journal.take(replace(call, inputs=replace(call.inputs, q=q)))
    recording.finish()
    assert torch.equal(recording.read()[0]["layers.0.q"], torch.tensor([0.5, -8.0, 0.0]))


odd_shapes = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 5), st.integers(1, 5))
dtypes = st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float8_e5m2])


@settings(max_examples=40)
@given(st.lists(st.tuples(odd_shapes, dtypes, st.booleans()), min_size=1, max_size=6))
def test_tensors_of_odd_sizes_leave_no_gap_and_none_unaligned(tmp_path_factory, made):
    recording = Recording(tmp_path_factory.mktemp("odd"))
    calls = []
    for number, (shape, dtype, is_masked) in enumerate(made):
        keep = torch.rand(shape[0], 1, 1, shape[2]) > 0.5 if is_masked else None
        calls.append(caught(f"m.{number}", shape=shape, dtype=dtype, keep=keep))
    assert all(recording.journal.take(call) for call in calls)
    recording.finish()
    tensors, _ = recording.read()
    for number, call in enumerate(calls):
        assert same(tensors[f"m.{number}.q"], call.inputs.q)
        assert same(tensors[f"m.{number}.output"], call.output)
        if call.inputs.rules.mask.keep is not None:
            assert torch.equal(tensors[f"m.{number}.mask"], call.inputs.rules.mask.keep)
    with recording.target.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    for name, entry in header.items():
        if name != "__metadata__":
            assert (8 + length + entry["data_offsets"][0]) % tensors[name].element_size() == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.transpose(1, 2),
        lambda x: x[..., ::2],
        lambda x: x.flip(2),
        lambda x: x[:, :, :1].expand(-1, -1, 9, -1),
        lambda x: torch.complex(x, x).conj().imag,
        lambda x: x[:, :0],
        lambda x: x[0, 0, 0, 0],
    ],
    ids=["transposed", "strided", "flipped", "expanded", "negated", "empty", "number"],
)
@pytest.mark.parametrize("piece", [1, 48, 2**24])
def test_views_are_written_as_what_they_show(recording, monkeypatch, make, piece):
    monkeypatch.setattr(tensor_bytes, "PIECE", piece)
    call = caught()
    output = make(torch.randn(2, 3, 9, 4))
    recording.journal.take(replace(call, output=output))
    recording.finish()
    assert torch.equal(recording.read()[0]["layers.0.output"], output)


def test_a_large_view_is_not_copied_at_once(recording):
    whole = torch.zeros(64, 2**20).t()  # 256 MiB, not contiguous
    call = caught()
    call = replace(call, inputs=replace(call.inputs, q=whole), output=None)
    with torch.profiler.profile(profile_memory=True) as profile:
        recording.journal.take(call)
    taken = [event.cpu_memory_usage for event in profile.events()]
    assert max(taken) <= 2 * tensor_bytes.PIECE


def test_an_undecodable_name_is_written_out(recording):
    recording.journal.take(caught("net.\udcff"))
    recording.finish()
    assert "net.\\udcff.q" in recording.read()[0]


def test_two_calls_of_one_place_and_step_are_both_kept(recording):
    calls = [caught("a", step) for step in (3, 3, 4, 3)]
    assert all(recording.journal.take(call) for call in calls)
    assert recording.finish().calls == 4
    tensors, metadata = recording.read()
    prefixes = ["steps.3.a", "steps.4.a", "steps.5.a", "steps.6.a"]
    for prefix, call in zip(prefixes, calls, strict=True):
        assert same(tensors[f"{prefix}.q"], call.inputs.q)
        assert json.loads(metadata[f"{prefix}.call"])["step"] == int(prefix.split(".")[1])


def test_several_threads_may_write_at_once(recording):
    made = [[caught(f"m.{number % 2}", number) for number in range(20)] for _ in range(4)]

    def write(calls):
        for call in calls:
            recording.journal.take(call)

    threads = [threading.Thread(target=write, args=(calls,)) for calls in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recording.finish().calls == 80
    tensors, _ = recording.read()
    written = {x.numpy().tobytes() for name, x in tensors.items() if name.endswith(".q")}
    assert written == {call.inputs.q.numpy().tobytes() for calls in made for call in calls}


def test_no_call_is_beyond_the_limit_and_none_comes_behind_it(recording, tmp_path):
    size = 4 * 24 * 4
    limited = CaptureJournal(tmp_path / "d", tmp_path / "i", 2 * size + 100)
    assert limited.take(caught("a"))
    assert limited.take(caught("b"))
    assert not limited.take(caught("c"))
    assert limited.why_full is not None
    assert not limited.take(caught("d", shape=(1, 1, 1, 1)))
    summary = finish_capture(tmp_path / "d", tmp_path / "i", recording.target, "x")
    assert (summary.calls, summary.modules) == (2, ("a", "b"))
    assert set(recording.read()[0]) == {f"{module}.{role}" for module in "ab" for role in ("q", "k", "v", "output")}


def test_names_are_never_more_than_a_reader_takes(recording, monkeypatch):
    monkeypatch.setattr(journals, "MOST_HEADER", 5000)
    taken = [recording.journal.take(caught("a", step)) for step in range(10)]
    assert 0 < sum(taken) < 10
    assert taken == sorted(taken, reverse=True)
    assert recording.finish().calls == sum(taken)
    with recording.target.open("rb") as file:
        assert int.from_bytes(file.read(8), "little") <= 5000


def test_the_last_calls_give_way_where_the_header_is_too_large(recording, monkeypatch):
    assert all(recording.journal.take(caught("a", step)) for step in range(20))
    monkeypatch.setattr(finishing, "LARGEST_HEADER", 9000)
    summary = recording.finish()
    assert summary.calls + summary.dropped == 20
    assert 0 < summary.calls < 20
    assert len(recording.read()[0]) == 4 * summary.calls


def test_more_names_than_the_room_in_front(recording, monkeypatch):
    monkeypatch.setattr(finishing, "PIECE", 1000)
    calls = [caught("a" * 400, step, shape=(1, 1, 1, 5)) for step in range(400)]
    assert all(recording.journal.take(call) for call in calls)
    recording.finish()
    with recording.target.open("rb") as file:
        assert int.from_bytes(file.read(8), "little") > ROOM
    tensors, _ = recording.read()
    for step in (0, 1, 399):
        prefix = f"steps.{step}.{'a' * 400}" if step else "a" * 400
        assert same(tensors[f"{prefix}.q"], calls[step].inputs.q)
        assert same(tensors[f"{prefix}.output"], calls[step].output)


def test_a_small_capture_is_a_small_file_and_a_large_one_is_not_moved(recording, monkeypatch):
    recording.journal.take(caught())
    assert recording.finish().bytes < 3000
    (recording.target.parent / "large").mkdir()
    large = Recording(recording.target.parent / "large")
    call = caught()
    large.journal.take(call)
    monkeypatch.setattr(finishing, "SMALL", 100)
    monkeypatch.setattr(finishing, "_copy", None)
    assert large.finish().bytes == ROOM + 4 * 24 * 4
    assert same(large.read()[0]["layers.0.q"], call.inputs.q)


def test_a_call_that_is_half_written_is_none(recording):
    first, second = caught("a"), caught("b")
    recording.journal.take(first)
    recording.journal.take(second)
    recording.index.write_bytes(recording.index.read_bytes()[:-1])
    assert recording.finish().modules == ("a",)
    tensors, _ = recording.read()
    assert {name.split(".")[0] for name in tensors} == {"a"}
    assert same(tensors["a.v"], first.inputs.v)


def test_without_a_call_nothing_is_written_and_nothing_replaced(recording):
    recording.target.write_text("before")
    assert recording.finish() == CaptureSummary()
    assert recording.target.read_text() == "before"
    recording.index.unlink()
    assert recording.finish() == CaptureSummary()


def test_an_interrupt_between_two_steps_of_writing_loses_one_call_at_most(recording, monkeypatch):
    """Wherever Ctrl-C falls: the calls before and behind it are whole."""
    for place in ("_place", "_following", "_write", "_write_line", "_settle"):
        recording.journal.take(caught(f"before.{place}"))
        original = getattr(CaptureJournal, place)

        def interrupted(self, *arguments, original=original, counts=[0, place == "_settle"]):  # noqa: B006
            counts[0] += 1
            result = original(self, *arguments) if counts[0] <= counts[1] else None
            if counts[0] > counts[1]:
                original(self, *arguments)
                raise KeyboardInterrupt
            return result

        with monkeypatch.context() as patched:
            patched.setattr(CaptureJournal, place, interrupted)
            with pytest.raises(KeyboardInterrupt):
                recording.journal.take(caught(f"during.{place}", dtype=torch.float64))
        behind = caught(f"behind.{place}", shape=(1, 1, 3, 3))
        assert recording.journal.take(behind)
    recording.finish()
    tensors, _ = recording.read()
    modules = {name.rpartition(".")[0] for name in tensors}
    for place in ("_place", "_following", "_write", "_write_line", "_settle"):
        assert {f"before.{place}", f"behind.{place}"} <= modules
    assert {"during._write_line", "during._settle"} <= modules
    assert same(tensors["behind._settle.q"], behind.inputs.q)


def full_disk(limit, real=os.pwrite):
    """Stands in for ``os.pwrite`` on a disk where no file can be larger."""

    def write(handle, content, place):
        if place + len(content) > limit:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle, content, place)

    return write


@pytest.mark.parametrize("limit", [100, 1000, 5000])
def test_a_full_disk_ends_the_writing_and_leaves_the_calls_before_readable(recording, monkeypatch, limit):
    calls = [caught("a", step, shape=(1, 1, 4, 2)) for step in range(40)]
    taken = []
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full_disk(ROOM + limit))
        with pytest.raises(OSError, match="No space left"):
            taken.extend(recording.journal.take(call) for call in calls)
    taken = len(taken)
    assert not recording.journal.take(calls[-1])
    assert recording.finish().calls == taken
    if taken:
        tensors, _ = recording.read()
        prefix = f"steps.{taken - 1}.a" if taken > 1 else "a"
        assert same(tensors[f"{prefix}.q"], calls[taken - 1].inputs.q)


def test_the_last_calls_give_way_where_the_disk_has_no_room_to_finish(recording, monkeypatch):
    calls = [caught("a" * 400, step, shape=(1, 1, 3, 3)) for step in range(400)]
    assert all(recording.journal.take(call) for call in calls)
    monkeypatch.setattr(os, "pwrite", full_disk(ROOM + 120_000))
    summary = recording.finish()
    assert summary.dropped > 0
    assert summary.calls + summary.dropped == 400
    monkeypatch.undo()
    tensors, _ = recording.read()
    assert same(tensors[f"steps.{summary.calls - 1}.{'a' * 400}.q"], calls[summary.calls - 1].inputs.q)


def test_a_disk_without_any_room_is_told_and_replaces_nothing(recording, monkeypatch):
    recording.target.write_text("before")
    recording.journal.take(caught(shape=(1, 1, 3, 3)))
    monkeypatch.setattr(os, "pwrite", full_disk(ROOM))
    with pytest.raises(ResourceError, match="No space left"):
        recording.finish()
    assert recording.target.read_text() == "before"


def test_a_forked_child_writes_nothing(recording):
    recording.journal.take(caught("parent"))
    child = os.fork()
    if child == 0:
        os._exit(int(recording.journal.take(caught("child"))))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert recording.finish().modules == ("parent",)


def test_the_files_are_not_held_open(recording):
    recording.journal.take(caught())
    handles = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    held = {os.readlink(handle) for handle in handles if os.path.islink(handle)}
    assert not held & {str(recording.data), str(recording.index), str(rest_of(recording.data))}


@pytest.mark.parametrize(
    ("modules", "names"),
    [
        (["a", "b"], ["a", "b"]),
        ([""], [""]),
        (["", "a"], ["attention", "a"]),
        (["", ""], ["attention"]),
        (["a", "a.b"], ["a.attention", "a.b"]),
        (["a", "a.b.c"], ["a.attention", "a.b.c"]),
        (["a", "a.attention"], ["a.attention_2", "a.attention"]),
        (["a", "a.attention.b"], ["a.attention_2", "a.attention.b"]),
        (["", "attention", "attention.x"], ["attention_2", "attention.attention", "attention.x"]),
        (["a", "ab"], ["a", "ab"]),
    ],
)
def test_no_call_stands_in_anothers_prefix(modules, names):
    calls = [WrittenCall(module, step, (), {}) for step, module in enumerate(modules)]
    assert list(own_names(calls).values()) == names


paths = st.lists(st.sampled_from(["a", "b", "attention", "attention_2"]), max_size=4).map(".".join)


@given(st.lists(paths, min_size=2, max_size=8, unique=True))
def test_names_are_different_and_none_is_behind_another(modules):
    names = list(own_names([WrittenCall(module, 0, (), {}) for module in modules]).values())
    assert len(set(names)) == len(modules)
    assert not [(one, other) for one in names for other in names if one and other.startswith(f"{one}.")]
    assert "" not in names


def test_the_file_has_the_permissions_of_any_new_file(recording):
    before = os.umask(0o027)
    try:
        recording.journal.take(caught())
        recording.finish()
    finally:
        os.umask(before)
    assert stat.S_IMODE(recording.target.stat().st_mode) == 0o640


def test_the_working_folder_is_beside_the_file_and_goes_away(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "out.safetensors")
    with working_folder(tmp_path / "link") as folder:
        assert folder.parent == tmp_path / "real"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "data").write_text("x")
    assert list((tmp_path / "real").iterdir()) == []


def test_no_working_folder_can_be_made_where_there_is_none(tmp_path):
    with (
        pytest.raises(ResourceError, match="No such file or directory; expected a writable folder"),
        working_folder(tmp_path / "none" / "out.safetensors"),
    ):
        pytest.fail("there is nowhere to write to")


def test_finishing_needs_no_torch(recording):
    recording.journal.take(caught())
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from attn_cli.reporters.captures.finish import finish_capture\n"
        "from attn_cli.reporters.captures.folder import working_folder\n"
        "finish_capture(*map(Path, sys.argv[1:3]), *sys.argv[3:])\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    command = [sys.executable, "-c", script, *map(str, (recording.data, recording.index, recording.target)), "x"]
    subprocess.run(command, cwd=ROOT, env=environment(), check=True)
    assert recording.target.exists()


def test_a_killed_writer_leaves_whole_calls(tmp_path):
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from attn_cli.reporters.captures.journal import CaptureJournal\n"
        "from tests.reporters.test_capture_journal import caught\n"
        "journal = CaptureJournal(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "for step in range(5):\n"
        "    journal.take(caught('a', step))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = python(script, str(tmp_path / "data"), str(tmp_path / "index"))
    assert killed.returncode == -signal.SIGKILL
    assert finish_capture(tmp_path / "data", tmp_path / "index", tmp_path / "out.safetensors", "x").calls == 5
    assert LARGEST_HEADER > 0
