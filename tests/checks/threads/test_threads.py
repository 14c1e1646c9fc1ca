"""Bugs that people asked about in public, each as a file: ``attn check`` names the cause and the place."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from attn_cli.main import main
from tests.checks.threads import flash_attention, libraries, pytorch
from tests.checks.threads.captures import Capture


@dataclass(frozen=True)
class Named:
    """A finding that must be there: its code, its place as far as it matters, and words of its text."""

    code: str
    place: Mapping[str, int | str]
    words: tuple[str, ...] = ()

    def fits(self, finding: Mapping[str, object]) -> bool:
        """True where a finding of the report is this one."""
        text = f"{finding['message']} {finding['hint']}"
        same = {"code": self.code, **self.place}.items() <= finding.items()
        return same and all(word in text for word in self.words)


@dataclass(frozen=True)
class Thread:
    """A thread, what must be said of it, and what a remedy on the command line leaves.

    Attributes:
        build: makes the file.
        named: findings that must be there.
        cure: arguments that mend the reading, and the codes that are ``left`` then.
        suspected: codes that fit the file as well, though the author meant it so.
    """

    build: Callable[[], Capture]
    named: tuple[Named, ...]
    cure: tuple[str, ...] = ()
    left: frozenset[str] = field(default_factory=frozenset)
    suspected: frozenset[str] = field(default_factory=frozenset)


THREADS = (
    Thread(
        pytorch.pytorch_103749,
        (
            Named("ATTN003", {"batch": 0, "query": 5, "count": 1}, ("no visible key", "NaN")),
            Named("ATTN006", {"tensor": "output", "query": 5}, ("NaN",)),
        ),
    ),
    Thread(
        pytorch.pytorch_163997,
        (
            Named("ATTN003", {"batch": 0, "query": 6, "count": 2}, ("no visible key", "NaN")),
            Named("ATTN006", {"tensor": "output", "query": 6}, ("NaN",)),
        ),
    ),
    Thread(
        pytorch.pytorch_110213,
        (Named("ATTN010", {"batch": 0, "query": 0, "count": 1}, ("-3.40282e+38", "every key", "hidden")),),
        suspected=frozenset({"ATTN013"}),  # whole queries hidden and no key: padding on the wrong axis looks like this
    ),
    Thread(
        pytorch.pytorch_170415,
        (
            Named("ATTN003", {"query": 5}, ("no visible key",)),
            Named("ATTN006", {"tensor": "output", "count": 24}, ("read the other way round", "--mask-polarity")),
            Named("ATTN008", {"query": 0, "key": 1}, ("--mask-polarity drop",)),
        ),
        cure=("--mask-polarity", "drop"),
    ),
    Thread(
        pytorch.pytorch_108108,
        (
            Named("ATTN004", {"query": 0, "count": 6}, ("top-left", "bottom-right")),
            Named("ATTN006", {"tensor": "output", "count": 4}, ("top-left",)),
        ),
        cure=("--causal-align", "top-left"),
    ),
    Thread(
        flash_attention.flash_attention_282,
        (
            Named("ATTN004", {"query": 0, "count": 7}, ("top-left", "bottom-right")),
            Named("ATTN006", {"tensor": "output", "query": 0}, ("top-left",)),
        ),
        cure=("--causal-align", "top-left"),
    ),
    Thread(
        flash_attention.flash_attention_517,
        (Named("ATTN004", {"query": 0, "count": 6}, ("top-left", "bottom-right")),),
        cure=("--causal-align", "bottom-right"),
    ),
    Thread(
        flash_attention.flash_attention_1778,
        (
            Named("ATTN003", {"query": 0, "count": 4}, ("no visible key",)),
            Named("ATTN004", {"query": 0}, ("top-left", "bottom-right")),
        ),
        cure=("--causal-align", "bottom-right"),
        left=frozenset({"ATTN003"}),
    ),
    Thread(
        libraries.transformer_engine_614,
        (
            Named("ATTN003", {"batch": 1, "query": 0, "count": 6}, ("no visible key",)),
            Named("ATTN006", {"tensor": "output", "count": 36}, ("read the other way round", "--mask-polarity")),
            Named("ATTN008", {"batch": 1}, ("--mask-polarity drop",)),
        ),
        cure=("--mask-polarity", "drop"),
    ),
    Thread(
        libraries.transformers_36585,
        (Named("ATTN006", {"tensor": "output", "batch": 0, "query": 5, "count": 6}, ("is 0 where",)),),
    ),
    Thread(
        libraries.transformers_41944,
        (
            Named("ATTN006", {"tensor": "output", "batch": 0, "head": 1, "query": 4}, ("NaN",)),
            Named("ATTN007", {"batch": 0, "head": 1, "query": 4, "key": 2}, ("float16", "65504")),
        ),
    ),
    Thread(libraries.transformer_lens_240_left, (Named("ATTN020", {"batch": 0, "key": 0}, ("3 keys", "50256")),)),
    Thread(
        libraries.transformer_lens_240_right,
        (Named("ATTN020", {"batch": 0, "key": 5}, ("--valid-lens 5,8",)),),
        cure=("--valid-lens", "5,8"),
    ),
    Thread(
        libraries.transformer_lens_385,
        (Named("ATTN010", {"batch": 0, "head": 1, "query": 4, "count": 1}, ("-100000",)),),
        cure=("--mask-value", "-inf"),
    ),
)
each = pytest.mark.parametrize("thread", THREADS, ids=lambda thread: thread.build.__name__)
with_a_cure = pytest.mark.parametrize(
    "thread", [thread for thread in THREADS if thread.cure], ids=lambda thread: thread.build.__name__
)


@pytest.fixture
def checked(tmp_path, capsys):
    """Runs ``attn check`` on a thread's file and returns the exit code and the findings."""

    def check(thread: Thread, *arguments: str) -> tuple[int, list[dict[str, object]]]:
        code = main(["check", thread.build().save(tmp_path), *arguments, "--device", "cpu", "--json"])
        return code, json.loads(capsys.readouterr().out)["findings"]

    return check


def told(findings):
    """The findings as lines, for a test that fails."""
    keys = ("code", "severity", "tensor", "batch", "head", "query", "key", "count", "message", "hint")
    return "\n".join(str({key: finding[key] for key in keys if key in finding}) for finding in findings)


@each
def test_the_cause_and_its_place_are_named(thread, checked):
    code, findings = checked(thread)
    for named in thread.named:
        assert any(named.fits(finding) for finding in findings), f"{named}\n{told(findings)}"
    assert code == int(any(finding["severity"] == "error" for finding in findings))


@each
def test_no_other_cause_is_claimed(thread, checked):
    findings = checked(thread)[1]
    expected = {named.code for named in thread.named}
    assert {finding["code"] for finding in findings} - thread.suspected == expected, told(findings)


@with_a_cure
def test_the_remedy_on_the_command_line_is_one(thread, checked):
    findings = checked(thread, *thread.cure)[1]
    assert {finding["code"] for finding in findings} == thread.left, told(findings)


@each
def test_in_float64_nothing_else_is_claimed(thread, checked):
    """There no kernel of half precision runs, and no number is too large for it."""
    codes = {finding["code"] for finding in checked(thread, "--dtype", "float64")[1]}
    assert codes - thread.suspected <= {named.code for named in thread.named}
