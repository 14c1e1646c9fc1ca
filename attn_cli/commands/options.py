"""The options that commands share, each declared once."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import typer

READING = "How to read the file"
RULES = "How to attend"
SELECTING = "What to look at"
RUNNING = "How to run"
OUTPUT = "Output"
CASES = "What to compute"
MEASURING = "How to measure"

LONGEST_SECONDS = 3600.0
MOST_RUNS = 1_000_000
Form = Literal["table", "json", "csv", "markdown"]


class Dtype(StrEnum):
    """The dtypes that a call can be run in."""

    float64 = "float64"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class BackendName(StrEnum):
    """The backends that a call can be run by."""

    auto = "auto"
    textbook = "textbook"
    sdpa = "sdpa"
    flash = "flash"
    efficient = "efficient"
    cudnn = "cudnn"
    math = "math"
    flex = "flex"


class ModeName(StrEnum):
    """The passes that can be timed."""

    forward = "forward"
    backward = "backward"


class SortName(StrEnum):
    """Which heads come first in a ranking."""

    high = "high"
    low = "low"


class Layout(StrEnum):
    """The order of the axes of four-axis Q, K and V."""

    bhsd = "bhsd"
    bshd = "bshd"


class Polarity(StrEnum):
    """What True means in a boolean mask."""

    keep = "keep"
    drop = "drop"


File = Annotated[
    str | None,
    typer.Argument(metavar="[FILE]", help="A .safetensors, .npz or .pt file, or - for the bytes of one on stdin."),
]
Q = Annotated[
    str | None,
    typer.Option(
        "--q", metavar="NAME", help="Q's name in FILE, or an .npy file without FILE.", rich_help_panel=READING
    ),
]
K = Annotated[
    str | None,
    typer.Option(
        "--k", metavar="NAME", help="K's name in FILE, or an .npy file without FILE.", rich_help_panel=READING
    ),
]
V = Annotated[
    str | None,
    typer.Option(
        "--v", metavar="NAME", help="V's name in FILE, or an .npy file without FILE.", rich_help_panel=READING
    ),
]
WeightsFile = Annotated[
    str | None,
    typer.Option(
        "--weights-file",
        metavar="FILE",
        help="A file with the projection weights (or a sharded checkpoint's .index.json).",
        rich_help_panel=READING,
    ),
]
Prefix = Annotated[
    str | None,
    typer.Option(
        "--prefix",
        metavar="P",
        help="What stands before the tensors' names, e.g. model.layers.3.self_attn.",
        rich_help_panel=READING,
    ),
]
Layer = Annotated[
    int | None,
    typer.Option(
        "--layer", metavar="N", help="The layer to read, of a file that holds several.", rich_help_panel=READING
    ),
]
NumHeads = Annotated[
    int | None,
    typer.Option(
        "--num-heads", min=1, help="Query heads, where Q is (B, S, H·D) or is projected here.", rich_help_panel=READING
    ),
]
NumKvHeads = Annotated[
    int | None,
    typer.Option("--num-kv-heads", min=1, help="Key/value heads, where they are fewer.", rich_help_panel=READING),
]
LayoutOption = Annotated[
    Layout | None,
    typer.Option(
        "--layout", help="Axes of Q, K and V: (B, H, S, D), the default, or (B, S, H, D).", rich_help_panel=READING
    ),
]
MaskPolarity = Annotated[
    Polarity | None,
    typer.Option(
        "--mask-polarity",
        help="True in a mask: keep = may attend (scaled_dot_product_attention), the default, or drop = hidden "
        "(nn.MultiheadAttention).",
        rich_help_panel=READING,
    ),
]
ValidLens = Annotated[
    str | None,
    typer.Option(
        "--valid-lens",
        metavar="LENS",
        help="Valid lengths: 3,2 (a batch item each) or 1,2,3;2,2,2 (a query each).",
        rich_help_panel=RULES,
    ),
]
DrawnValidLens = Annotated[
    str | None,
    typer.Option(
        "--valid-lens", metavar="LENS", help="Valid lengths: 3,2 · 1,2,3;2,2,2 · random.", rich_help_panel=RULES
    ),
]
Causal = Annotated[
    bool | None,
    typer.Option("--causal/--no-causal", help="A query sees no key after its own place.", rich_help_panel=RULES),
]
CausalAlign = Annotated[
    str | None,
    typer.Option(
        "--causal-align",
        metavar="WHERE",
        help="bottom-right (last query on last key), top-left (first on first), or N (query i on key i + N).",
        rich_help_panel=RULES,
    ),
]
Window = Annotated[
    str | None,
    typer.Option(
        "--window",
        metavar="LEFT[,RIGHT]",
        help="Keys kept left and right of a query's place, itself not counted; -1 is all.",
        rich_help_panel=RULES,
    ),
]
Scale = Annotated[
    float | None, typer.Option("--scale", help="Factor on Q·Kᵀ. \\[default: 1/√D]", rich_help_panel=RULES)
]
Softcap = Annotated[
    float | None, typer.Option("--softcap", help="c of c·tanh(logits/c), before bias and mask.", rich_help_panel=RULES)
]
MaskValue = Annotated[
    float | None,
    typer.Option(
        "--mask-value",
        help="What a hidden logit becomes, e.g. -1e6 as in d2l. \\[default: -inf]",
        rich_help_panel=RULES,
    ),
]
Batch = Annotated[
    str | None, typer.Option("--batch", metavar="LIST", help="Batch items, such as 0,3-5.", rich_help_panel=SELECTING)
]
Head = Annotated[
    str | None, typer.Option("--head", metavar="LIST", help="Query heads, such as 0,3-5.", rich_help_panel=SELECTING)
]
Query = Annotated[
    str | None, typer.Option("--query", metavar="LIST", help="Query rows, such as 0,3-5.", rich_help_panel=SELECTING)
]
Zoom = Annotated[
    str | None,
    typer.Option(
        "--zoom",
        metavar="Q0:Q1,K0:K1",
        help="The window that pictures show: query rows Q0 to Q1 - 1, keys K0 to K1 - 1; an end may be left out.",
        rich_help_panel=SELECTING,
    ),
]
Top = Annotated[
    int,
    typer.Option(
        "--top", min=0, metavar="K", help="Strongest query → key pairs of each head.", rich_help_panel=SELECTING
    ),
]
Similarity = Annotated[
    bool, typer.Option("--similarity", help="Jensen-Shannon divergence between all heads.", rich_help_panel=SELECTING)
]
Metric = Annotated[
    str | None,
    typer.Option(
        "--metric",
        metavar="NAME",
        help="The metric to show above all, such as entropy: of several layers as a layer × head table.",
        rich_help_panel=SELECTING,
    ),
]
Sort = Annotated[
    SortName | None,
    typer.Option(
        "--sort",
        help="Rank the heads by --metric, the highest or the lowest first: of all layers, or the rows of one call.",
        rich_help_panel=SELECTING,
    ),
]
Device = Annotated[
    str, typer.Option("--device", metavar="auto|cpu|cuda[:N]|mps", help="Where to run.", rich_help_panel=RUNNING)
]
DtypeOption = Annotated[
    Dtype | None,
    typer.Option("--dtype", help="Convert to this dtype first. \\[default: the file's]", rich_help_panel=RUNNING),
]
DrawnDtype = Annotated[Dtype, typer.Option("--dtype", help="The dtype of the tensors.", rich_help_panel=RUNNING)]
Backend = Annotated[
    BackendName,
    typer.Option(
        "--backend", help="What computes the output that the weights are checked against.", rich_help_panel=RUNNING
    ),
]
Repeat = Annotated[
    int | None,
    typer.Option(
        "--repeat",
        min=1,
        max=MOST_RUNS,
        metavar="N",
        help="Timed runs, at most 1,000,000. \\[default: up to 5, in a quarter of a second]",
        rich_help_panel=RUNNING,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="One JSON document on stdout and nothing else.", rich_help_panel=OUTPUT)
]
Weights = Annotated[
    bool,
    typer.Option(
        "--weights", help="Put the full weights of the selection into --json and --save.", rich_help_panel=OUTPUT
    ),
]
JsonWeights = Annotated[
    bool, typer.Option("--weights", help="Put the full weights into --json.", rich_help_panel=OUTPUT)
]
Save = Annotated[
    str | None,
    typer.Option(
        "--save",
        metavar="OUT.safetensors",
        help="Write output, lse (weights, projected) to a file.",
        rich_help_panel=OUTPUT,
    ),
]
BenchDevice = Annotated[
    str, typer.Option("--device", metavar="auto|cpu|cuda[:N]|mps", help="Where to run.", rich_help_panel=MEASURING)
]
BenchDtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="LIST",
        help="Dtypes, such as float32,bfloat16. \\[default: float32; on a GPU bfloat16]",
        rich_help_panel=CASES,
    ),
]
BenchBatch = Annotated[
    str | None,
    typer.Option(
        "--batch", metavar="LIST", help="Batch sizes, such as 1,4. \\[default: 1; on a GPU 4]", rich_help_panel=CASES
    ),
]
BenchHeads = Annotated[
    str | None,
    typer.Option(
        "--heads", metavar="LIST", help="Query heads, such as 8,32. \\[default: 8; on a GPU 16]", rich_help_panel=CASES
    ),
]
BenchKvHeads = Annotated[
    str | None,
    typer.Option("--kv-heads", metavar="LIST", help="Key/value heads. \\[default: --heads]", rich_help_panel=CASES),
]
BenchHeadDim = Annotated[
    str | None,
    typer.Option(
        "--head-dim", metavar="LIST", help="Features of a head. \\[default: 64; on a GPU 128]", rich_help_panel=CASES
    ),
]
BenchSeq = Annotated[
    str | None,
    typer.Option(
        "--seq",
        metavar="LIST",
        help="Keys, and as many queries. \\[default: 512,1024,2048; on a GPU 1024,2048,4096,8192]",
        rich_help_panel=CASES,
    ),
]
BenchQueries = Annotated[
    str | None,
    typer.Option("--queries", metavar="LIST", help="Queries, where they are not --seq.", rich_help_panel=CASES),
]
BenchCausal = Annotated[
    bool | None,
    typer.Option(
        "--causal/--no-causal",
        help="A query sees no key after its own place, the last query the last key. \\[default: on a GPU]",
        rich_help_panel=CASES,
    ),
]
BenchMode = Annotated[
    ModeName, typer.Option("--mode", help="The pass that is timed, and that alone.", rich_help_panel=CASES)
]
BenchBackends = Annotated[
    str,
    typer.Option(
        "--backend",
        metavar="all|LIST",
        help="Such as sdpa,flash,textbook; attn devices lists those that run here.",
        rich_help_panel=MEASURING,
    ),
]
MinTime = Annotated[
    float | None,
    typer.Option(
        "--min-time",
        metavar="SECONDS",
        help="Seconds of timed runs for each backend and case. \\[default: 0.5]",
        rich_help_panel=MEASURING,
    ),
]
BenchCsv = Annotated[
    bool, typer.Option("--csv", help="CSV on stdout, a line a result, and nothing else.", rich_help_panel=OUTPUT)
]
BenchMarkdown = Annotated[
    bool, typer.Option("--markdown", help="Markdown on stdout and nothing else.", rich_help_panel=OUTPUT)
]
BenchSave = Annotated[
    str | None,
    typer.Option(
        "--save", metavar="FILE.json", help="Write the document of --json, to be a baseline.", rich_help_panel=OUTPUT
    ),
]
Baseline = Annotated[
    str | None,
    typer.Option("--baseline", metavar="FILE", help="Compare with what --save wrote.", rich_help_panel=MEASURING),
]
FailOnRegression = Annotated[
    str | None,
    typer.Option(
        "--fail-on-regression",
        metavar="PERCENT",
        help="Exit with 1 where something is slower than --baseline by more than this, e.g. 5%, or not right any more.",
        rich_help_panel=MEASURING,
    ),
]
