"""What ``torch.compile`` makes of a program that is recorded is, node by node, what it makes of the program plainly."""

import json
import subprocess
import sys

from tests.cli.process import ROOT, environment

PROGRAM = """
import json, sys
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

graphs = []

def described(target):
    if isinstance(target, str):
        return target
    return [type(target).__name__, getattr(target, "__module__", ""), getattr(target, "__qualname__", str(target))]

def backend(graph_module, _examples):
    for name, part in graph_module.named_modules():
        if isinstance(part, torch.fx.GraphModule):
            nodes = [[node.op, described(node.target), str(node.args), str(node.kwargs)] for node in part.graph.nodes]
            graphs.append([name, nodes])
    return graph_module

def attend(x):
    return F.scaled_dot_product_attention(x, x, x, is_causal=True)

def attend_by_its_other_name(x):
    return torch._C._nn.scaled_dot_product_attention(x, x, x)

def flex(x):
    return flex_attention(x, x, x, score_mod=lambda score, b, h, i, j: score + i - j)

torch.manual_seed(0)
heads = nn.MultiheadAttention(8, 2, batch_first=True)
encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 8, 0.0, batch_first=True), 1)

def run(function, *inputs, **given):
    for dynamic in (False, True):
        torch._dynamo.reset()
        compiled = torch.compile(function, backend=backend, fullgraph=True, dynamic=dynamic)
        result = compiled(*inputs, **given)
        result = result[0] if isinstance(result, tuple) else result
        graphs.append(["result", result.detach().flatten().tolist()])

x, four, hidden = torch.randn(2, 3, 8), torch.randn(2, 2, 16, 16), torch.tensor([[0, 0, 1], [0, 1, 1]]).bool()
run(heads, x, x, x, key_padding_mask=hidden)
run(heads, x, x, x, need_weights=False, key_padding_mask=hidden)
run(heads, x, x, x, need_weights=False, attn_mask=torch.ones(3, 3).triu(1).bool(), is_causal=True)
run(encoder, x, src_key_padding_mask=hidden)
run(attend, four)
run(attend_by_its_other_name, four)
run(flex, four)
json.dump(graphs, open(sys.argv[1], "w"))
"""


def graphs(folder, name, *before):
    """The graphs that the program makes, and what attn says beside it."""
    program, out = folder / "program.py", folder / f"{name}.json"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, *before, str(program), str(out)],
        cwd=folder, env=environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text()), done.stderr


def test_graphs_are_whole_and_the_same_node_by_node(tmp_path):
    plain, _ = graphs(tmp_path, "plain")
    record = ("-m", "attn_cli", "record", "-o", str(tmp_path / "calls.safetensors"))
    recorded, said = graphs(tmp_path, "recorded", *record)
    assert recorded == plain
    assert len(plain) >= 28
    assert "attn: recorded" in said
