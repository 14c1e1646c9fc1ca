"""Valid files and command lines that the fuzzer starts from, made by the formats' own writers. All are small."""

import io
import json
from collections.abc import Iterator
from functools import cache

import numpy as np
import torch
from safetensors.torch import save

from attn_cli.benchmark.environment import describe
from tests.fuzz.case import STDIN, Case

INDEX = "model.safetensors.index.json"
SHARD = "shard.safetensors"
TOKENS = [["a", "b [red]", "", "\u202e\x1b[31mx"], ["[/INST]", ":smile:", "\u200b", "漢"]]


def heads(batch: int = 2, kv: int = 2, queries: int = 3, keys: int = 4, prefix: str = "") -> dict[str, torch.Tensor]:
    """Q, K and V with two features."""
    draw = torch.Generator().manual_seed(0)
    sizes = {"q": (batch, 2, queries, 2), "k": (batch, kv, keys, 2), "v": (batch, kv, keys, 2)}
    return {f"{prefix}{name}": torch.randn(size, generator=draw) for name, size in sizes.items()}


def module(width: int = 4) -> dict[str, torch.Tensor]:
    """Hidden states and the weights of a module with two heads."""
    draw = torch.Generator().manual_seed(1)
    names = [f"self_attn.{one}_proj.weight" for one in "qkvo"]
    weights = {name: torch.randn(width, width, generator=draw) for name in names}
    return {"hidden_states": torch.randn(1, 3, width, generator=draw), **weights}


def _masked() -> dict[str, torch.Tensor]:
    return {
        **heads(),
        "mask": torch.tensor([[True, True, False, True]] * 3),
        "bias": torch.zeros(1, 2, 3, 4),
        "sinks": torch.zeros(2),
        "valid_lens": torch.tensor([3, 0]),
        "token_ids": torch.tensor([[1, 2, 1, 3]] * 2),
        "output": torch.zeros(2, 2, 3, 2),
    }


def _layers() -> dict[str, torch.Tensor]:
    return {**heads(1, prefix="layers.0."), **heads(1, prefix="steps.1.layers.0."), **heads(1, prefix="layers.1.")}


METADATA = {
    "scale": "0.5", "causal": "true", "causal_align": "bottom-right", "window": "2,0", "softcap": "30.0",
    "mask_value": "-1e6", "tokens": json.dumps(TOKENS), "num_heads": "2", "layout": "bhsd",
}  # fmt: skip
RECORDED = {
    "schema": "attn.capture/1", "program": "train.py", "layers.0.scale": "0.7", "layers.0.causal": "false",
    "layers.0.heads": "[0, 3]", "layers.0.total_heads": "4",
    "layers.0.call": json.dumps({"number": 0, "step": 0, "module": "layers.0", "function": "f", "dropout": 0.1}),
}  # fmt: skip


def _npz(values: dict[str, torch.Tensor], **more: object) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **{name: x.numpy() for name, x in values.items()}, **more)  # type: ignore[arg-type]
    return stream.getvalue()


def _compressed(values: dict[str, torch.Tensor]) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **{name: x.numpy() for name, x in values.items()})
    return stream.getvalue()


def _npy(value: torch.Tensor) -> bytes:
    stream = io.BytesIO()
    np.save(stream, value.numpy())
    return stream.getvalue()


def _pt(value: object, *, is_zip: bool = True) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=is_zip)
    return stream.getvalue()


def _tokenizer(model: dict[str, object], decoder: object = None) -> bytes:
    parts = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor")
    added = {"id": 4, "content": "<s>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
             "special": True}  # fmt: skip
    found = {"version": "1.0", "added_tokens": [added], **dict.fromkeys(parts), "decoder": decoder, "model": model}
    return json.dumps(found).encode()


VOCABULARY = {"[UNK]": 0, "a": 1, "##b": 2, "▁c": 3}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
TOKENIZERS = {
    "tokenizer.json": _tokenizer({"type": "WordLevel", "vocab": VOCABULARY, "unk_token": "[UNK]"}),
    "tokenizer_bytes.json": _tokenizer(
        {"type": "BPE", "vocab": {"a": 0, "Ġ": 1, "Ġa": 2, "Ã": 3}, "merges": ["Ġ a"]}, BYTES
    ),
    "tokenizer_scores.json": _tokenizer({"type": "Unigram", "unk_id": 0, "vocab": [["[UNK]", 0.0], ["▁a", -1.5]]}),
}
STATS = {
    "schema": "attn.record/1", "number": 0, "step": 0, "layer": 0, "module": "layers.0", "root": "M", "heads": [],
}  # fmt: skip


