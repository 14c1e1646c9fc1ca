"""The batch items, heads and query rows that a person asks for, all of them inside the call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attn_cli.attention.selection import Selection
from attn_cli.errors import in_file
from attn_cli.inputs.kept_heads import KeptHeads
from attn_cli.inputs.options import ReadOptions
from attn_cli.inputs.text import spans
from attn_cli.inputs.validation import CallSizes

MOST_HEADS = 2**10  # of a batch item; the largest models have 128 or so
MOST_IN_ALL = 2**14
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
    batch = sizes.batch if options.batch is None else len(options.batch)
    heads = sizes.heads if options.heads is None else len(options.heads)
    check_number_of_heads(path, batch, heads, "select some with --batch and --head")
    return Selection(options.batch, options.heads, options.queries)


def check_number_of_heads(path: str, batch: int, heads: int, hint: str) -> None:
    """Refuse more heads than can be told of.

    Raises:
        InputError: where there are more.
    """
    if heads > MOST_HEADS:
        raise in_file(path, f"{heads} query heads", f"expected at most {MOST_HEADS} to inspect at once", hint)
    if batch * heads > MOST_IN_ALL:
        found = f"{batch} batch items of {heads} query head{'s' if heads > 1 else ''}"
        raise in_file(path, found, f"expected at most {MOST_IN_ALL} heads in all to inspect at once", hint)


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
