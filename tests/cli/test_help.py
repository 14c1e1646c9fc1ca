"""What the help texts say."""

import re

import pytest

from tests.cli.process import attn


@pytest.mark.parametrize(
    ("command", "default"),
    [("run", "1/√D"), ("run", "the file's"), ("demo", "--heads"), ("bench", "512,1024,2048; on a GPU")],
)
def test_a_default_that_is_told_in_words_is_shown(command, default):
    said = re.sub(r"[\s│]+", " ", attn(command, "--help", COLUMNS="100").stdout.decode())
    assert f"[default: {default}" in said
    assert "\\[" not in said


def test_a_command_that_reads_a_file_has_the_options_for_it_before_its_own():
    said = attn("run", "--help", COLUMNS="100").stdout.decode()
    panels = [said.index(title) for title in ("How to read the file", "How to attend", "How to run", "Output")]
    assert panels == sorted(panels)
    assert said.index("--query") < said.index("--zoom")