def _index() -> bytes:
    return json.dumps({"metadata": {"total_size": 9}, "weight_map": dict.fromkeys(module(), SHARD)}).encode()


def _baseline() -> bytes:
    environment = describe(torch.device("cpu"), 0)  # another is refused before anything is compared
    ms = {"median": 1.0, "iqr": 0.1, "min": 0.9, "samples": [0.9, 1.0, 1.1]}
    shape = {"batch": 1, "heads": 1, "kv_heads": 1, "queries": 2, "keys": 2, "head_dim": 2}
    case = {**shape, "dtype": "float32", "causal": False, "mode": "forward"}
    result = {"backend": "sdpa", "status": "ok", **case, "ms": ms, "yardstick_ms": 1.0}
    data = {"environment": environment, "results": [result]}
    return json.dumps({"schema": "attn.bench/1", "data": data}).encode()


@cache
def files() -> dict[str, tuple[tuple[str, bytes], ...]]:
    """By a word for it, a file and those that it needs beside it."""
    nested = {"layers": [heads(1), {"q": torch.eye(2)}], "scale": 0.5, "tokens": ["a", "b"], 3: torch.ones(1)}
    single = {
        "heads.safetensors": save(heads(kv=1)),
        "masked.safetensors": save(_masked(), METADATA),
        "module.safetensors": save(module()),
        "recording.safetensors": save(_layers(), RECORDED),
        "half.safetensors": save({name: x.bfloat16() for name, x in heads(1).items()}),
        "heads.npz": _npz(heads(), scale=0.5, tokens=np.array(["a", "b"])),
        "masked.npz": _compressed(_masked()),
        "heads.pt": _pt(heads(1)),
        "nested.pt": _pt(nested),
        "legacy.pt": _pt(heads(1), is_zip=False),
        "q.npy": _npy(heads()["q"]),
        "tokens.json": json.dumps(TOKENS).encode(),
        "ids.json": json.dumps([[1, 2, 3, 4]] * 2).encode(),
        **TOKENIZERS,
        "stats.jsonl": 2 * (json.dumps(STATS).encode() + b"\n"),
        "baseline.json": _baseline(),
    }
    return {name: ((name, content),) for name, content in single.items()} | {
        INDEX: ((INDEX, _index()), (SHARD, save(module())))
    }


def reading() -> Iterator[Case]:
    """What the readers start from."""
    for several in files().values():
        yield Case((), several)


