"""The batch items, heads and query rows that a person asks for, all of them inside the call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attn_cli.attention.selection import Selection
from attn_cli.errors import in_file
from attn_cli.inputs.kept_heads import KeptHeads
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.text import spans
from attn_cli.inputs.validation import CallSizes

Asked = tuple[str, tuple[int, ...] | None, Sequence[int], str]


def check_selection(path: str, options: ReadOptions, sizes: CallSizes, kept: KeptHeads | None = None) -> Selection:
    """The selection that was asked for, in the numbers of the program's call.

    Args:
        path: of the file.
        options: the numbers that were asked for.
        sizes: of the call as the file has it.
        kept: the heads that it has, where a recording left some out.

    Raises:
        InputError: naming the number, and those that there are.
    """
    for flag, numbers, there, expected in _axes(options, sizes, kept):
        known = there if isinstance(there, range) else frozenset(there)
        outside = [number for number in numbers or () if number not in known]
        if outside or numbers == ():
            raise in_file(path, f"{flag} {outside[0]}" if outside else f"{flag} selects nothing", expected)
    return Selection(options.batch, options.heads, options.queries)


def _axes(options: ReadOptions, sizes: CallSizes, kept: KeptHeads | None) -> Iterator[Asked]:
    """Flag, numbers that were asked for, numbers that there are, and those in words."""
    heads = range(sizes.heads) if kept is None else kept.numbers
    all_heads = f"expected 0 to {sizes.heads - 1}, of {sizes.heads} query heads"
    some_heads = "" if kept is None else f"expected one of {spans(heads)}, which were kept of {kept.total} query heads"
    for flag, numbers, size, what in (
        ("--batch", options.batch, sizes.batch, "batch items"),
        ("--query", options.queries, sizes.queries, "query rows"),
    ):
        yield flag, numbers, range(size), f"expected 0 to {size - 1}, of {size} {what}"
    yield "--head", options.heads, heads, some_heads or all_heads
