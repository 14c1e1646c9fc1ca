"""Tables page their columns: at every width all cells are there, and each page says which row is which."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from attn_cli.reporters.terminal.canvas import Canvas
from attn_cli.reporters.terminal.tables import Column, folded, print_table
from tests.reporters.consoles import make, shown

CELL = st.text("abc猫はね", min_size=1, max_size=6)


def _table(width: int, columns: list[tuple[str, list[str]]]) -> str:
    console = make(width)
    canvas = Canvas.on(console)
    rows = len(columns[0][1])
    first = Column(canvas.text("head"), tuple(canvas.text(f"h{row}") for row in range(rows)), repeat=True)
    others = [Column(canvas.text(name), tuple(canvas.text(cell) for cell in cells)) for name, cells in columns]
    print_table(canvas, [first, *others])
    return shown(console)


@settings(deadline=None, max_examples=60)
@given(st.integers(40, 120), st.lists(st.tuples(CELL, st.lists(CELL, min_size=2, max_size=2)), min_size=1, max_size=20))
def test_no_line_is_too_wide_and_no_cell_is_lost(width: int, columns: list[tuple[str, list[str]]]) -> None:
    text = _table(width, columns)
    assert all(cell_len(line) <= width for line in text.splitlines())
    rows = [line.split() for line in text.splitlines() if line.startswith("    h0")]
    assert [cell for row in rows for cell in row[1:]] == [cells[0] for _, cells in columns]


def test_every_page_begins_with_the_columns_that_repeat() -> None:
    columns = [(f"name{number}", ["1.00", "2.00"]) for number in range(10)]
    pages = _table(40, columns).split("\n\n")
    assert len(pages) > 1
    for page in pages:
        assert [line.split()[0] for line in page.splitlines()] == ["head", "h0", "h1"]


def test_numbers_align_at_their_end_and_no_line_ends_in_spaces() -> None:
    lines = _table(40, [("n", ["1", "10"]), ("m", ["100", "2"])]).splitlines()
    assert lines == ["  head   n    m", "    h0   1  100", "    h1  10    2"]
    assert not [line for line in lines if line.endswith(" ")]


def test_wide_characters_keep_the_columns_straight() -> None:
    lines = _table(40, [("x", ["猫", "aa"]), ("y", ["b", "c"])]).splitlines()
    assert len({cell_len(line) for line in lines}) == 1


def test_a_name_that_is_too_long_goes_on_below_broken_behind_a_dot() -> None:
    console = make(40)
    canvas = Canvas.on(console)
    names = ("steps.10.encoder.layer.10.attention.self.q", "b")
    numbers = [Column(canvas.text(f"c{n}"), (canvas.text("1.5e-07"), canvas.text("0"))) for n in range(4)]
    print_table(canvas, [Column(canvas.text("tensor"), tuple(map(canvas.text, names)), False, repeat=True), *numbers])
    text = shown(console)
    assert all(cell_len(line) <= 40 for line in text.splitlines())
    assert "…" not in text
    for page in text.split("\n\n"):
        assert "".join(line[:19].strip() for line in page.splitlines()[1:-1]) == names[0]


@settings(deadline=None, max_examples=60)
@given(st.text("ab.猫 ", min_size=1, max_size=60), st.integers(2, 30))
def test_what_is_folded_is_all_there(text: str, width: int) -> None:
    lines = folded(Text(text), width)
    assert "".join(line.plain for line in lines) == text
    assert all(line.cell_len <= width for line in lines)


def test_a_name_without_an_end_is_cut() -> None:
    console = make(40)
    canvas = Canvas.on(console)
    columns = [Column(canvas.text("tensor"), (canvas.text("x" * 10_000),), repeat=True)]
    print_table(canvas, [*columns, Column(canvas.text("n"), (canvas.text("1"),))])
    text = shown(console)
    assert len(text.splitlines()) < 20
    assert "…" in text
