"""Option values that mean nothing: no numbers, numbers that are no size, digits of other scripts, 10 to the 30th."""

import pytest
import typer
from safetensors.torch import save_file

from attn_cli.benchmark.plan import MOST_CASES
from attn_cli.commands.options import MOST_RUNS
from attn_cli.commands.parsing import MOST_SELECTED
from attn_cli.commands.typer_compat import is_numeric
from attn_cli.main import app
from tests.hostile.law import accepted, refused, refused_as_json, unharmed
from tests.hostile.test_values import heads
from tests.hostile.warm import warm

HUGE, ENDLESS = "1" + "0" * 30, "9" * 100_000
DIGITS = "found a number of 31 digits; expected 12 at most"
TOO_MANY = f"expected at most {MOST_SELECTED}"
ALIGN, RANGE, SIZE = "expected bottom-right, top-left or a", "expected a range such as", "expected a size"

RUN = {
    "--scale": {
        "": "expected a number", "x": "expected a number", "0x1": "expected a number", "nan": "expected a finite",
        "inf": "expected a finite", "-inf": "expected a finite", "1e400": "expected a finite", ENDLESS: "expected",
    },
    "--softcap": dict.fromkeys(("0", "-1", "nan", "inf"), "expected a finite number above 0"),
    "--mask-value": {"": "expected a number", "nan": "expected a number or -inf", "inf": "expected a number or -inf"},
    "--window": dict.fromkeys(
        ("", "-5", "1,-5", "1,2,3", "1.5", "nan", "1_0", "٣", HUGE, ENDLESS), "expected LEFT or LEFT,RIGHT"
    ),
    "--causal-align": dict.fromkeys(("", "x", "1.5", "nan", "1_0", "٣", HUGE, ENDLESS), ALIGN),
    "--query": {
        "": "found ''; expected numbers and ranges", "-1": "found '-1'", "1.5": "found '1.5'", "nan": "found 'nan'",
        "2-1": "expected the smaller number first", "1,": "found ''", "٣": "found '٣'", "²": "found '²'",
        "0x1": "found '0x1'", "1_0": "found '1_0'", HUGE: DIGITS, ENDLESS: "a number of 100000 digits",
        "0-99999999999": TOO_MANY, f"0-{MOST_SELECTED - 1},5": TOO_MANY, "3": "expected 0 to 2, of 3 query rows",
        "999999999999": "expected 0 to 2",
    },
    "--batch": {"-1": "found '-1'", "1": "expected 0 to 0, of 1 batch items", HUGE: DIGITS, "": "found ''"},
    "--head": {"-1": "found '-1'", "2": "expected 0 to 1, of 2 query heads", HUGE: DIGITS, "": "found ''"},
    "--step": {"-1": "found '-1'", "1": "no call in --step 1; expected one of the steps 0", HUGE: DIGITS},
    "--layer": {
        "": "expected a whole number", "1.5": "expected a whole number", "0": "no call in --layer 0",
        "-1": "no call in --layer -1", HUGE: "no call in --layer 1000", ENDLESS: "expected a whole number",
    },
    "--top": {"": "expected a whole number", "-1": "--top -1: expected a whole number from 0", ENDLESS: "from 0"},
    "--repeat": {
        "0": f"--repeat 0: expected a whole number from 1 to {MOST_RUNS}", "-1": "from 1 to", "1e3": "from 1 to",
        "1000000000000": f"--repeat 1000000000000: expected a whole number from 1 to {MOST_RUNS}",
    },
    "--num-heads": {"0": "expected a whole number from 1", "-3": "from 1", "1.5": "expected a whole", HUGE: "expected"},
    "--zoom": {
        "": "found 1 range; expected query rows and keys", "0:0,:": "which is empty", "1:0,:": "which is empty",
        "-1:,:": "found '-1:'", "x:,:": "found 'x:'", ":9,:": "expected a range within",
        ":,9:": "expected a range within", f"{HUGE}:,:": DIGITS, "٣:,:": "found '٣:'",
        ENDLESS: "expected query rows and keys",
    },
    "--valid-lens": {
        "": "found ''", "-1": "found '-1'", "1.5": "found '1.5'", "nan": "found 'nan'", "5": "found 5 at [0]",
        "1,2": "found shape (2,)", "1;2": "found shape (2, 1)", "1,2,3;1": "found rows of 3, 1 lengths",
        ";": "found ''", "٣": "found '٣'", HUGE: DIGITS, "1," * 50_000 + "1": "found shape (50001,)",
    },
    "--device": dict.fromkeys(("", "tpu", "meta", "cpu:-1", "cuda:99999999999999999999"), "no such device"),
    "--dtype": {"int8": "--dtype int8: expected one of float64, float32, bfloat16, float16"},
    "--metric": {"": "expected one of entropy", "a" * 100_000: "expected one of entropy"},
    "--figure-width": dict.fromkeys(("", "inf", "nan", "0", "-3", "1e9", "0_5", "٣", ENDLESS), "expected"),
    "--html-budget": {
        "": SIZE, "1e30": SIZE, "nan": SIZE, "-1MB": SIZE, "٣MB": SIZE, "0": "from 1 byte to 1 EiB",
        "999999999TB": "to 1 EiB",
    },
}  # fmt: skip
OTHERS = {
    ("explain", "--head"): {"0,1": "expected a whole number from 0", "2": "expected 0 to 1", HUGE: "expected 0 to 1"},
    ("explain", "--query"): {"3": "expected 0 to 2", "-1": "expected a whole number from 0"},
    ("explain", "--key"): {"4": "expected 0 to 3", "-1": "expected a whole number from 0", HUGE: "expected 0 to 3"},
    ("explain", "--top"): {"0": "expected a whole number from 1"},
    ("check", "--select"): {"": "expected codes", "a" * 100_000: "expected codes"},
    ("check", "--ignore"): {"ATTN": "no rule is left; expected at least one"},
    ("diff", "--atol"): {"nan": "expected a finite", "-1": "expected a number from 0", "inf": "expected a finite"},
    ("diff", "--rtol"): {"": "expected a number from 0", "1e400": "expected a finite"},
    ("diff", "--against-causal-align"): {"x": ALIGN, ENDLESS: ALIGN},
    ("bench", "--seq"): {
        "0": "expected whole numbers from 1", "": "expected whole numbers", HUGE: DIGITS,
        ",".join(map(str, range(1, MOST_CASES + 2))): f"{MOST_CASES + 1} combinations; expected at most {MOST_CASES}",
    },
    ("bench", "--min-time"): {"0": "expected seconds above 0", "nan": "expected seconds", "1e9": "at most 3600"},
    ("bench", "--backend"): {"": "expected a list of", "all,sdpa": "found 'all'"},
    ("bench", "--fail-on-regression"): dict.fromkeys(
        ("nan", "-5%", "1_0%", "0.0_5", "٣%"), "expected a percentage"
    ),
    ("demo", "--seed"): {"-1": "from 0 to 4294967295", "4294967296": "from 0 to 4294967295"},
    ("demo", "--batch"): {"0": "expected a whole number from 1"},
    ("demo", "--heads"): {"0": "from 1", "7": "expected numbers that divide", "5000": "expected at most"},
    ("demo", "--kv-heads"): {"0": "from 1", "3": "expected numbers that divide"},
    ("demo", "--queries"): {"0": "from 1"},
    ("demo", "--keys"): {"-1": "from 1"},
    ("demo", "--num-hiddens"): {"0": "from 1"},
    ("demo", "--valid-lens"): {"7,2": "found 7 at [0]; expected whole numbers from 0 to 6", "1": "found shape (1,)"},
    ("record", "--calls"): {"": RANGE, "x": RANGE, "5:2": "which is empty", "-1:": RANGE, f"{HUGE}:": DIGITS},
    ("record", "--heads"): {"-1": "expected numbers and ranges", "0-99999999": TOO_MANY},
    ("record", "--max-bytes"): {"0": "from 1 byte", "nan": SIZE, "-1": SIZE, "9" * 999: "from 1 byte"},
}  # fmt: skip
NUMERIC = sorted(
    (name, parameter.opts[0])
    for name, command in typer.main.get_command(app).commands.items()
    for parameter in command.params
    if is_numeric(parameter.type)
)
VALUED = {
    parameter.opts[-1]: name
    for name, command in typer.main.get_command(app).commands.items()
    for parameter in command.params
    if parameter.param_type_name == "option" and not parameter.is_flag
}  # each option, and one of the commands that have it
NO_NUMBERS = ("1_0", "٣", "0_1.5", "１", "²", "0x1", "1e", "1e1_0", ".", "1..0", "+-1", " 1", "1\n", "1.5j", "infinity")
BESIDE = {
    "run": ["x.safetensors"], "check": ["x.safetensors"], "diff": ["x.safetensors", "x.safetensors"],
    "explain": ["x.safetensors", "--head=0", "--query=0"],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a good file and a program in it."""
    made = tmp_path_factory.mktemp("options")
    save_file(heads(), made / "x.safetensors")
    (made / "program.py").write_text("raise SystemExit('this must not run')\n")
    return made


def check_refused(command, option, values, folder):
    own = [one for one in BESIDE.get(command, []) if not one.startswith(f"{option}=")]
    behind = ["program.py"] if command == "record" else []
    with unharmed(folder):
        for value, says in values.items():
            line = refused(warm(command, *own, f"{option}={value}", *behind, cwd=folder), says=says)
            assert len(line) < 900, line


@pytest.mark.parametrize("option", RUN)
def test_a_value_that_means_nothing_is_refused(option, folder):
    check_refused("run", option, RUN[option], folder)


@pytest.mark.parametrize("command", sorted({command for command, _ in OTHERS}))
def test_so_it_is_by_every_command(command, folder):
    for (of, option), values in OTHERS.items():
        if of == command:
            check_refused(command, option, values, folder)


def test_the_numeric_options_are_found():
    assert {("run", "--scale"), ("diff", "--atol"), ("demo", "--seed"), ("bench", "--min-time")} <= set(NUMERIC)


@pytest.mark.parametrize(("command", "option"), NUMERIC)
def test_a_number_is_written_in_plain_digits(command, option, folder):
    values = NO_NUMBERS if (command, option) in (("run", "--scale"), ("run", "--top")) else NO_NUMBERS[:2]
    check_refused(command, option, dict.fromkeys(values, "number"), folder)


@pytest.mark.parametrize("command", sorted(set(VALUED.values())))
def test_no_option_takes_the_next_one_for_its_value(command, folder):
    """As in ``--prefix --json``, where the value was forgotten: it is told as a document, too."""
    says = "expected a value, found an option"
    with unharmed(folder):
        for option in (option for option, of in VALUED.items() if of == command):
            if command == "record":  # tells no document
                ended = warm(command, option, "--stats", "program.py", cwd=folder)
                refused(ended, names=f"{option} --stats: ", says=says)
            else:
                ended = warm(command, *BESIDE.get(command, []), option, "--json", cwd=folder)
                refused_as_json(ended, command, names=f"{option} --json: ", says=says)


@pytest.mark.parametrize("value", ["--", "--help", "--version", "--top", "--top=3", "--html=o.html"])
def test_so_it_is_with_whatever_is_no_value(value, folder):
    for given in (("--prefix", value), (f"--prefix={value}",)):
        refused(warm("run", "x.safetensors", *given, cwd=folder), names=f"--prefix {value}: ", says="found an option")


def test_what_stands_behind_two_dashes_is_a_file(folder):
    refused(warm("run", "--", "--json", cwd=folder), names="--json: ", says="no such file")
    for line in (("run", "--json", "--", "--traceback"), ("--", "run", "--json", "--", "--traceback")):
        refused_as_json(warm(*line, cwd=folder), "run", names="--traceback: ", says="no such file")


@pytest.mark.parametrize("value", ["2", "+2", "2.", "2.0", "+.2e1", "2E+0", "20e-1"])
def test_every_plain_way_to_write_a_number_is_taken(value, folder):
    found = accepted(warm("run", "x.safetensors", f"--scale={value}", "--json", cwd=folder)).json
    assert {"name": "scale", "value": "2", "origin": "--scale"} in found["data"]["input"]["conventions"]


@pytest.mark.parametrize(
    ("option", "value"), [("--scale", "nan"), ("--window", "-5"), ("--top", "-1"), ("--head", HUGE)]
)
def test_with_json_it_is_a_document(option, value, folder):
    ended = warm("run", "x.safetensors", f"{option}={value}", "--json", cwd=folder)
    assert refused_as_json(ended, "run", names=option)["error"]["code"] == "usage"


@pytest.mark.parametrize(
    "given",
    [
        ("--scale=0",), ("--scale=-1",), ("--scale=1e30",), ("--softcap=1e-30",), ("--mask-value=-inf",),
        ("--mask-value=0", "--valid-lens=2"), ("--window=-1",), ("--window=0,999999999999",), ("--window=0",),
        ("--causal", "--causal-align=-5"), ("--causal", "--causal-align=999999999999"), (f"--top={HUGE}",),
        ("--head=1,0,1", "--query=0-2", "--top=0"), ("--zoom=1:,:2", "--valid-lens=1,2,3;", "--repeat=1"),
    ],
)  # fmt: skip
def test_a_value_at_the_edge_is_taken_as_it_is(given, folder):
    found = accepted(warm("run", "x.safetensors", *given, "--json", cwd=folder)).json
    assert found["status"] in ("ok", "findings")


def test_a_scale_of_0_gives_uniform_weights(folder):
    found = accepted(warm("run", "x.safetensors", "--scale=0", "--json", "--weights", cwd=folder)).json
    assert {weight for head in found["data"]["weights"][0] for row in head for weight in row} == {0.25}
