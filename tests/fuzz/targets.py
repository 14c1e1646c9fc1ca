"""What is fuzzed: the readers, the command line, and ``attn bench``, each in this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.fuzz import seeds
from tests.fuzz.case import Case
from tests.fuzz.sandbox import is_plain

if TYPE_CHECKING:
    from attn_cli.inputs.readers.base import TensorFile

MOST_TENSORS = 64
MOST_CALLS = 4
ELSEWHERE = ("bench", "devices")  # the first is a target of its own, the second takes nothing and starts processes
SLOW_WORDS = ("flex", "--repeat")  # one compiles for seconds, one runs as often as it is told


@dataclass(frozen=True)
class Target:
    """Something that is given cases.

    Attributes:
        name: for the summary.
        does: runs a case and returns an exit code, or raises.
        seeds: valid cases to start from.
        takes: whether a case is meant for it; others are passed over.
        share: of the time that a whole run has.
        kept: inputs that the next run goes on from, besides the seeds: each is run again at its beginning.
    """

    name: str
    does: Callable[[Case], int]
    seeds: Callable[[], Iterator[Case]]
    takes: Callable[[Case], bool]
    share: float
    kept: int


def read(case: Case) -> int:
    """Read all that the first file holds: names, metadata, shapes, numbers, and the calls in it."""
    from attn_cli.errors import AttnError

    try:
        _reader(case.files[0][0])
    except AttnError as refused:
        return refused.exit_code
    return 0


def _reader(name: str) -> None:
    """What reads a file of this name."""
    from attn_cli.inputs.paths import check_readable
    from attn_cli.inputs.readers.choose import open_tensor_file

    if name.startswith("tokenizer"):
        return _tokenizer(name)
    if name.startswith("baseline"):
        return _baseline(name)
    if name.startswith(("tokens", "ids")):
        return _tokens(name)
    check_readable(name)
    if name.endswith(".npy"):
        from attn_cli.inputs.readers.npy_files import NpyFiles

        return _tensors(NpyFiles({"q": name}))
    file = open_tensor_file(name)
    try:
        _tensors(file)
    finally:
        file.close()
    _calls(name)


def _tensors(file: TensorFile) -> None:
    """Everything that a reader offers; what it says of a tensor is what the tensor is."""
    from attn_cli.attention.types import dtype_name

    assert all(isinstance(key, str) and isinstance(value, str) for key, value in file.metadata.items())
    assert len(set(file.names)) == len(file.names)
    for name in file.names[:MOST_TENSORS]:
        info = file.info(name)
        x = file.read(name)
        assert info.name == name
        assert info.shape == tuple(x.shape), f"said {info.shape}, is {tuple(x.shape)}"
        assert info.dtype == dtype_name(x.dtype), f"said {info.dtype}, is {x.dtype}"
        if x.numel() <= 2**20:
            x.clone()  # touches every number that the file is said to hold


def _calls(name: str) -> None:
    from attn_cli.inputs.options import ReadOptions
    from attn_cli.inputs.source import open_calls

    with open_calls(ReadOptions(file=name, num_heads=2 if name.startswith("mod") else None)) as source:
        for plan in source.plans[:MOST_CALLS]:
            plan.load()


def _tokens(name: str) -> None:
    from attn_cli.inputs.given_tokens import read_given_tokens
    from attn_cli.inputs.options import ReadOptions
    from attn_cli.inputs.readers.memory import MemoryFile

    read_given_tokens(ReadOptions(tokens=name), MemoryFile({}, "memory"))


def _tokenizer(name: str) -> None:
    import torch

    from attn_cli.inputs.tokenizer import Tokenizer

    texts = Tokenizer.load(name).texts(torch.tensor([[0, 1, 2, 3, 99, -1, 2**62]]))
    assert all(isinstance(text, str) for row in texts for text in row)


def _baseline(name: str) -> None:
    from attn_cli.benchmark.baseline import load

    load(name)


def _not_run(_request: object) -> int:
    return 0


def command(case: Case) -> int:
    """``attn`` with the case's arguments; a program that is to be recorded is not run."""
    from attn_cli.commands import recording
    from attn_cli.main import main

    recording.run_recorded = _not_run
    return main(list(case.argv))


def benchmark(case: Case) -> int:
    """``attn bench``; the device's peaks are measured in a moment, which makes them wrong and changes nothing else."""
    from attn_cli.benchmark import peaks

    peaks.COPY_BYTES, peaks.SMALLEST_SIDE = dict.fromkeys(peaks.COPY_BYTES, 2**16), 16
    peaks.BUDGET_MS = peaks.ENOUGH_MS = peaks.LONG_MS = 1.0
    return command(case)


def _is_read(case: Case) -> bool:
    return not case.argv and bool(case.files) and is_plain(case.files[0][0])


def _is_command(case: Case) -> bool:
    """Not the benchmark, nothing outside the folder, and nothing that is slow by its nature."""
    return bool(case.argv) and case.argv[0] not in ELSEWHERE and _is_harmless(case)


def _is_bench(case: Case) -> bool:
    return bool(case.argv) and case.argv[0] == "bench" and "--min-time" in case.argv and _is_harmless(case)


def _is_harmless(case: Case) -> bool:
    texts = [*case.argv, *(name for name, _ in case.files)]
    is_inside = not any({"/", "\0"} & set(one) or ".." in one or not _is_given_by_systems(one) for one in texts)
    is_quick = not any(word in one for word in SLOW_WORDS for one in case.argv)
    return is_inside and is_quick and not any("completion" in one or one == "--traceback" for one in case.argv)


def _is_given_by_systems(text: str) -> bool:
    """Whether it can stand on a command line: of lone surrogates, those alone that stand for bytes can."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


TARGETS = {
    one.name: one
    for one in (
        Target("files", read, seeds.reading, _is_read, 0.35, 4000),
        Target("commands", command, seeds.commands, _is_command, 0.55, 800),
        Target("bench", benchmark, seeds.bench, _is_bench, 0.1, 20),
    )
}
