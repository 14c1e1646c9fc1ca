"""What the fuzzer, or a person, once found: each case again, as a process, with the answer that it must give."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.fuzz.case import Case, decoded
from tests.fuzz.laws import Breach, breaches
from tests.fuzz.sandbox import Done
from tests.hostile.warm import warm

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.case"))
MOST_BYTES = 200_000


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_what_was_found_is_answered_as_it_must_be(path: Path, tmp_path: Path) -> None:
    case = decoded(path.read_bytes())
    assert case is not None
    for name, content in case.on_disk:
        (tmp_path / name).write_bytes(content)
    ended = warm(*case.argv, stdin=case.piped, cwd=tmp_path, COLUMNS="80")
    assert not ended.timed_out
    assert ended.returncode == case.expected["exit"], ended.err
    assert case.expected["says"] in ended.err + ended.stdout.decode()
    left = {path.name for path in tmp_path.iterdir()} - {name for name, _ in case.on_disk}
    done = Done(ended.returncode, None, ended.stdout, ended.stderr, (), tuple(sorted(left)), (), 0, 0.0)
    assert not list(breaches(case, done))


def test_the_corpus_is_small_and_says_why_each_case_is_in_it() -> None:
    assert CORPUS
    assert sum(path.stat().st_size for path in CORPUS) < MOST_BYTES
    for path in CORPUS:
        case = decoded(path.read_bytes())
        assert case is not None
        assert case.expected.keys() == {"exit", "says", "why"}, path.name
        assert case.encoded() == path.read_bytes(), path.name


def test_a_broken_promise_would_be_noticed() -> None:
    case = decoded(CORPUS[0].read_bytes())
    assert case is not None
    quiet = Done(2, None, b"", b"attn: error: x: a; expected b\n", (), (), (), 0, 0.0)
    assert not [one for one in breaches(case, quiet) if one.law != "json"]
    for law, done in BROKEN.items():
        assert law in {one.law for one in breaches(case, done)}, law


def test_a_file_that_is_named_as_an_output_alone_may_be_replaced() -> None:
    case = Case(("bench", "--save", "a.json", "--seq", "8"))
    done = _done(code=0, err=b"", changed=("work/a.json",))
    assert "changed" not in {one.law for one in breaches(case, done)}
    for argv in ((*case.argv, "--baseline=a.json"), ("run", *case.argv[1:]), ("bench", "--save", "b.json")):
        assert "changed" in {one.law for one in breaches(replace(case, argv=argv), done)}, argv


def _done(**other: object) -> Done:
    told = {"code": 2, "raised": None, "out": b"", "err": b"attn: error: x: a; expected b\n"}
    rest = {"warned": (), "appeared": (), "changed": (), "grew": 0, "seconds": 0.0}
    return Done(**{**told, **rest, **other})  # type: ignore[arg-type]


BROKEN = {
    "raised": _done(raised=ValueError("x")),
    "slow": _done(seconds=11.0),
    "memory": _done(grew=2**31),
    "warned": _done(warned=("UserWarning: x",)),
    "changed": _done(changed=("work/x",)),
    "appeared": _done(appeared=("tmp/attn-x",)),
    "code": _done(code=4),
    "control": _done(err=b"attn: error: \x1b[31mx: a; expected b\n"),
    "traceback": _done(err=b"Traceback (most recent call last)\nattn: error: x: a; b\n"),
    "address": _done(err=b"attn: error: x: <ast.Call object at 0x7ff536032e60>; expected b\n"),
    "stray": _done(err=b"a line\nattn: error: x: a; b\n"),
    "lines": _done(err=b""),
    "internal": _done(code=3, err=b"attn: error: KeyError: 1\nhint: this is a fault of attn: x\n"),
    "resource": _done(code=3),
    "encoding": _done(out=b"\xff"),
}


def test_weights_that_do_not_sum_to_one_would_be_noticed() -> None:
    from tests.fuzz.laws import _weights

    assert not list(_weights({"weights": [[[[0.5, 0.5], [0.0, 0.0]]]]}, []))
    assert list(_weights({"weights": [[[[0.5, 0.4]]]]}, [])) == [Breach("sum", "row 0 of the weights sums to 0.9")]
    assert next(_weights({"weights": [[[[None, None]]]]}, [])).law == "silent"
    assert not list(_weights({"weights": [[[[0.5, 0.2]]]], "sink_weights": [[[0.3]]]}, []))
