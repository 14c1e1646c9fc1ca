"""Draws the README's pictures anew: ``make pictures``.

    python docs/pictures/draw.py

Those of the terminal are what ``attn … --screenshot`` writes. Those of the page are what Chromium shows of
``attn … --html``; where there is no Chromium they stay as they are, and that is said. Beside them stands what they
were made from, ``pages.json``, by which ``tests/test_pictures.py`` knows when they are out of date.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
MADE_FROM = FOLDER / "pages.json"
MINILM = "sample_inputs/minilm.safetensors"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
    "--force-device-scale-factor=1", "--virtual-time-budget=5000",
)  # fmt: skip
DATA = re.compile(r'(<script type="application/json"[^>]*>)(.*?)(?=</script>)', re.DOTALL)
NUMBER = re.compile(r"\d+(\.\d+)*(e[+-]?\d+)?")
LONGEST_WORD = 60  # characters; what is longer is a picture's cells
UNSTABLE = ("timing",)  # its units and counts differ from run to run


@dataclass(frozen=True)
class Terminal:
    """A picture of the terminal: what is typed, and how many columns there are."""

    command: tuple[str, ...]
    columns: int = 100  # the line of times breaks in none of them


@dataclass(frozen=True)
class View:
    """A picture of the page of the real capture: the address's fragment, and the window in CSS pixels."""

    fragment: str
    size: tuple[int, int]


TERMINALS = {"terminal.svg": Terminal(("run", MINILM, "--layer", "1", "--head", "8", "--batch", "0"))}
VIEWS = {"page.png": View("", (1280, 1300)), "page-head.png": View("call=1&batch=0&head=8&q=5&k=6", (1280, 1200))}


def attn(*arguments: str, columns: int = 80) -> None:
    """Run attn on the CPU, with nothing that the environment says of colour or width."""
    names = ("NO_COLOR", "FORCE_COLOR", "LINES", "ATTN_TRACEBACK", "TERM")
    clean = {name: value for name, value in os.environ.items() if name not in names}
    env = clean | {"COLUMNS": str(columns), "CUDA_VISIBLE_DEVICES": "", "PYTHONUTF8": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "attn_cli", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=env, check=False, stdout=subprocess.DEVNULL, timeout=120)
    if done.returncode:
        raise SystemExit(f"attn {' '.join(arguments)}: ended with {done.returncode}")


def draw_terminal(name: str, path: Path) -> None:
    """One picture of the terminal, drawn now."""
    picture = TERMINALS[name]
    attn(*picture.command, "--screenshot", str(path), columns=picture.columns)


def write_page(path: Path) -> None:
    """The page that is photographed, written now."""
    attn("run", MINILM, "--html", str(path))


def made_from(page: Path) -> dict[str, str]:
    """What a page is made from, as far as no machine and no run changes it.

    Returns:
        ``page``: a digest of template, style and script. ``data``: a digest of the names, words and lengths in its
        data, their numbers left out.
    """
    text = page.read_text(encoding="utf-8")
    words = [_words(json.loads(data)) for _, data in DATA.findall(text)]
    return {"page": _digest(DATA.sub(r"\1", text)), "data": _digest(json.dumps(words, sort_keys=True))}


def _words(value: object) -> object:
    if isinstance(value, dict):
        return {key: _words(one) for key, one in value.items() if key not in UNSTABLE}
    if isinstance(value, list):
        return [_words(one) for one in value]
    if isinstance(value, str):
        return "" if len(value) > LONGEST_WORD and " " not in value else NUMBER.sub("#", value)
    return value if value is None or isinstance(value, bool) else 0


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def entry(name: str, page: Path) -> dict[str, str]:
    """What is written down of a picture: itself, how it is taken, and what of."""
    view = VIEWS[name]
    how = f"{view.size[0]}x{view.size[1]} #{view.fragment}"
    return {"picture": hashlib.sha256((FOLDER / name).read_bytes()).hexdigest(), "view": how, **made_from(page)}


def photograph(browser: str, page: Path, view: View, path: Path) -> None:
    """Open a page in Chromium and keep what it shows; where it shows nothing, an older picture is left alone."""
    with tempfile.TemporaryDirectory() as profile:
        window, taken = ",".join(map(str, view.size)), Path(profile) / "taken.png"
        options = [*FLAGS, f"--user-data-dir={profile}", f"--window-size={window}", f"--screenshot={taken}"]
        command = [browser, *options, f"{page.as_uri()}#{view.fragment}"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
        if done.returncode or not taken.is_file():  # it ends with 0 also where it could not load the page
            raise SystemExit(f"{path}: Chromium took no picture\n{done.stderr}")
        shutil.copyfile(taken, path)


def main() -> int:
    """Draw all pictures. Returns the exit code."""
    for name in TERMINALS:
        draw_terminal(name, FOLDER / name)
        print(f"{FOLDER / name}: drawn")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"no Chromium here ({', '.join(BROWSERS)}): the pictures of the page stay as they were", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        write_page(page)
        for name, view in VIEWS.items():
            photograph(browser, page, view, FOLDER / name)
            print(f"{FOLDER / name}: drawn, {(FOLDER / name).stat().st_size // 1000} kB")
        entries = {name: entry(name, page) for name in VIEWS}
    MADE_FROM.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
