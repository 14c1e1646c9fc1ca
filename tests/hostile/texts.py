"""Texts that a stranger may put wherever text stands, and what of them must never reach a terminal or a page."""

import contextlib
import os
import pty
import re
import threading
import unicodedata
from collections.abc import Iterator

from tests.hostile.warm import Ended, warm

MARK = "38;5;201"  # of the colour that no report of attn's has
TEXTS = {
    "ansi": f"\x1b[{MARK}mEVIL\x1b[0m\x1b[2J\x1b[H",
    "title": "\x1b]0;EVIL\x07",
    "link": "\x1b]8;;http://evil.example/\x1b\\EVIL\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;RVZJTA==\x07EVIL",
    "answerback": "EVIL\x1b[6n\x1b[c\x1bP$q\x1b\\",
    "c1": f"\x9b{MARK}mEVIL\x9d8;;x\x9c\x90\x98\x9e\x9f",
    "bidi": "\u202eEVIL\u202c\u2066x\u2069\u200e\u200f\u061c",
    "markup": "[red]EVIL[/red][bold]x",
    "closing": "[/INST]EVIL[INST][/]",
    "markup-link": "[link=http://evil.example]EVIL[/link]",
    "emoji-code": ":smile:EVIL:warning:",
    "wide": "猫はEVILね",
    "emoji": "👩\u200d👩\u200d👧EVIL🏳\ufe0f\u200d🌈",
    "zero": "\u200b\u200c\u2060\ufeff\u00adEVIL\u3164",
    "combining": "EVIL" + "\u0301" * 60,
    "lines": "EVIL\nattn: error: forged\r\nhint: forged\x85\u2028\u2029x",
    "back": "EVIL\b\b\b\b\x7f\t\v\f",
    "tags": "EVIL\U000e0041\U000e007f",
    "interlinear": "EVIL\ufff9a\ufffab\ufffb\ufffe",
    "private": "EVIL\ue000\U0010fffd",
    "html": "</script><img src=x onerror=alert('EVIL')>&lt;<!--",
    "mathtext": "$EVIL$ \\alpha $\\frac{1}{0}$ $_",
    "xml": "]]>EVIL<![CDATA[",
}  # fmt: skip
LONG = "EVIL" + "x" * 1_000_000 + "\x1b[0m"
STYLE = re.compile(rb"\x1b\[[0-9;]*m")  # what Rich paints with
MOVES = re.compile(rb"\x1b\[(?:\?25[lh]|[0-9]*[AK])")  # and how it redraws its progress bar
NEVER = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def controls(written: bytes) -> set[str]:
    """The characters in it that steer a terminal or mean nothing, line ends left out."""
    text = written.decode("utf-8")
    return {ascii(one) for one in set(text) if unicodedata.category(one) in NEVER and one != "\n"}


def check_harmless(written: bytes, *, may_move: bool = False) -> bytes:
    """Check the raw bytes that were written to a terminal; returns them without the colours."""
    assert MARK.encode() not in STYLE.findall(written)
    assert not [style for style in STYLE.findall(written) if MARK.encode() in style]
    bare = STYLE.sub(b"", written)
    if may_move:
        bare = MOVES.sub(b"", bare).replace(b"\r", b"")
    assert not controls(bare), sorted(controls(bare))
    return bare


def check_shown(ended: Ended, code: int | None = None) -> str:
    """Check both streams of a process; returns them together, without colours."""
    assert not ended.timed_out
    assert ended.returncode in ((0, 1, 2) if code is None else (code,)), ended.stderr[-2000:]
    assert b"Traceback" not in ended.stderr, ended.stderr[-2000:]
    assert b"fault of attn" not in ended.stderr, ended.stderr[-2000:]
    forged = [line for line in check_harmless(ended.stderr).split(b"\n") if line.startswith(b"attn: error: forged")]
    assert not forged
    return (check_harmless(ended.stdout) + check_harmless(ended.stderr)).decode()


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, list[bytes]]]:
    """A terminal: its descriptor, and what was written to it, complete when the block has ended."""
    master, slave = pty.openpty()
    written: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # the other side is gone
            while got := os.read(master, 65536):
                written.append(got)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield slave, written
    finally:
        os.close(slave)
        reader.join()
        os.close(master)


def on_a_terminal(*arguments: str, before: str = "", **how: object) -> tuple[Ended, bytes]:
    """``attn ARGUMENTS`` with both streams on a terminal of 80 columns, and all that was written to it."""
    with terminal() as (slave, written):
        ended = warm(*arguments, stdout=slave, stderr=slave, before=before, TERM="xterm-256color", COLUMNS="80", **how)
    return ended, b"".join(written)
