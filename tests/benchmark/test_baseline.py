"""Baselines out of files, and what is refused."""

import contextlib
import copy
import json
import math
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attn_cli.benchmark.baseline import check_environment, compare, compare_measured, load
from attn_cli.benchmark.statistics import summarize
from attn_cli.benchmark.types import BenchCase, BenchReport, BenchResult, Peaks
from attn_cli.errors import InputError, UsageError

CASE = BenchCase(1, 8, 4, 512, 1024, 64, "float32", True, "forward")
LONGER = replace(CASE, keys=2048)
QUIET = (10.0, 10.1, 9.9, 10.0, 10.2, 9.8, 10.0, 10.1, 9.9)
ENVIRONMENT = {
    "device": "cpu", "device_name": "A processor", "threads": 2, "float32_matmul_precision": "highest",
    "allow_tf32": False, "l2_flush_bytes": 0, "torch": "2.13.0", "driver": None, "clock_mhz": 2400.5,
}  # fmt: skip


def entry(backend="sdpa", case=CASE, status="ok", samples=QUIET):
    ms = {"median": 0, "iqr": 0, "min": 0, "samples": list(samples)} if samples else None
    return {"backend": backend, "status": status, "reason": None, **asdict(case), "ms": ms, "tflops": 1.5}


def document(*entries, **environment):
    data = {"environment": {**ENVIRONMENT, **environment}, "peaks": {}, "results": list(entries), "comparison": None}
    envelope = {"schema": "attn.bench/1", "attn_version": "1", "status": "ok", "exit_code": 0}
    return {**envelope, "data": data, "findings": [], "error": None}


def report(*results, **environment):
    return BenchReport({**ENVIRONMENT, **environment}, Peaks({}, None), results, (), ())


def result(backend="sdpa", case=CASE, status="ok", samples=QUIET):
    return BenchResult(backend, case, status, ms=summarize(samples) if samples else None)


def times(factor):
    return tuple(factor * value for value in QUIET)


@pytest.fixture
def saved(tmp_path):
    def save(content):
        path = tmp_path / "old.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return save


def test_samples_come_back_by_backend_and_case(saved):
    baseline = load(saved(document(entry(), entry("flash", LONGER, samples=[1, 2.5]))))
    assert baseline.samples == {("sdpa", CASE): QUIET, ("flash", LONGER): (1.0, 2.5)}
    assert baseline.environment == ENVIRONMENT


def test_only_what_was_timed_and_right_is_taken(saved):
    skipped = entry("cudnn", status="refused", samples=None)
    baseline = load(saved(document(entry("a", status="wrong"), skipped, entry("b", status="interrupted"))))
    assert list(baseline.samples) == [("b", CASE)]


def test_each_result_is_compared_with_its_own(saved):
    old = [entry("sdpa"), entry("sdpa", LONGER), entry("math"), entry("flex")]
    new = [
        result("math", samples=times(1.2)),
        result("sdpa", samples=times(0.8)),
        result("sdpa", LONGER),
        result("textbook"),
        result("flex", status="wrong"),
        result("cudnn", status="refused", samples=None),
    ]
    comparison = compare(report(*new), load(saved(document(*old))))
    assert [(one.backend, one.case, one.verdict) for one in comparison.entries] == [
        ("math", CASE, "SLOWER"),
        ("sdpa", CASE, "FASTER"),
        ("sdpa", LONGER, "SAME"),
    ]
    slower = comparison.entries[0]
    assert slower.ratio == pytest.approx(1.2)
    assert 1 + slower.margin < slower.low <= slower.ratio <= slower.high
    assert [(lost.backend, lost.status) for lost in comparison.lost] == [("flex", "wrong")]
    assert comparison.missing == 1  # textbook is only in the new one
    assert comparison.is_regression
    assert comparison.notes == ()
    assert comparison.file.endswith("old.json")


@pytest.mark.parametrize("status", ["wrong", "refused", "skipped", "failed"])
def test_what_was_right_and_is_not_any_more_is_lost(saved, status):
    baseline = load(saved(document(entry("sdpa"), entry("flash"), entry("math", LONGER))))
    gone = replace(result("flash", status=status, samples=None), reason="no such kernel")
    comparison = compare(report(result("sdpa"), gone), baseline)
    (lost,) = comparison.lost
    assert (lost.backend, lost.case, lost.status, lost.reason) == ("flash", CASE, status, "no such kernel")
    assert comparison.missing == 1  # math was not asked for
    assert comparison.is_regression
    alone = compare(report(gone), baseline)
    assert (alone.entries, len(alone.lost)) == ((), 1)


def test_what_was_stopped_or_not_asked_for_is_not_lost(saved):
    baseline = load(saved(document(entry("sdpa"), entry("flash"))))
    comparison = compare(report(result("sdpa"), result("flash", status="interrupted", samples=None)), baseline)
    assert (comparison.lost, comparison.missing, comparison.is_regression) == ((), 1, False)


