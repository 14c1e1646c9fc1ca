"""The command line's grammar, asked of the commands themselves, so that an option that is new is tried as well."""

import random
from dataclasses import dataclass
from functools import cache

from tests.fuzz.mutators.numbers import INTEGERS, text
from tests.fuzz.mutators.tensors import NAMES

OUTPUTS = ("out.safetensors", "out.html", "out.svg", "out.png", "out.pdf", "out.json", "out", ".", "")
LISTS = ("0", "1", "0,1", "0-1", "1-0", "9", "-1", "", "0-", ",", "0,,1", "0-16777216", "99999999999999", "0-0",
         " 1 ", "٣", "1;2", "1,2;2,2", "3,2", "random", "0,0", "1e3")  # fmt: skip
WORDS = {
    "--device": ("cpu", "auto", "cpu", "cuda", "cuda:0", "cuda:99999999999999999999", "mps", "meta", "cpu:1", "xla",
        "cuda:-1", "CPU", ""),
    "--window": ("1", "1,2", "-1", "-1,-1", "-5", "0,0", ",", "1,2,3", "99999999999999999999", "1,", "2147483648",
        " 1, 1"),
    "--causal-align": ("bottom-right", "top-left", "-1", "0", "-3", "3", "99999999999", "9" * 30, "middle", "", "+1"),
    "--zoom": ("0:2,0:2", ":,:", "1:,:3", "0:0,0:1", "9:10,0:1", "0:1", "a:b,c:d", "0:99999999999999,:", "2:1,0:1",
        "-1:,:"),
    "--metric": ("entropy", "max_logit", "sink_score", "induction_score", "output_norm", "nonfinite", "nothing", ""),
    "--prefix": ("layers.0", "layers.1", "layers.", "steps.1", "self_attn", "model.layers.0.self_attn", ".", ""),
    "--select": ("ATTN001", "ATTN", "ATTN01,ATTN002", "attn003", "", "X", ","),
    "--ignore": ("ATTN001", "ATTN", "ATTN0", "", "X"),
    "--rule": ("ATTN001", "all", "ATTN020", "ATTN021", ""),
    "--tokens": ("tokens.json", "ids.json", "token_ids", "q", "missing.json", ""),
    "--tokenizer": ("tokenizer.json", "tokenizer_bytes.json", "tokenizer_scores.json", "missing.json",
        "tokens.json", "-", ""),
    "--fail-on-regression": ("5%", "5", "0", "-1%", "nan%", "1e400%", "%", "200%", ""),
    "--max-bytes": ("1MB", "0", "-1", "1e9", "2GiB", "99999999999999999TB", "1.5kb", "B", ""),
    "--html-budget": ("2MB", "100kB", "1", "0", "-5MB", "1TB", "MB"),
    "--calls": ("0:1", "1:", ":", "2:1", "a:b", "99999999999999:", ""),
    "--layers": ("*", "[", "a*", "", "**"),
    "--num-hiddens": ("4", "6", "8", "0", "1", "-1", "1000000000000", "7"),
    "--valid-lens": ("3,2", "2", "1,2,3;2,2,2", "random", "1", "0", "5,5", "-1", "1.5", "", "1;1", "9" * 40),
    "--figure-width": ("column", "page", "3in", "3", "0", "-1", "nan", "1e9cm", ""),
    "--min-time": ("0.001", "0", "-1", "nan", "inf", "1e99", ""),
}  # fmt: skip
FLOATING = ("0", "1", "0.5", "-1", "-0.0", "nan", "inf", "-inf", "1e308", "1e-320", "1e999", "0x1", "1_0", "", "1e-30",
            "-1e6", "٣")  # fmt: skip
SIZED = ("1", "2", "0", "3", "5", "-1", "1000000000000", "99999999999999999999999", "1.5", "", "٣", "1_0", "+2")
GOOD = 3  # so many values stand first in each of these lists that are mostly taken
SEVERAL = ("check", "diff")  # commands of more than one file
WRITING = ("--save", "--html", "--svg", "--png", "--pdf", "--screenshot", "--output", "-o")