def commands() -> Iterator[Case]:
    """What the command line starts from."""
    tensors = [name for name in files() if not name.endswith((".json", ".npy"))]
    for name in tensors:
        named = ("--num-heads", "2") if name in ("module.safetensors", INDEX) else ()
        for command in ("run", "check"):
            yield Case((command, name, "--json", *named), files()[name])
        yield Case(("run", name, *named), files()[name])
    one = files()["heads.safetensors"]
    masked, module_file = files()["masked.safetensors"], files()["module.safetensors"]
    ids = files()["ids.json"]
    npy = tuple((f"{role}.npy", _npy(x)) for role, x in heads().items())
    tokenizer = (*masked, *files()["tokenizer.json"])
    hidden = (("hidden.safetensors", save({"hidden_states": module()["hidden_states"]})), *files()[INDEX])
    bshd = (("bshd.pt", _pt({name: x.transpose(1, 2).contiguous() for name, x in heads().items()})),)
    program = (("x.py", b"pass\n"),)
    recording, stats = files()["recording.safetensors"], files()["stats.jsonl"]
    other = (("other.safetensors", recording[0][1]),)
    named = f"--weights-file {INDEX} --prefix self_attn --num-heads 2"
    for line, given in (
        ("run masked.safetensors --json --weights --similarity --top 3", masked),
        ("run heads.safetensors --json --weights --causal --window 1,1 --softcap 2 --scale -1", one),
        ("run heads.safetensors --weights --save out.safetensors --zoom 0:2,1:", one),
        ("run heads.safetensors --batch 0 --head 1 --query 0-1 --dtype float16 --backend math", one),
        ("run recording.safetensors --layer 0 --step 0 --metric entropy --sort high", files()["recording.safetensors"]),
        ("run module.safetensors --num-heads 2 --json --weights --html out.html", module_file),
        (f"run hidden.safetensors --weights-file {INDEX} --prefix self_attn --num-heads 2 --json", hidden),
        ("run --q q.npy --k k.npy --v v.npy --valid-lens 3,2 --json --weights", npy),
        ("run masked.safetensors --tokens tokens.json", (*masked, *files()["tokens.json"])),
        ("run masked.safetensors --tokens token_ids --tokenizer tokenizer.json --json", tokenizer),
        ("run heads.safetensors --tokens ids.json --tokenizer tokenizer.json", (*one, *tokenizer[1:], *ids)),
        ("run bshd.pt --layout bshd --mask-polarity drop --mask-value -1e6 --json --weights", bshd),
        ("check masked.safetensors --strict --select ATTN001,ATTN01 --ignore ATTN005 --json", masked),
        ("check --rule ATTN003", ()),
        ("diff heads.safetensors heads.npz --json", (*one, *files()["heads.npz"])),
        ("diff heads.safetensors --backend sdpa --against textbook --atol 1e-6 --rtol 0", one),
        ("diff masked.safetensors --against recorded --json", masked),
        ("diff heads.pt --causal --against-causal-align top-left", files()["heads.pt"]),
        ("explain masked.safetensors --head 1 --query 2 --key 1 --json", masked),
        ("explain heads.safetensors --head 0 --query 0 --batch 1 --top 2", one),
        (f"explain hidden.safetensors {named} --head 1 --query 0 --json", hidden),
        ("explain recording.safetensors --layer 0 --step 1 --head 1 --query 0", recording),
        (f"explain {INDEX} --num-heads 2 --head 0 --query 0 --key 0", files()[INDEX]),
        (f"check hidden.safetensors {named} --json", hidden),
        (f"check {INDEX} heads.safetensors --num-heads 2 --html out.html", (*files()[INDEX], *one)),
        (f"diff hidden.safetensors {named} --against textbook --json", hidden),
        (f"diff hidden.safetensors hidden.safetensors {named}", hidden),
        (f"diff {INDEX} module.safetensors --num-heads 2", (*files()[INDEX], *module_file)),
        ("diff recording.safetensors other.safetensors --step 0 --html out.html --json", (*recording, *other)),
        ("check masked.safetensors --tokens tokens.json --html out.html", (*masked, *files()["tokens.json"])),
        ("run masked.safetensors --tokens token_ids --tokenizer tokenizer_bytes.json",
         (*masked, *files()["tokenizer_bytes.json"])),
        ("explain masked.safetensors --head 0 --query 0 --tokens token_ids --tokenizer tokenizer_scores.json",
         (*masked, *files()["tokenizer_scores.json"])),
        ("run stats.jsonl --json", stats),
        ("diff heads.safetensors stats.jsonl", (*one, *stats)),
        ("run - --json --weights", ((STDIN, one[0][1]),)),
        ("check -", ((STDIN, masked[0][1]),)),
        ("diff heads.safetensors - --json", (*one, (STDIN, files()["heads.npz"][0][1]))),
        ("explain - --head 0 --query 0", ((STDIN, files()["heads.pt"][0][1]),)),
        ("run hidden.safetensors --weights-file - --num-heads 2 --prefix self_attn",
         (hidden[0], (STDIN, module_file[0][1]))),
        ("demo --json --weights --seed 3 --valid-lens random", ()),
        ("demo --batch 1 --heads 2 --num-hiddens 4 --queries 2 --keys 3 --steps", ()),
        ("demo --batch 1 --heads 4 --kv-heads 2 --num-hiddens 8 --causal --save out.safetensors", ()),
        ("record --layers * --calls 1:2 --heads 0,1 --max-bytes 1MB --dtype float32 -o out.bin x.py 1", program),
        ("record --stats --quiet x.py", program),
        ("record -m x", ()),
        ("schema run", ()),
        ("schema diff", ()),
        ("run --help", ()),
    ):  # fmt: skip
        yield Case(tuple(line.split()), given)


def bench() -> Iterator[Case]:
    """What ``attn bench`` starts from; none of it is timed for long."""
    lists = "--seq 2,3 --queries 2 --batch 1 --heads 2 --kv-heads 1 --head-dim 2 --dtype float32"
    given = files()["baseline.json"]
    for line in (
        "bench --seq 2 --heads 1 --head-dim 2 --backend sdpa --min-time 0.001 --json",
        f"bench {lists} --backend math,textbook --min-time 0.001 --mode backward --causal --csv",
        "bench --baseline baseline.json --fail-on-regression 5% --seq 2 --heads 1 --head-dim 2 --min-time 0.001 --json",
        "bench --markdown --device cuda --backend all",
        "bench --save out.json --seq 0",
    ):
        yield Case(tuple(line.split()), given)