def test_an_unknown_processor_is_noted_where_both_are(saved):
    note = "the device's name is unknown in both: that they ran on the same one is not certain"
    baseline = load(saved(document(entry(), device_name=None)))
    assert compare(report(result(), device_name=None), baseline).notes == (note,)
    assert compare(report(result()), load(saved(document(entry())))).notes == ()


def measured(factor, yardstick):
    return replace(result(samples=times(factor)), yardstick_ms=yardstick)


@pytest.mark.parametrize(
    ("factor", "yardstick", "verdict", "machine"),
    [
        (1.2, 2.4, "SAME", 1.2),
        (0.85, 1.7, "SAME", 0.85),
        (1.0, 1.7, "SAME", 0.85),  # the times themselves are the same
        (1.2, 2.0, "SLOWER", 1.0),
        (1.1, 2.0, "SLOWER", 1.0),
        (1.1, 1.9, "SLOWER", 0.95),
        (0.8, 2.0, "FASTER", 1.0),
        (0.9, 2.4, "FASTER", 1.2),
        (1.2, 1.9, "SLOWER", 0.95),
        (1.15, 2.5, "UNCLEAR", 1.25),  # slower as they are, faster in units of the yardstick
        (1.5, 3.0, "UNCLEAR", 1.5),  # so slow a yardstick excuses nothing
        (1.0, 0.2, "SAME", 0.1),
        (3.0, 3.0, "SLOWER", 1.5),
    ],
)
def test_a_difference_is_one_as_it_is_and_over_the_yardsticks(saved, factor, yardstick, verdict, machine):
    baseline = load(saved(document({**entry(), "yardstick_ms": 2.0})))
    (one,) = compare(report(measured(factor, yardstick)), baseline).entries
    assert (one.verdict, one.machine) == (verdict, machine)
    views = (factor, factor / machine)
    nearest = min(views, key=lambda ratio: abs(math.log(ratio)))
    told = [nearest] if verdict != "SAME" or machine > 0.8 else [factor]  # an untrusted yardstick is not told
    assert one.ratio == pytest.approx(told[0])


@pytest.mark.parametrize(("before", "now"), [(None, 3.0), (2.0, None), (None, None)])
def test_where_one_has_no_yardstick_the_times_themselves_are_compared(saved, before, now):
    baseline = load(saved(document({**entry(), "yardstick_ms": before})))
    (one,) = compare(report(measured(1.5, now)), baseline).entries
    assert (one.verdict, one.machine) == ("SLOWER", None)
    assert one.ratio == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("yardstick", "said"), [(2.0, None), (2.08, None), (2.5, "up to 25% longer"), (1.5, "up to 25% less")]
)
def test_a_machine_of_another_speed_is_noted(saved, yardstick, said):
    baseline = load(saved(document({**entry(), "yardstick_ms": 2.0})))
    notes = compare(report(measured(yardstick / 2, yardstick)), baseline).notes
    assert [said in note for note in notes] == ([] if said is None else [True])


def test_the_margin_is_that_asked_for(saved):
    baseline = load(saved(document(entry())))
    slow = report(result(samples=times(1.2)))
    assert compare(slow, baseline, 0.05).entries[0].verdict == "SLOWER"
    assert compare(slow, baseline, 0.5).entries[0].verdict == "SAME"


@pytest.mark.parametrize(
    ("name", "now", "said"),
    [
        ("device", "cuda:0", "device was cpu and is cuda:0 now"),
        ("device_name", "Another", "device name was A processor and is Another now"),
        ("threads", 8, "threads was 2 and is 8 now"),
        ("float32_matmul_precision", "high", "float32 matmul precision was highest and is high now"),
        ("allow_tf32", True, "allow tf32 was off and is on now"),
        ("cudnn_allow_tf32", True, "cudnn allow tf32 was unknown and is on now"),
        ("l2_flush_bytes", 100, "l2 flush bytes was 0 and is 100 now"),
        ("keeps_freed_memory", True, "keeps freed memory was unknown and is on now"),
    ],
)
def test_another_device_or_setting_is_refused(saved, name, now, said):
    baseline = load(saved(document(entry())))
    with pytest.raises(UsageError, match=said) as error:
        compare(report(result(), **{name: now}), baseline)
    assert error.value.exit_code == 2
    assert "\n" not in error.value.message
    assert error.value.hint
    with pytest.raises(UsageError, match=said):
        check_environment({**ENVIRONMENT, name: now}, baseline)


def test_other_differences_are_noted_and_clocks_are_not(saved):
    baseline = load(saved(document(entry())))
    new = report(result(), torch="2.14.0", driver="570.1", clock_mhz=1800.0)
    assert compare(new, baseline).notes == ("torch was 2.13.0 and is 2.14.0 now", "driver was unknown and is 570.1 now")