@dataclass(frozen=True)
class Option:
    """One of a command's options: its spellings, and what it may be given."""

    spellings: tuple[str, ...]
    takes_value: bool
    choices: tuple[str, ...]
    kind: str


@cache
def grammar() -> dict[str, tuple[Option, ...]]:
    """The options of every command."""
    import typer

    from attn_cli.main import app

    found = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        options = [one for one in command.params if one.param_type_name == "option"]
        found[name] = tuple(
            Option(
                (*one.opts, *one.secondary_opts),
                not one.is_flag,
                tuple(getattr(one.type, "choices", ())),
                one.type.name,
            )
            for one in options
        )
    return found


def mutate_argv(argv: tuple[str, ...], names: tuple[str, ...], draw: random.Random) -> tuple[str, ...]:
    """One option more or less, another value, another file, another command; mostly what the command has."""
    changed = list(argv) or ["run"]
    pick = draw.random()
    if pick < 0.06:
        changed[0] = draw.choice(tuple(grammar()))
    elif pick < 0.5 or len(changed) < 3:
        changed += option(changed[0], names, draw)
    elif pick < 0.7:
        at = draw.randrange(1, len(changed))
        is_with_value = _known(changed[at], changed[0]) and draw.random() < 0.9
        del changed[at : at + 2 if is_with_value else at + 1]
    elif pick < 0.85:
        at = draw.randrange(1, len(changed))
        changed[at] = _value_after(changed[at - 1], changed[0], names, draw)
    elif pick < 0.92:
        at = draw.randrange(1, len(changed))
        changed[at] = text(draw, changed[at])
    elif changed[0] in SEVERAL or draw.random() < 0.2:
        changed.insert(1, draw.choice((*names, "missing.safetensors", "-", ".", "q.npy")))
    return tuple(one.replace("/", ":") for one in changed)


def option(command: str, names: tuple[str, ...], draw: random.Random) -> list[str]:
    """One of the command's options with a value."""
    known = grammar().get(command) or grammar()["run"]
    one = draw.choice(known)
    spelling = draw.choice(one.spellings)
    if not one.takes_value:
        return [spelling]
    given = value(one, names, draw)
    return [f"{spelling}={given}"] if draw.random() < 0.1 and spelling.startswith("--") else [spelling, given]


def value(one: Option, names: tuple[str, ...], draw: random.Random) -> str:
    """Something that the option may take, or nearly."""
    if draw.random() < 0.04:
        return text(draw)
    if one.choices:
        return draw.choice((*one.choices, one.choices[0].upper(), "other"))
    for spelling in one.spellings:
        if spelling in WRITING:
            return draw.choice((*OUTPUTS, *names[:1]))
        if spelling in WORDS:
            return _often_good(WORDS[spelling], draw)
        if spelling in ("--weights-file", "--baseline"):
            return draw.choice((*names, "missing", "-"))
        if spelling in ("--q", "--k", "--v"):
            return draw.choice((*names, *NAMES, "layers.0.q"))
    if one.kind.startswith("float"):
        return _often_good(FLOATING, draw)
    return _often_good(SIZED if one.kind.startswith("int") else LISTS, draw)


def _often_good(values: tuple[str, ...], draw: random.Random) -> str:
    """One of the first few, which are such as people give, or any."""
    return draw.choice(values[:GOOD] if draw.random() < 0.6 else values)


def _known(spelling: str, command: str) -> Option | None:
    """The command's option of this spelling that takes a value."""
    options = grammar().get(command, ())
    return next((one for one in options if spelling in one.spellings and one.takes_value), None)


def _value_after(spelling: str, command: str, names: tuple[str, ...], draw: random.Random) -> str:
    """Another value of the option that stands before it; another file where none does."""
    one = _known(spelling, command)
    if one is not None:
        return value(one, names, draw)
    return draw.choice((*names, "missing.safetensors", str(draw.choice(INTEGERS))))
