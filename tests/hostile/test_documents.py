"""The limits that the reference publishes are those that are kept, and the threat model names tests that there are."""

import re

import pytest

from attn_cli.benchmark.plan import MOST_CASES
from attn_cli.commands.options import MOST_RUNS
from attn_cli.commands.parsing import MOST_SELECTED
from attn_cli.inputs import limits
from attn_cli.inputs.selecting import MOST_HEADS, MOST_IN_ALL
from attn_cli.reporters.html import entries
from attn_cli.reporters.terminal.text import LONGEST
from tests.cli.process import ROOT

PAGE = " ".join((ROOT / "docs" / "reference" / "files.md").read_text(encoding="utf-8").split())
MODEL = (ROOT / "docs" / "explanation" / "threat-model.md").read_text(encoding="utf-8")
MIB, GIB = 2**20, 2**30
ROWS = {
    "MOST_NAMES": f"| tensors and single values of one file, or of all shards of an index | {limits.MOST_NAMES:,} |",
    "MOST_SHARDS": f"| shards of an index | {limits.MOST_SHARDS} |",
    "LONGEST_NAME": f"| a name | {limits.LONGEST_NAME:,} characters |",
    "MOST_PARTS": f"| parts of a name, with dots between them | {limits.MOST_PARTS} |",
    "MOST_ALIKE": (
        "| tensors behind one prefix whose names say the same, such as `mask`, `MASK` and `keep_mask` "
        f"| {limits.MOST_ALIKE} |"
    ),
    "MOST_PAIRS": f"| calls times sets of projection weights in one file | {limits.MOST_PAIRS:,} |",
    "MOST_AXES": f"| axes of a tensor | {limits.MOST_AXES} |",
    "LARGEST_HEADER": "the pickle of a `.pt`, an index of shards, the headers of all of them | "
    f"{limits.LARGEST_HEADER // MIB} MiB |",
    "LARGEST_JSON": f"a `tokenizer.json`, a baseline of `attn bench` | {limits.LARGEST_JSON // MIB} MiB",
    "MOST_JSON_VALUES": f"MiB, {limits.MOST_JSON_VALUES:,} values, a key counted as four |",
    "VALUES_OF_KEY": f"a key counted as {('one', 'two', 'three', 'four')[limits.VALUES_OF_KEY - 1]} |",
    "LARGEST_ADDED": f"| all added tokens of a `tokenizer.json` together | {limits.LARGEST_ADDED // MIB} MiB |",
    "MOST_MERGES": f"| merges of a `tokenizer.json` | {limits.MOST_MERGES:,} |",
    "MOST_OPERATIONS": f"of which `torch.save` takes some 30 for a tensor | {limits.MOST_OPERATIONS:,} |",
    "MOST_TENSORS": f"| tensors that a pickle makes, a parameter counted twice | {limits.MOST_TENSORS:,} |",
    "MOST_CALLS": f"| objects that a pickle makes by calls, with the storages of its tensors | {limits.MOST_CALLS:,} |",
    "MOST_ODD_KEYS": f"tuples of texts nor whole numbers below {limits.MOST_NAMES:,}, a tuple counted with its items | "
    f"{limits.MOST_ODD_KEYS:,} |",
    "MOST_VISITED": f"| items of lists in a `.pt` | {limits.MOST_VISITED:,} |",
    "DEEPEST": f"| dicts in dicts of a `.pt` | {limits.DEEPEST} |",
    "MOST_MEMBERS": f"| members of an `.npz` | {limits.MOST_MEMBERS:,} |",
    "LONGEST_ARRAY_HEADER": f"| the header of an array of NumPy's | {limits.LONGEST_ARRAY_HEADER:,} bytes |",
    "LARGEST_ARRAY_HEADERS": f"| these of an `.npz`, together | {limits.LARGEST_ARRAY_HEADERS // MIB} MiB |",
    "EXPANDED_FREELY": f"take in the file, together | {limits.EXPANDED_FREELY // MIB} MiB |",
    "MOST_EXPANSION": f"arrays of an `.npz` of more than {limits.MOST_EXPANSION} times what they take in the file",
    "REPEATED_FREELY": f"whose strides repeat numbers | {limits.REPEATED_FREELY // MIB} MiB, or",
    "LARGEST_TEXTS": "| all texts of an `.npz` together, or those in the lists of a `.pt`, each wherever it stands | "
    f"{limits.LARGEST_TEXTS // MIB} MiB, "
    f"counting {limits.BYTES_OF_TEXT} bytes for each text besides its own, which are {limits.BYTES_OF_CHARACTER} for",
    "BYTES_OF_CHARACTER": f"its own, which are {limits.BYTES_OF_CHARACTER} for a character |",
    "BYTES_OF_TEXT": f"counting {limits.BYTES_OF_TEXT} bytes for each text",
    "MOST_PIPED": f"{limits.MOST_PIPED // GIB} GiB where the format does not say how many there will be |",
    "WRITER_SECONDS": f"| waiting for somebody to write to a named pipe | {limits.WRITER_SECONDS:g} seconds |",
    "SILENCE_SECONDS": f"| none; after {limits.SILENCE_SECONDS:g} seconds attn says on stderr what it waits for |",
    "COPIED": f"Tensors above {limits.COPIED // MIB} MiB are mapped",
}
OWN = [name for name in vars(limits) if name.isupper() and name != "MIB"]


@pytest.mark.parametrize("name", OWN)
def test_every_limit_is_published(name: str) -> None:
    assert ROWS[name] in PAGE


def test_the_limits_of_other_rooms_are_published() -> None:
    assert f"| numbers that a selection such as `--head 0-9` names | {MOST_SELECTED:,} |" in PAGE
    assert f"| {MOST_HEADS:,}; {MOST_IN_ALL:,} of all batch items together; `--head`" in PAGE
    assert f"| timed runs of `--repeat` | {MOST_RUNS:,} |" in PAGE
    assert f"| combinations of an `attn bench` | {MOST_CASES:,} |" in PAGE
    assert f"| a text on the terminal or in a figure | {LONGEST:,} characters; in JSON it is whole |" in PAGE
    assert f"its first {entries.MOST_FINDINGS} findings" in PAGE


def test_the_threat_model_names_tests_that_there_are() -> None:
    """``::test`` alone belongs to the file that was named before it."""
    file = ""
    named = re.findall(r"`(tests/[\w/-]+\.(?:py|case))?(?:::(\w+))?`", MODEL)
    found = [(one, test) for one, test in named if one or test]
    assert len(found) > 10
    for one, test in found:
        file = one or file
        assert (ROOT / file).is_file(), file
        assert not test or f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{test}"