def test_nothing_in_common_is_refused_and_nothing_measured_is_not(saved):
    baseline = load(saved(document(entry())))
    with pytest.raises(UsageError, match="no result in common"):
        compare(report(result("math")), baseline)
    empty = compare(report(result(status="interrupted", samples=None)), baseline)
    assert (empty.entries, empty.missing) == ((), 1)


BROKEN = {
    "not JSON": b"{",
    "not text": b"\xff\xfe\x00\xd8",
    "too deep": b"[" * 100_000,
    "NaN": b'{"schema": "attn.bench/1", "data": NaN}',
    "a list": b"[]",
    "no schema": b"{}",
    "another schema": b'{"schema": "attn.run/1", "data": {}}',
    "a schema of another type": b'{"schema": ["attn.bench/1"]}',
    "a failed run": b'{"schema": "attn.bench/1", "data": null}',
    "no data": b'{"schema": "attn.bench/1"}',
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_one_clear_line(saved, content):
    with pytest.raises(InputError, match=r"old.json: .*; expected") as error:
        load(saved(content))
    assert "\n" not in error.value.message


WRONG = [
    ("environment", None), ("environment", {}), ("environment", {"device": ["cpu"]}), ("results", {}), ("results", [3]),
]  # fmt: skip
WRONG_RESULT = [
    ("backend", 3), ("keys", 512.0), ("keys", True), ("causal", 1), ("mode", "sideways"), ("dtype", None), ("ms", 3),
    ("ms", {}), ("ms", {"samples": []}), ("ms", {"samples": ["1"]}), ("ms", {"samples": [-1.0]}),
    ("ms", {"samples": [1.1e12]}), ("ms", {"samples": [1.7e308]}), ("ms", {"samples": [0]}),
    ("ms", {"samples": [5e-324]}),
    ("ms", {"samples": [True]}), ("ms", {"samples": [10**400]}), ("ms", {"samples": 3}),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_data_that_is_not_whole_is_refused(saved, key, value):
    broken = document(entry())
    broken["data"][key] = value
    with pytest.raises(InputError, match=r"old.json: .*; expected"):
        load(saved(broken))


@pytest.mark.parametrize(("key", "value"), WRONG_RESULT)
def test_a_result_that_is_not_whole_is_refused(saved, key, value):
    with pytest.raises(InputError, match=r"old.json: .*; expected"):
        load(saved(document({**entry(), key: value})))
    without = {name: kept for name, kept in entry().items() if name != key}
    with pytest.raises(InputError, match=f"{key} is missing in it"):
        load(saved(document(without)))


@pytest.mark.parametrize("value", ["2", True, -1.0, 0, 1e-300, 1e16, []])
def test_a_yardstick_that_is_no_time_is_refused(saved, value):
    with pytest.raises(InputError, match=r"old.json: .*; expected"):
        load(saved(document({**entry(), "yardstick_ms": value})))


def test_a_sample_beyond_all_numbers_is_refused(saved):
    text = json.dumps(document(entry(samples=[123.5]))).replace("123.5", "1e999")
    with pytest.raises(InputError, match="no time"):
        load(saved(text.encode()))


def test_a_missing_file_and_a_folder_are_one_line(tmp_path):
    with pytest.raises(InputError, match=r"none.json: no such file"):
        load(tmp_path / "none.json")
    with pytest.raises(InputError, match="expected a JSON file"):
        load(tmp_path)


def test_text_of_the_file_cannot_command_the_terminal(saved):
    with pytest.raises(UsageError) as error:
        compare(report(result()), load(saved(document(entry(), device="\x1b[31mcpu\n"))))
    assert error.value.message.isprintable()
    baseline = load(saved(document(entry(), torch="\x1b[2J")))
    assert all(note.isprintable() for note in compare(report(result()), baseline).notes)


def leaves(value, path=()):
    """Where each part of a document is."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from leaves(part, (*path, key))


PATHS = [path for path in leaves(document(entry(samples=(1.0, 2.0)))) if path]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part, max_size=3),
    max_leaves=5,
)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(PATHS), JSON)
def test_whatever_is_changed_in_a_file_it_is_read_or_refused(tmp_path_factory, path, value):
    changed = copy.deepcopy(document(entry(samples=(1.0, 2.0))))
    part = changed
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    file = tmp_path_factory.getbasetemp() / "changed.json"
    file.write_text(json.dumps(changed))
    with contextlib.suppress(InputError, UsageError):
        assert compare(report(result()), load(file)).file.endswith("changed.json")


def test_two_files_compare_as_a_run_with_its_baseline_does(saved):
    old = load(saved(document({**entry(), "yardstick_ms": 2.0})))
    new = load(saved(document({**entry(samples=times(1.2)), "yardstick_ms": 1.9})))
    assert compare_measured(new, old) == compare(report(measured(1.2, 1.9)), old).entries
