"""Inputs that broke a law, kept in a folder: one of each kind, the smallest that was seen."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.laws import Breach

SUFFIX = ".case"


@dataclass(frozen=True)
class Findings:
    """A folder of findings."""

    folder: Path

    def names(self) -> set[str]:
        """One for each kind."""
        return {path.stem for path in self.folder.glob(f"*{SUFFIX}")}

    def keep(self, target: str, breach: Breach, data: bytes) -> str:
        """Keep an input, unless a smaller one of its kind is there; the kind's name."""
        self.folder.mkdir(parents=True, exist_ok=True)
        word = re.sub(r"[^a-z]+", "-", breach.law.lower())
        name = f"{target}-{word}-{hashlib.sha1(breach.signature.encode('utf-8', 'replace')).hexdigest()[:8]}"
        path = self.folder / f"{name}{SUFFIX}"
        if not path.exists() or path.stat().st_size > len(data):
            told = f"{breach.signature}\n\n{breach.told}\n\nattn's fuzzer: python -m tests.fuzz --try {path}\n"
            path.with_suffix(".txt").write_text(told, encoding="utf-8", errors="backslashreplace")
            path.write_bytes(data)
        return name
