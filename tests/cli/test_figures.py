"""``--svg``, ``--png`` and ``--pdf``."""

import json
import subprocess
import sys

import pytest

from attn_cli.commands.figure_options import figures_asked_for
from attn_cli.errors import ResourceError, UsageError
from attn_cli.reporters.figures import DOUBLE, SINGLE, FigureFile
from tests.cli.process import MINILM, ROOT, attn, environment

WITHOUT_MATPLOTLIB = """
import sys
sys.modules["matplotlib"] = None
from attn_cli.main import main
code = main({arguments!r})
sys.stderr.write(f"torch: {{'torch' in sys.modules}}")
sys.exit(code)
"""


def test_one_run_writes_all_three_and_reports_as_ever(tmp_path):
    files = {name: tmp_path / f"out.{name}" for name in ("svg", "png", "pdf")}
    options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    done = attn("run", MINILM, "--layer", "3", "--batch", "0", "--json", *options)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(json.loads(done.stdout)["data"]["heads"]) == 12
    assert files["svg"].read_text(encoding="utf-8").startswith("<?xml")
    assert ">because</text>" in files["svg"].read_text(encoding="utf-8")
    assert files["png"].read_bytes().startswith(b"\x89PNG")
    assert files["pdf"].read_bytes().startswith(b"%PDF")


def test_pictures_in_the_terminal_still_fit_it(tmp_path):
    wide = ["demo", "--queries", "200", "--keys", "200", "--heads", "2", "--batch", "1", "--num-hiddens", "8"]
    done = attn(*wide, "--png", str(tmp_path / "out.png"), COLUMNS="80")
    assert done.returncode == 0
    assert max(map(len, done.stdout.decode().splitlines())) <= 80


@pytest.mark.parametrize(
    "arguments",
    [["run", "README.md", "--svg", "x.svg"], ["demo", "--png", "x.png"], ["bench", "--seq", "8", "--pdf", "x.pdf"]],
    ids=lambda arguments: arguments[0],
)
def test_without_the_extra_it_says_how_to_get_it_before_anything_is_computed(arguments, tmp_path):
    arguments = [str(tmp_path / word) if word.startswith("x.") else word for word in arguments]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MATPLOTLIB.format(arguments=arguments)],
        capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"attn: error: {arguments[-2]} needs the package matplotlib; expected it to be installed",
        "hint: pip install 'attn-cli[plot]'",
        "torch: False",
    ]


def test_the_width_is_one_column_two_or_inches(tmp_path):
    path = str(tmp_path / "a.svg")
    for said, inches in ((None, DOUBLE), ("double", DOUBLE), ("single", SINGLE), ("5", 5.0), ("5.5in", 5.5)):
        request = figures_asked_for(path, None, None, said)
        assert request is not None
        assert (request.files, request.width) == ((FigureFile(path, "svg"),), inches)
    for said in ("wide", "0", "nan", "inf", "-3", ""):
        with pytest.raises(UsageError, match="--figure-width"):
            figures_asked_for(path, None, None, said)


def test_no_figure_is_no_request():
    assert figures_asked_for(None, None, None, None) is None
    with pytest.raises(UsageError, match="expected --svg, --png or --pdf too"):
        figures_asked_for(None, None, None, "single")


def test_a_suffix_has_to_be_the_formats(tmp_path):
    with pytest.raises(UsageError, match=r"expected a name that ends in \.pdf"):
        figures_asked_for(None, None, str(tmp_path / "a.png"), None)
    assert figures_asked_for(None, str(tmp_path / "A.PNG"), None, None)


def test_places_that_cannot_be_written_are_refused(tmp_path):
    with pytest.raises(ResourceError, match="no such folder"):
        figures_asked_for(str(tmp_path / "gone" / "a.svg"), None, None, None)
    read = tmp_path / "a.svg"
    read.write_text("input")
    with pytest.raises(UsageError, match="would replace the input"):
        figures_asked_for(str(read), None, None, None, onto=(None, str(read)))
