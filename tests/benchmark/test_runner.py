"""What a whole benchmark makes of contenders that are right, wrong, slow, broken, too large or stopped."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from attn_cli.benchmark import case_run, runner, trial
from attn_cli.benchmark.allocator import keeps_freed_memory
from attn_cli.benchmark.contenders import CONTENDERS
from attn_cli.benchmark.doubts import doubts_of
from attn_cli.benchmark.plan import unshared
from attn_cli.benchmark.runner import BenchPlan, bench_cases, rate, run_bench
from attn_cli.benchmark.statistics import summarize
from attn_cli.benchmark.types import BenchResult, Peaks
from attn_cli.errors import BackendError, ResourceError, UsageError
from tests.benchmark.cases import CPU, FakeClock, Told, make_case

PEAKS = Peaks({"float32": 1e9}, 1e9)


@pytest.fixture(autouse=True)
def no_memory_pass(monkeypatch):
    """Memory is measured in tests of its own; here a pass runs, and takes 1000 bytes a query row."""

    def peak(run, _device):
        output = run()[0]
        return 1000 * output.shape[2]

    monkeypatch.setattr(trial, "peak_bytes", peak)
    monkeypatch.setattr(case_run, "release", lambda _device: None)  # it takes most of the time of such small cases
    monkeypatch.setattr(runner, "Yardstick", FixedYardstick)


class FixedYardstick:
    """Takes two milliseconds, and nothing in truth; it does not move the clock."""

    is_warm = False

    def __init__(self, _clock):
        pass

    def warm_up(self):
        self.is_warm = True

    def measure(self):
        assert self.is_warm
        return 2.0


def bench(*contenders, cases=None, clock=None, progress=None, min_time=0.01):
    by_name = {contender.name: contender for contender in contenders}
    plan = BenchPlan(cases or (make_case(),), tuple(by_name), CPU, min_time)
    return run_bench(plan, progress, clock or FakeClock(), by_name, PEAKS)


def by_name(report):
    return {result.backend: result for result in report.results}


def raiser(error, after=0):
    """Raises from the run behind ``after`` on."""
    calls = iter(range(1_000_000))

    def then():
        if next(calls) >= after:
            raise error

    return then


def test_a_right_one_is_ok_with_all_that_is_known():
    result = by_name(bench(Told("a")))["a"]
    assert (result.status, result.reason, result.kernel) == ("ok", None, "told")
    assert result.max_abs_error <= result.tolerance
    assert result.checked_rows == 8
    assert result.first_ms == 1
    assert result.ms.median == 1
    assert len(result.ms.samples) >= 10
    assert result.peak_memory_bytes == 8000
    assert result.yardstick_ms == 2


def test_it_is_warm_before_it_is_timed():
    """The first runs behind the check are slow, as where a clock has to rise; none of them is a sample."""
    clock, runs = FakeClock(), iter(range(1_000_000))

    def then():
        clock.now += 50.0 if next(runs) < 5 else 0.0

    result = by_name(bench(Told("a", then), clock=clock))["a"]
    assert result.first_ms == 51
    assert set(result.ms.samples) == {1.0}


def test_memory_is_measured_of_a_case_that_is_laid_out_already(monkeypatch):
    log = []

    class Copying(Told):
        def laid_out(self, drawn):
            log.append("laid out")
            return replace(drawn)

        def prepare(self, drawn):
            log.append(drawn)
            return super().prepare(drawn)

    def peak(run, _device):
        log.append("memory pass")
        run()
        return 1

    monkeypatch.setattr(trial, "peak_bytes", peak)
    bench(Copying("a"))
    first, laid_out, memory_pass, measured, *_ = log
    assert (laid_out, memory_pass) == ("laid out", "memory pass")
    assert measured is not first


def test_what_was_not_compared_is_never_the_quickest():
    right = by_name(bench(Told("a")))["a"]
    assert right.is_quick
    assert not replace(right, max_abs_error=None).is_quick
    assert not replace(right, status="wrong").is_quick
    assert not replace(right, ms=None).is_quick


def test_what_was_not_timed_has_no_yardstick():
    results = by_name(bench(Told("a"), Told("b", raiser(RuntimeError("no")))))
    assert (results["a"].yardstick_ms, results["b"].yardstick_ms) == (2, None)


def test_freed_memory_is_kept_while_a_case_runs_and_the_environment_says_so(monkeypatch):
    kept = []

    @contextmanager
    def keeping(device):
        kept.append(device)
        yield True
        kept.append("over")

    monkeypatch.setattr(runner, "keeping_freed_memory", keeping)
    report = bench(Told("a", lambda: kept.append("run")))
    assert (kept[0], kept[1], kept[-1]) == (CPU, "run", "over")
    assert report.environment["keeps_freed_memory"] is keeps_freed_memory(CPU)


def test_a_wrong_one_is_marked_and_still_timed():
    results = by_name(bench(Told("right"), Told("wrong", change=lambda output: output * 1.01)))
    assert results["right"].status == "ok"
    wrong = results["wrong"]
    assert wrong.status == "wrong"
    assert "differs from float64" in wrong.reason
    assert wrong.max_abs_error > wrong.tolerance
    assert wrong.ms is not None


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (RuntimeError("kernel\nbroke"), "failed", "RuntimeError: kernel broke"),
        (KeyError("x"), "failed", "KeyError: 'x'"),
        (AssertionError(), "failed", "AssertionError"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to …"), "failed", "cpu: out of memory"),
        (MemoryError(), "failed", "cpu: out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "failed", "cpu: out of memory"),
        (NotImplementedError("not on this device"), "refused", "not on this device"),
        (BackendError("--backend b cannot run this case: no such kernel"), "refused", "no such kernel"),
        (ResourceError("the disk is full"), "failed", "ResourceError: the disk is full"),
    ],
)
def test_what_one_raises_is_its_reason_and_the_rest_goes_on(error, status, reason):
    cases = (make_case(queries=8), make_case(queries=16))
    report = bench(Told("a"), Told("b", raiser(error)), Told("c"), cases=cases)
    assert [result.backend for result in report.results] == ["a", "b", "c"] * 2
    assert [result.status for result in report.results] == ["ok", status, "ok"] * 2
    broken = report.results[1]
    assert (broken.reason, broken.ms) == (reason, None)
    assert not report.was_interrupted


@pytest.mark.parametrize("after", [3, 9])
def test_one_that_fails_while_it_is_timed_keeps_what_was_known(after):
    results = by_name(bench(Told("a", raiser(RuntimeError("late"), after)), Told("b")))
    assert (results["a"].status, results["a"].reason) == ("failed", "RuntimeError: late")
    assert results["a"].max_abs_error is not None
    assert results["b"].status == "ok"


def test_a_refusal_is_told_and_nothing_is_run():
    never = Told("a", raiser(AssertionError("it ran")), refuses="no kernel for this")
    result = by_name(bench(never, Told("b")))["a"]
    assert (result.status, result.reason, result.ms) == ("refused", "no kernel for this", None)


def test_a_slow_one_is_slow():
    clock = FakeClock()

    def wait():
        clock.now += 4.0

    results = by_name(bench(Told("quick"), Told("slow", wait), clock=clock))
    assert results["slow"].ms.median == 5 * results["quick"].ms.median
    assert results["slow"].tflops == pytest.approx(results["quick"].tflops / 5)


def test_too_much_memory_is_skipped_with_the_numbers(monkeypatch):
    monkeypatch.setattr(case_run, "available_bytes", lambda _device: 2**30)
    results = by_name(bench(Told("a"), Told("large", raiser(AssertionError("it ran")), working=3 * 2**30)))
    assert results["a"].status == "ok"
    assert results["large"].status == "skipped"
    assert results["large"].reason == "needs about 3 GiB of memory; 1 GiB are free on cpu"


def test_the_first_length_that_does_not_fit_is_foreseen_from_shorter_ones(monkeypatch):
    monkeypatch.setattr(case_run, "available_bytes", lambda _device: 100_000)
    cases = tuple(make_case(heads=1, queries=length, head_dim=1) for length in (16, 32, 64, 128))
    report = bench(Told("a"), cases=cases)
    assert [result.status for result in report.results] == ["ok", "ok", "ok", "skipped"]
    assert "of memory" in report.results[-1].reason
    assert report.growth[0].lengths == (16, 32, 64)


def test_ctrl_c_while_timing_keeps_what_was_measured():
    cases = (make_case(queries=8), make_case(queries=16), make_case(queries=32))
    counts = {}

    def progress(_done, _total, what):
        if what.startswith("16 × 16") and "timing" in what:
            counts[what] = counts.get(what, 0) + 1
            if sum(counts.values()) == 5:
                raise KeyboardInterrupt

    report = bench(Told("a"), Told("b"), cases=cases, progress=progress)
    assert report.was_interrupted
    assert [result.case.queries for result in report.results] == [8, 8, 16, 16]
    assert [result.status for result in report.results] == ["ok", "ok", "interrupted", "interrupted"]
    assert sum(len(result.ms.samples) for result in report.results[2:]) == 5
    assert "stopped after" in report.results[2].reason
    assert report.environment["device"] == "cpu"


def test_ctrl_c_leaves_what_had_all_its_samples_ok():
    """A run of twenty milliseconds is enough five times, one of a millisecond twenty times."""
    clock, ticks = FakeClock(), []

    def wait():
        clock.now += 19.0

    def progress(_done, _total, what):
        ticks.extend(["brief"] if "brief: timing" in what else [])
        if len(ticks) == 10:
            raise KeyboardInterrupt

    report = bench(Told("brief"), Told("long", wait), clock=clock, progress=progress)
    results = by_name(report)
    assert report.was_interrupted
    assert (results["brief"].status, len(results["brief"].ms.samples)) == ("interrupted", 10)
    assert (results["long"].status, results["long"].reason, len(results["long"].ms.samples)) == ("ok", None, 5)


def test_ctrl_c_while_checking_keeps_what_is_there():
    stopper = Told("b", raiser(KeyboardInterrupt()))
    report = bench(Told("a"), stopper, Told("c"))
    assert report.was_interrupted
    a, b, c = report.results
    assert {result.status for result in (a, b, c)} == {"interrupted"}
    assert a.max_abs_error is not None
    assert b.reason == c.reason == "stopped before it was timed"


def test_ctrl_c_before_the_first_case_gives_an_empty_report(monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "measure", stop)
    report = run_bench(BenchPlan((make_case(),), ("sdpa",), CPU), clock=FakeClock())
    assert report.was_interrupted
    assert report.results == ()
    assert report.environment["torch"] == torch.__version__


def test_a_backward_pass_is_checked_and_timed():
    report = run_bench(
        BenchPlan((make_case(mode="backward", causal=True),), ("textbook", "sdpa", "math", "inspect"), CPU, 0.01),
        clock=FakeClock(),
        peaks=PEAKS,
    )
    assert [result.status for result in report.results] == ["ok", "ok", "ok", "refused"]
    assert all(result.max_abs_error > 0 for result in report.results[:3])


def test_backward_graphs_that_do_not_fit_together_are_timed_apart(monkeypatch):
    held, most = [], []

    class Held(Told):
        def prepare(self, drawn):
            run, token = super().prepare(drawn), _Token(held)
            most.append(len(held))
            return lambda: (token, run())[1]

    monkeypatch.setattr(case_run, "available_bytes", lambda _device: 2500 * 8)
    cases = (make_case(heads=1, head_dim=1, mode="backward"),)
    report = bench(*(Held(name) for name in "abcd"), cases=cases)
    assert [result.status for result in report.results] == ["ok"] * 4
    assert max(most) == 2
    assert held == []


class _Token:
    """Stands in ``held`` for as long as it lives."""

    def __init__(self, held):
        self._held = held
        held.append(self)
        held[-1] = id(self)

    def __del__(self):
        self._held.remove(id(self))


def test_progress_rises_to_the_number_of_cases():
    seen = []
    cases = (make_case(queries=8), make_case(queries=16))
    bench(Told("a"), Told("b"), cases=cases, progress=lambda *told: seen.append(told))
    done = [entry[0] for entry in seen]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(2)
    assert {entry[1] for entry in seen} == {2}
    assert any("16 × 16 float32, b: timing" in entry[2] for entry in seen)


def test_rates_are_those_of_the_formulas():
    case = make_case(batch=2, heads=4, kv_heads=2, queries=100, keys=200, head_dim=64)
    result = rate(BenchResult("a", case, "ok", ms=summarize([2.0])), Peaks({"float32": 1e12}, 1e9))
    flops, moved = 4 * 2 * 4 * 100 * 200 * 64, 4 * (2 * 2 * 4 * 100 * 64 + 2 * 2 * 2 * 200 * 64)
    assert result.tflops == pytest.approx(flops / 2e-3 / 1e12)
    assert result.bytes_per_s == pytest.approx(moved / 2e-3)
    assert result.intensity == pytest.approx(flops / moved)
    assert result.share_of_peak == pytest.approx(flops / 2e-3 / (flops / moved * 1e9))
    assert rate(result, Peaks({}, 1e9)).share_of_peak is None
    compute_bound = rate(result, Peaks({"float32": 1e12}, 1e15))
    assert compute_bound.share_of_peak == pytest.approx(flops / 2e-3 / 1e12)


def test_a_reference_that_cannot_be_computed_leaves_times_and_a_warning(monkeypatch):
    def fail(_drawn):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(case_run, "make_reference", fail)
    report = bench(Told("a"))
    (result,) = report.results
    assert (result.status, result.max_abs_error, result.checked_rows) == ("ok", None, None)
    assert result.ms is not None
    assert "reference failed: cpu: out of memory" in report.warnings[0].message


def result_of(samples, first_ms=1.0, name="a"):
    return BenchResult(name, make_case(), "ok", first_ms=first_ms, ms=summarize(samples))


def test_steady_samples_give_no_doubt():
    assert doubts_of([result_of([1.0, 1.01, 0.99] * 5)]) == ()


@pytest.mark.parametrize(
    ("result", "message", "remedy"),
    [
        (result_of([1.0, 1.3, 0.8] * 5), "scatter by more than 10%", "--min-time"),
        (result_of([1.0, 1.0, 1.0]), "fewer than 5 runs", "--min-time"),
        (result_of([1.0] * 10, first_ms=2000.0), "took 2.0 s, 2,000 times a later one", "warm it up"),
        (result_of([1 + 0.015 * i for i in range(15)]), "rose by 15% from the first third", "cool down"),
    ],
)
def test_doubts_name_a_remedy(result, message, remedy):
    doubts = doubts_of([result, result_of([1.0] * 10)] if "rose" not in message else [result])
    assert [message in doubt.message for doubt in doubts] == [True]
    assert remedy in doubts[0].remedy


def test_one_backend_that_drifts_alone_is_no_throttling():
    drifting = result_of([1 + 0.01 * i for i in range(30)])
    steady = [result_of([1.0] * 30, name=name) for name in "bcd"]
    assert not any("rose" in doubt.message for doubt in doubts_of([drifting, *steady]))


def test_more_time_allows_more_samples():
    brief, long = (BenchPlan((), (), CPU, seconds).bounds for seconds in (0.1, 5.0))
    assert (brief.min_seconds, long.min_seconds) == (0.1, 5.0)
    assert brief.max_seconds < long.max_seconds
    assert long.max_samples == 10 * brief.max_samples


LISTS = {"batch": [1], "heads": [4], "kv_heads": None, "head_dim": [64], "keys": [128], "queries": None,
         "dtypes": ["float32"]}  # fmt: skip


def test_cases_are_the_product_with_the_lengths_last():
    cases = bench_cases(**{**LISTS, "heads": [4, 8], "kv_heads": [2, 4], "keys": [128, 256]}, causal=True)
    found = [(case.heads, case.kv_heads, case.queries, case.keys) for case in cases]
    assert found[:4] == [(4, 2, 128, 128), (4, 2, 256, 256), (4, 4, 128, 128), (4, 4, 256, 256)]
    assert len(cases) == 8
    assert all(case.causal for case in cases)


def test_heads_that_cannot_be_shared_are_left_out_and_named():
    heads, kv_heads = [4, 8], [8, 2]
    cases = bench_cases(**{**LISTS, "heads": heads, "kv_heads": kv_heads})
    assert [(case.heads, case.kv_heads) for case in cases] == [(4, 2), (8, 8), (8, 2)]
    (warned,) = unshared(heads, kv_heads)
    assert warned.message.endswith(": 4 heads with 8 key/value heads")
    assert unshared(heads, [2]) == unshared(heads, None) == ()
    plan = BenchPlan((make_case(),), ("a",), CPU, 0.01, (warned,))
    report = run_bench(plan, clock=FakeClock(), contenders={"a": Told("a")}, peaks=PEAKS)
    assert report.warnings[0] == warned


def test_cases_default_to_as_many_queries_and_heads():
    (case,) = bench_cases(**{**LISTS, "keys": [128, 128]})
    assert (case.kv_heads, case.queries) == (4, 128)
    (case,) = bench_cases(**{**LISTS, "queries": [1]})
    assert (case.queries, case.keys) == (1, 128)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kv_heads": [3]}, "--kv-heads 3"),
        ({"keys": [0]}, "--seq 0"),
        ({"queries": [-1]}, "--queries -1"),
        ({"batch": []}, "--batch"),
        ({"dtypes": ["int8"]}, "--dtype int8"),
        ({"dtypes": []}, "--dtype"),
    ],
)
def test_cases_that_cannot_be_are_refused(change, message):
    with pytest.raises(UsageError, match=message):
        bench_cases(**{**LISTS, **change})


def test_a_backend_that_is_none_is_refused_before_anything_runs():
    with pytest.raises(UsageError, match="--backend triton: no such backend; expected all or some of textbook"):
        run_bench(BenchPlan((make_case(),), ("triton",), CPU))


def test_every_real_contender_gives_a_result_with_a_status():
    plan = BenchPlan((make_case(causal=True),), tuple(CONTENDERS), CPU, 0.01)
    report = run_bench(plan, clock=FakeClock(), peaks=PEAKS)
    statuses = {result.backend: result.status for result in report.results}
    assert {name for name, status in statuses.items() if status == "ok"} == {
        "textbook", "sdpa", "flash", "math", "flex", "inspect",
    }  # fmt: skip
    assert all(result.reason for result in report.results if result.status != "ok")
    assert all(result.share_of_peak > 0 for result in report.results if result.status == "ok")
