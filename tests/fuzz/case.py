"""One input of the fuzzer: a command line and the files that it finds in its folder, in one piece of bytes.

The first line is JSON, ``{"argv": […], "files": [[name, bytes], …]}``; the files' bytes follow one behind the other. A
case of the regression corpus also says what is expected of it: ``"exit"``, ``"says"`` and ``"why"``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

LONGEST = 2**16  # bytes of a case
MOST_FILES = 4
STDIN = "stdin"


@dataclass(frozen=True)
class Case:
    """A command line and its files.

    Attributes:
        argv: what stands behind ``attn``; empty where a reader alone is tried, on the first file.
        files: names and contents, in the folder that the command runs in.
        expected: of a regression case, what it must answer.
    """

    argv: tuple[str, ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()
    expected: Mapping[str, Any] = field(default_factory=dict)

    @property
    def on_disk(self) -> tuple[tuple[str, bytes], ...]:
        """The files of the folder, without what is piped in."""
        return tuple((name, content) for name, content in self.files if name != STDIN)

    @property
    def piped(self) -> bytes:
        """What standard input holds: the file that is called so; nothing where there is none."""
        return dict(self.files).get(STDIN, b"")

    def encoded(self) -> bytes:
        """The case as bytes."""
        head = {"argv": self.argv, "files": [[name, len(content)] for name, content in self.files], **self.expected}
        text = json.dumps(head, ensure_ascii=True)
        return text.encode() + b"\n" + b"".join(content for _, content in self.files)

    def with_file(self, number: int, content: bytes) -> "Case":
        """The case with another content of one of its files."""
        files = list(self.files)
        files[number] = (files[number][0], content)
        return replace(self, files=tuple(files))


def decoded(data: bytes) -> Case | None:
    """The case that the bytes hold, or None where they hold none."""
    line, _, rest = data.partition(b"\n")
    try:
        head = json.loads(line)
        argv, sizes = head.pop("argv"), head.pop("files")
        files = []
        for name, size in sizes:
            files.append((name, rest[:size]))
            rest = rest[size:]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if len(files) > MOST_FILES or not all(isinstance(one, str) for one in [*argv, *(name for name, _ in files)]):
        return None
    return Case(tuple(argv), tuple(files), head)
