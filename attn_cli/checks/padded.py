"""Where a batch is padded, as far as its token ids or its keys show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attn_cli.checks.evidence import Evidence
from attn_cli.checks.patterns import all_rules

FEWEST_ALONE = 4  # a text may well end in the same token thrice
FEWEST_BESIDE = 3  # with another item that does not end so: perhaps padding
USUAL_ID = 0  # what BERT, T5 and most vocabularies with a token of their own for it pad with
SMALLEST_DIM = 4  # keys of fewer numbers may be the same by chance


@dataclass(frozen=True)
class Padding:
    """Keys of one batch item that are padding.

    Attributes:
        first, size: where they begin and how many there are.
        sign: what shows it.
        is_certain: False where it may as well be a token that the text repeats.
        is_unwritten: True of keys of zeros, as in a cache that is not yet full: no query stands there.
    """

    first: int
    size: int
    sign: str
    is_certain: bool = True
    is_unwritten: bool = False

    @property
    def text(self) -> str:
        """``"ends with 3 keys of padding (token id 0)"``."""
        where = "begins" if self.first == 0 else "ends"
        return f"{where} with {self.size} key{'s' * (self.size > 1)} of padding ({self.sign})"


def padding_of(evidence: Evidence) -> dict[int, Padding]:
    """The padding of each item of the selection that has some, by its number in the selection."""
    tokens = evidence.call.inputs.token_ids
    if tokens is not None:
        whole = _by_tokens(tokens.cpu(), lambda: _hidden_keys(evidence))
        items = enumerate(evidence.index.batch)
        return {item: whole[number] for item, number in items if number in whole}
    return _by_keys(evidence.inputs.k)


def _hidden_keys(evidence: Evidence) -> Tensor:
    """The keys that masks, biases and valid lengths hide from every query and head, ``(B or 1, Sk)`` bool."""
    mask = replace(evidence.call.inputs.rules.mask, causal=False, window=None)
    return ~all_rules(mask, evidence.patterns).visible.keys.any(dim=1)


def _by_tokens(tokens: Tensor, hidden: Callable[[], Tensor]) -> dict[int, Padding]:
    """By an id that stands in runs at one end of the items and nowhere else: ``(B, Sk)``.

    A text may repeat a token, as greedy decoding does for long. It is padding for certain where items of different
    lengths end so, where the program's own mask hides it in some item, or where it is what most vocabularies pad with.

    Args:
        tokens: ``(B, Sk)``.
        hidden: asked at most once an id, for the keys that nobody sees, ``(B or 1, Sk)``.
    """
    keys = tokens.shape[1]
    for flipped in (False, True):
        ids = tokens.flip(-1) if flipped else tokens
        for pad in torch.unique(ids[:, -1]).tolist():
            is_pad = ids == pad
            runs = is_pad.flip(-1).to(torch.int64).cumprod(dim=-1).sum(dim=-1)  # (B,) at the end
            is_there_alone = bool((is_pad.sum(dim=-1) == runs).all())
            if is_there_alone and _may_be_padding(runs, keys):
                is_usual = pad == USUAL_ID and int(runs.max()) >= FEWEST_ALONE
                is_certain = _is_in_several(runs) or is_usual or bool((is_pad & _ends(hidden(), flipped)).any())
                runs = runs - 1 if int(runs.min()) == 1 else runs  # the token that ends each text also pads
                sign = f"token id {pad}"
                return {
                    item: Padding(0 if flipped else keys - size, size, sign, is_certain)
                    for item, size in enumerate(runs.tolist())
                    if size
                }
    return {}


def _ends(hidden: Tensor, flipped: bool) -> Tensor:
    return hidden.flip(-1) if flipped else hidden


def _is_in_several(runs: Tensor) -> bool:
    """Whether several items end in runs, of lengths ``(B,)`` that are not all the same."""
    return int((runs >= 2).sum()) >= 2 and len(torch.unique(runs)) > 1


def _is_padding(runs: Tensor) -> bool:
    """Whether keys in runs of these lengths ``(B,)`` at the end of items are padding."""
    return int(runs.max()) >= FEWEST_ALONE or _is_in_several(runs)


def _may_be_padding(runs: Tensor, keys: int) -> bool:
    """The same, where a run of three in one of several items will do."""
    longest = int(runs.max())
    is_beside = longest >= FEWEST_BESIDE and len(torch.unique(runs)) > 1
    return longest < keys and (is_beside or _is_padding(runs))


def _by_keys(k: Tensor) -> dict[int, Padding]:
    """By keys that are the same, bit for bit, in all heads and to the end; all zeros are padding for certain."""
    keys = k.shape[2]
    found: dict[int, Padding] = {}
    for flipped in (False, True):
        rows = k.flip(2) if flipped else k
        runs = torch.stack([_run_at_end(item) for item in rows])
        is_zero = (rows[:, :, -1] == 0).all(dim=-1).all(dim=-1)  # (B,)
        is_likely = k.shape[3] >= SMALLEST_DIM and _may_be_padding(runs, keys)
        is_certain = is_zero | _is_padding(runs)
        for item, size in enumerate(runs.tolist()):
            if 1 < size < keys and (is_likely or bool(is_zero[item])):
                are_zeros, first = bool(is_zero[item]), 0 if flipped else keys - size
                sign = "keys of zeros" if are_zeros else "keys that are all the same"
                found.setdefault(item, Padding(first, size, sign, bool(is_certain[item]), are_zeros))
    return found


def _run_at_end(k: Tensor) -> Tensor:
    """How many of the last keys ``(Hkv, Sk, D)`` are like the last one."""
    alike = (k == k[:, -1:]).all(dim=-1).all(dim=0)  # (Sk,)
    return alike.flip(-1).to(torch.int64).cumprod(dim=-1).sum()
