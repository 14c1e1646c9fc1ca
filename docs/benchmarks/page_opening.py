"""What a page of ``attn run --html`` costs to open: its size, the time until it is drawn, the browser's memory.

    python docs/benchmarks/page_opening.py [--runs N] [--json FILE] [CASE ...]

Needs Linux, Chromium, its driver and Selenium (the extra ``test``). Every sample is a new Chromium with an empty
profile, without a window. Drawn is the first frame after the page has set its mark ``data-ready``, counted from the
navigation's start, as the page's own clock has it. Memory is the sum of the proportional set sizes of all of that
Chromium's processes, which counts what they share once, its program's code among it: at a blank page, the largest
while the page opens (asked every 20 ms, in runs whose time is not taken), a second after it was drawn, and a second
after its first head was opened.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

MINILM = Path(__file__).parents[2] / "sample_inputs" / "minilm.safetensors"
HEADS, HEAD_DIM = 12, 64
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
    "--disable-extensions", "--window-size=1280,900",
    # Chromium keeps a page of its own ready for its address bar
    "--disable-features=WebUIOmniboxPopup,WebUIOmniboxFullPopup,WebUIOmniboxAimPopup,OmniboxAimPopup",
)  # fmt: skip
# The clock starts with the navigation; the second frame after the mark is the first that surely shows it.
WATCH = """
new MutationObserver((_, watch) => {
  const root = document.documentElement;
  if (root?.dataset.ready === undefined || window.attnDrawn !== undefined) return;
  watch.disconnect();
  window.attnReady = performance.now();
  requestAnimationFrame(() => requestAnimationFrame(() => { window.attnDrawn = performance.now(); }));
}).observe(document, {subtree: true, childList: true, attributes: true, attributeFilter: ["data-ready"]});
"""
MIB = 1 << 20


@dataclass(frozen=True)
class Case:
    """A page: how many tokens a head has (None for the real capture), and what it may cost."""

    name: str
    tokens: int | None
    megabytes: float
    seconds: float
    memory: int | None
    options: tuple[str, ...] = ()


CASES = (
    Case("12x512", 512, 2, 1.5, 400),
    Case("12x16384", 16384, 2, 1.5, 400),
    Case("6x12-minilm", None, 4, 2, None, ("--html-budget", "4MB")),
)


@dataclass(frozen=True)
class Sample:
    """Milliseconds from the navigation's start to the page's mark and to the frame that shows it."""

    ready: float
    drawn: float


@dataclass(frozen=True)
class Memory:
    """MiB: at a blank page, the largest while the page opened, a second after it was drawn, and with a head opened."""

    blank: float
    peak: float
    settled: float
    head: float


def write_page(case: Case, folder: Path) -> Path:
    """Write the case's page: random heads (standard normal draws, q × 2), every key visible, or the real capture."""
    page, source = folder / f"{case.name}.html", MINILM
    if case.tokens is not None:
        generator = torch.Generator().manual_seed(0)
        shape = (1, HEADS, case.tokens, HEAD_DIM)
        q, k, v = (torch.randn(shape, generator=generator) for _ in range(3))
        source = folder / f"{case.name}.safetensors"
        save_file({"q": 2 * q, "k": k, "v": v}, source)
    command = [sys.executable, "-m", "attn_cli", "run", str(source), "--html", str(page), *case.options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return page


@contextmanager
def chromium() -> Iterator[tuple[Chrome, str]]:
    """A new Chromium at a blank page, and the folder of its profile."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        chrome = Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        try:
            chrome.get("about:blank")
            chrome.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
            time.sleep(1)  # what Chromium does at its start is not the page's
            yield chrome, profile
        finally:
            chrome.quit()


def open_page(chrome: Chrome, page: Path) -> Sample:
    """Open the page and wait until it is drawn."""
    chrome.get(page.as_uri())
    end = time.monotonic() + 120
    while (found := chrome.execute_script("return window.attnDrawn && [attnReady, attnDrawn]")) is None:
        if time.monotonic() > end:
            raise SystemExit(f"{page.name}: not drawn in 120 s")
        time.sleep(0.01)
    return Sample(*found)


def pss(profile: str) -> float:
    """MiB of all processes of the Chromium with this profile: the sum of their proportional set sizes."""
    parents: dict[str, str] = {}
    own: set[str] = set()
    for pid, parent, command in processes():
        parents[pid] = parent
        if profile in command and "chromedriver" not in command:
            own.add(pid)
    while grown := [pid for pid, parent in parents.items() if parent in own and pid not in own]:
        own.update(grown)
    return sum(_pss_of(pid) for pid in own) / 1024


def processes() -> Iterator[tuple[str, str, str]]:
    """Each process's number, its parent's, and its command."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = re.findall(r"^PPid:\s*(\d+)", (process / "status").read_text(), re.M)[0]
            command = (process / "cmdline").read_bytes().decode(errors="replace")
        except (OSError, IndexError):
            continue  # it has ended
        yield process.name, parent, command


def _pss_of(pid: str) -> int:
    """KiB; 0 for a process that has ended."""
    try:
        return int(re.findall(r"^Pss:\s*(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[0])
    except (OSError, IndexError):
        return 0


def memory_of(page: Path) -> Memory:
    """Memory while a page opens, after, and with its first head opened."""
    with chromium() as (chrome, profile):
        blank = pss(profile)
        peak = _largest(lambda: pss(profile), lambda: open_page(chrome, page))
        time.sleep(1)
        settled = pss(profile)
        chrome.execute_script("document.querySelector('.tile').click()")
        time.sleep(1)
        return Memory(blank, peak, settled, pss(profile))


def _largest(measure: Callable[[], float], work: Callable[[], object]) -> float:
    """The largest measure while the work is done."""
    seen, is_done = [measure()], threading.Event()

    def watch() -> None:
        while not is_done.wait(0.02):
            seen.append(measure())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        is_done.set()
        watcher.join()
    return max(*seen, measure())


def time_of(page: Path) -> Sample:
    """One opening in a new browser."""
    with chromium() as (chrome, _):
        return open_page(chrome, page)


def row(case: Case, size: int, samples: list[Sample], memory: list[Memory]) -> str:
    """A line of the table, with whether the bars hold."""
    seconds = statistics.median(sample.drawn for sample in samples) / 1e3
    spread = "–".join(f"{end(sample.drawn for sample in samples) / 1e3:.2f}" for end in (min, max))
    blank, peak, settled, head = (
        statistics.median(getattr(one, name) for one in memory) for name in ("blank", "peak", "settled", "head")
    )
    bars = [
        size <= case.megabytes * 1e6,
        seconds <= case.seconds,
        case.memory is None or peak * MIB <= case.memory * 1e6,
    ]
    said = f"{case.megabytes:g} MB, {case.seconds:g} s" + ("" if case.memory is None else f", {case.memory} MB")
    cells = [case.name, f"{size / 1e6:.2f}", f"{seconds:.2f} ({spread})"]
    cells += [f"{mebibytes:.0f}" for mebibytes in (blank, peak, settled, head)]
    return "| " + " | ".join([*cells, said, "yes" if all(bars) else "no"]) + " |"


def environment(driver: str) -> dict[str, object]:
    """Where it was measured."""
    return {"chromium": driver, "cores": os.cpu_count(), "machine": platform.platform(), "load": os.getloadavg()[0]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(case.name for case in CASES))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cases = [case for case in CASES if not options.cases or case.name in options.cases]
    if shutil.which("/usr/bin/chromium") is None or shutil.which("/usr/bin/chromedriver") is None:
        raise SystemExit("needs /usr/bin/chromium and /usr/bin/chromedriver")
    if any("chromium" in command.split("\0")[0] for _, _, command in processes()):
        print("Another Chromium runs: it shares memory with ours, so that ours looks smaller.", file=sys.stderr)
    header = ["case", "file, MB", "drawn, s (least–most)"]
    header += [f"{when}, MiB" for when in ("blank", "largest", "settled", "a head open")]
    header += ["bars", "held"]
    print("| " + " | ".join(header) + " |\n" + "|---" * len(header) + "|")
    version = subprocess.run(["/usr/bin/chromedriver", "--version"], capture_output=True, text=True, check=True).stdout
    found: dict[str, object] = {"environment": environment(version.split(" (")[0])}
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            page = write_page(case, Path(folder))
            size = page.stat().st_size
            samples = [time_of(page) for _ in range(options.runs)]
            memory = [memory_of(page) for _ in range(min(3, options.runs))]
            print(row(case, size, samples, memory), flush=True)
            times, sizes = [asdict(one) for one in samples], [asdict(one) for one in memory]
            found[case.name] = {"bytes": size, "milliseconds": times, "mebibytes": sizes}
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
