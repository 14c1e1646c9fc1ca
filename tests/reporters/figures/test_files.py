"""Figures as files."""

import re
import sys
import warnings
import zlib
from xml.etree import ElementTree

import matplotlib
import pytest

from attn_cli.errors import ResourceError
from attn_cli.reporters.figures import write_bench_figures, write_run_figures
from tests.reporters.bench_results import EMPTY, FULL
from tests.reporters.figures.drawn import asked
from tests.reporters.results_for_tests import Case, make_result

TOKENS = ("$x^2$", "<b>&", "שלום", "中文")
RESULT = make_result(Case(heads=2, queries=4, keys=4, causal=True, tokens=(TOKENS,)))
LAYERS = make_result(*[Case(layer=layer, prefix=f"layers.{layer}") for layer in range(2)])
FORMATS = ("svg", "png", "pdf")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder with RESULT's figure as ``out``, in each format."""
    folder = tmp_path_factory.mktemp("written")
    write_run_figures(RESULT, asked(folder, *FORMATS))
    return folder


@pytest.mark.parametrize("result", [RESULT, LAYERS], ids=["call", "layers"])
def test_the_same_figure_is_the_same_file(result, tmp_path):
    for name in ("first", "second"):
        write_run_figures(result, asked(tmp_path, *FORMATS, name=name))
    for suffix in FORMATS:
        first, second = (tmp_path / f"{name}.{suffix}" for name in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def test_no_file_holds_a_date(written):
    for suffix in FORMATS:
        contents = (written / f"out.{suffix}").read_bytes()
        assert not re.search(rb"CreationDate|ModDate|<dc:date>|tIME", contents)


def test_an_svg_holds_each_token_as_text(written):
    texts = [one.text for one in ElementTree.parse(written / "out.svg").iter("{http://www.w3.org/2000/svg}text")]
    for token in TOKENS:
        assert texts.count(token) == 3  # once for the rows, and below each of the two heads
    assert "previous_score 0.25" in texts


def test_an_svg_asks_for_nothing_from_elsewhere(written):
    for element in ElementTree.parse(written / "out.svg").iter():
        assert not element.tag.endswith("script")
        for name, value in element.attrib.items():
            if name.endswith("href"):
                assert value.startswith(("data:image/png;base64,", "#"))


def test_a_pdf_embeds_its_font_whole(written):
    contents = (written / "out.pdf").read_bytes()
    parts = [contents]
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", contents, re.DOTALL):
        try:
            parts.append(zlib.decompress(stream))
        except zlib.error:
            continue
    text = b"".join(parts)
    assert b"/Type3" not in text  # what journals refuse
    assert b"/FontFile2" in text
    assert b"DejaVuSans" in text


def test_a_png_is_as_wide_as_asked_for(tmp_path):
    write_run_figures(RESULT, asked(tmp_path, "png", width=3.5))
    header = (tmp_path / "out.png").read_bytes()[:24]
    assert int.from_bytes(header[16:20], "big") == 1050  # 300 dots an inch


def own_settings():
    """All but the backend, which matplotlib looks for, pyplot with it, as soon as it is asked."""
    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if not name.startswith("backend")}


def test_a_program_around_it_keeps_its_own_settings(tmp_path):
    before = own_settings()
    with matplotlib.rc_context({"font.size": 31, "text.usetex": True, "axes.facecolor": "red"}):
        write_run_figures(RESULT, asked(tmp_path, "svg"))
        assert matplotlib.rcParams["font.size"] == 31
    assert own_settings() == before
    write_run_figures(RESULT, asked(tmp_path, "svg", name="plain"))
    assert (tmp_path / "out.svg").read_bytes() == (tmp_path / "plain.svg").read_bytes()
    assert "matplotlib.pyplot" not in sys.modules


def test_a_failed_figure_leaves_what_was_there(tmp_path):
    (tmp_path / "out.png").write_bytes(b"before")
    with pytest.raises(ResourceError):
        write_bench_figures(EMPTY, asked(tmp_path, "png"))
    assert (tmp_path / "out.png").read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


def test_a_folder_that_is_gone_is_a_resource_error(tmp_path):
    with pytest.raises(ResourceError, match="cannot be written"):
        write_run_figures(RESULT, asked(tmp_path / "gone", "svg"))


def test_signs_that_no_font_has_warn_nobody(tmp_path):
    rare = make_result(Case(heads=1, queries=2, keys=2, tokens=(("\U00012000", "中"),)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_run_figures(rare, asked(tmp_path, *FORMATS))
        write_bench_figures(FULL, asked(tmp_path, *FORMATS, name="bench"))
