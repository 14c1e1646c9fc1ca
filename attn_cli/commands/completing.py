"""What a shell asks attn for by variables, to complete a line. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping

from attn_cli.errors import UsageError
from attn_cli.inputs.text import shown

ASKED, WORDS, WORD = "_ATTN_COMPLETE", "COMP_WORDS", "COMP_CWORD"
SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")
INSTRUCTIONS = tuple(f"{what}_{shell}" for what in ("complete", "source") for shell in SHELLS)
MOST_DIGITS = 9


def check_completion(environment: Mapping[str, str]) -> None:
    """Refuse what no shell asks for: Typer answers it as if the answer were no, or stumbles over it.

    Raises:
        UsageError: where something is asked for, and it is not what one of the shells says.
    """
    asked = environment.get(ASKED)
    if not asked:
        return
    if asked not in INSTRUCTIONS:
        raise UsageError(f"{ASKED}={shown(asked, 60)}: expected one of {', '.join(INSTRUCTIONS)}")
    if asked == "complete_bash":
        if WORDS not in environment:
            raise UsageError(f"{WORDS}: is not set; expected the line that is to be completed")
        word = environment.get(WORD, "")
        if not (word.isascii() and word.isdecimal() and len(word) <= MOST_DIGITS):
            raise UsageError(f"{WORD}={shown(word, 60)}: expected the number of a word of {WORDS}")
