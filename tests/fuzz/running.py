"""The command that fuzzes, and says what came of it."""

import argparse
import gc
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.fuzz.findings import Findings
from tests.fuzz.guide import HAS_ATHERIS, WITHOUT, instrument
from tests.fuzz.page import page_of

PLACE = Path(".fuzz")
NAMES = ("files", "commands", "bench")
WARM = (
    "safetensors.torch", "attn_cli.main", "attn_cli.commands.running", "attn_cli.commands.checking",
    "attn_cli.commands.differing",
    "attn_cli.commands.explaining", "attn_cli.commands.benching", "attn_cli.commands.recording",
    "attn_cli.inputs.source",
    "attn_cli.reporters.json_report", "attn_cli.reporters.saved", "attn_cli.benchmark.baseline", "numpy.lib.format",
)  # fmt: skip
LIBRARIES = (
    "zipfile",
    "numpy.lib.format",
    "numpy.lib._format_impl",
    "torch.serialization",
    "torch._weights_only_unpickler",
)
CODE_OF_FILES = ("attn_cli.inputs", "attn_cli.benchmark.baseline", *LIBRARIES)  # the rest would take seconds to prepare
CODE = ("attn_cli", *LIBRARIES)
PACKAGES = ("torch", "numpy", "safetensors", "typer", "rich")


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz attn's readers and its command line.")
    made.add_argument("--minutes", type=float, default=30.0, help="for all targets together (30)")
    made.add_argument("--runs", type=int, default=0, help="inputs of each target, instead of minutes")
    made.add_argument("--seed", type=int, default=0, help="of all draws; 0 takes another each time")
    made.add_argument("--target", choices=NAMES, action="append", help="one of them alone; may be repeated")
    made.add_argument("--unguided", action="store_true", help="do not count branches, even where atheris is installed")
    made.add_argument(
        "--place", type=Path, default=PLACE, help="folder of corpus and findings, which the next run goes on from"
    )
    made.add_argument("--summary", type=Path, help="write the figures as JSON, and as a page beside it (.md)")
    made.add_argument(
        "--try", dest="tried", type=Path, nargs="+", metavar="CASE", help="run these inputs and say what they break"
    )
    made.add_argument(
        "--adopt", nargs=3, metavar=("CASE", "NAME", "WHY"), help="take an input that was mended into the corpus"
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz; the exit code is 1 where there is a finding that was not there before, 2 where the run is not whole."""
    asked = parser().parse_args(arguments)
    names = tuple(asked.target or NAMES)
    guided = HAS_ATHERIS and not (asked.unguided or asked.tried or asked.adopt)
    _warm_up(names, guided)
    if asked.tried:
        from tests.fuzz.trying import try_cases

        return try_cases(asked.tried)
    if asked.adopt:
        from tests.fuzz.adopting import adopt

        return adopt(Path(asked.adopt[0]), asked.adopt[1], asked.adopt[2])
    _say(f"place {asked.place}, targets {', '.join(names)}" + ("" if guided or asked.unguided else f"; {WITHOUT}"))
    report = _fuzz(asked, names, guided)
    text = json.dumps(report, indent=1) + "\n"
    (asked.place / "summary.json").write_text(text)
    if asked.summary is not None:
        asked.summary.write_text(text)
        asked.summary.with_suffix(".md").write_text(page_of(report), encoding="utf-8")
    _say(f"{report['tried']} inputs in {report['seconds']:.0f} s; new findings: {', '.join(report['new']) or 'none'}")
    return 1 if report["new"] else 0 if report["whole"] else 2


def _warm_up(names: Sequence[str], guided: bool) -> None:
    """Import all that is run, so that workers need not."""
    from importlib import import_module

    if guided:
        instrument(CODE_OF_FILES if tuple(names) == ("files",) else CODE)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for name in WARM:
        import_module(name)
    import torch

    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # what is there now stays: workers need not look through it, and share its memory


def _fuzz(asked: argparse.Namespace, names: Sequence[str], guided: bool) -> dict[str, Any]:
    """All targets, one after the other; interrupted, what was done until then."""
    from tests.fuzz.targets import TARGETS
    from tests.fuzz.watcher import run_target
    from tests.fuzz.worker import Shift

    place: Path = asked.place.resolve()
    place.mkdir(parents=True, exist_ok=True)
    seed = asked.seed or int(time.time())
    shares = sum(TARGETS[name].share for name in names)
    tallies: dict[str, Any] = {}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for name in names:
            seconds = 0.0 if asked.runs else asked.minutes * 60 * TARGETS[name].share / shares
            shift = Shift(
                TARGETS[name], place / "corpus" / name, Findings(place / "findings"), seconds, asked.runs, seed, guided
            )
            tally = run_target(shift, place / f"{name}.log")
            rate = (tally.tried + tally.replayed) / max(tally.seconds, 1e-9)
            tallies[name] = asdict(tally) | {"per_second": round(rate, 1), "seconds": round(tally.seconds, 1)}
            _say(f"{name}: " + ", ".join(f"{key} {value}" for key, value in tallies[name].items()))
    except KeyboardInterrupt:
        _say("interrupted")
    except RuntimeError as fault:  # the figures of what was done until then are worth keeping
        _say(str(fault))
    return _report(tallies, guided, seed) | {"whole": len(tallies) == len(names)}


def _report(tallies: dict[str, Any], guided: bool, seed: int) -> dict[str, Any]:
    engine = f"atheris {version('atheris')}" if guided else "random draws, no coverage"
    return {
        "date": time.strftime("%Y-%m-%d"),
        "engine": engine,
        "seed": seed,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "tried": sum(one["tried"] for one in tallies.values()),
        "replayed": sum(one["replayed"] for one in tallies.values()),
        "seconds": round(sum(one["seconds"] for one in tallies.values()), 1),
        "new": [name for one in tallies.values() for name in one["new"]],
        "targets": tallies,
    }


def _say(text: str) -> None:
    sys.stdout.write(f"fuzz: {text}\n")
    sys.stdout.flush()
