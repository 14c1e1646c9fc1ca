"""flash-attention's threads: where a causal mask stands when there are more keys than queries, or fewer."""

from __future__ import annotations

import torch

from tests.checks.threads.captures import Capture, normal, zero_where_empty


def flash_attention_282() -> Capture:
    """https://github.com/Dao-AILab/flash-attention/issues/282, "`causal` argument when q_sequence is not … aligned".

    While decoding, one new query meets the keys of the cache. With ``causal=True`` the versions before 2.1 put it on
    the first key, so that it sees nothing but that key; the author expected it to see them all. The recorded output
    is by the old rule (as the changelog of 2.1 describes it).
    """
    tensors = normal(1, 2, queries=1, keys=8, dim=16)
    keep = torch.ones(1, 8, dtype=torch.bool).tril()
    return Capture({**tensors, "output": zero_where_empty(**tensors, keep=keep)}, {"causal": "true"})


def flash_attention_517() -> Capture:
    """https://github.com/Dao-AILab/flash-attention/issues/517, "Is there a mistake? The causal mask is aligned to …".

    The author reads the documentation's example of 2 queries and 5 keys as wrong; the maintainers explain that it is
    meant: since 2.1 the last query stands on the last key. The recorded output is by that rule, so that nothing is
    wrong and the convention is all there is to tell.
    """
    tensors = normal(1, 2, queries=2, keys=5, dim=16)
    keep = torch.ones(2, 5, dtype=torch.bool).tril(diagonal=3)
    return Capture({**tensors, "output": zero_where_empty(**tensors, keep=keep)}, {"causal": "true"})


def flash_attention_1778() -> Capture:
    """https://github.com/Dao-AILab/flash-attention/issues/1778, "seems to not support … seq_q is longer than seq_k".

    2048 queries, 1024 keys (here 8 and 4), causal: half of the output is 0, which the author takes for a fault of the
    kernel. Aligned bottom-right those queries stand before the first key and see none, and the documentation promises
    0 for them. The recorded output is by that rule.
    """
    tensors = normal(2, 2, queries=8, keys=4, dim=16)
    keep = torch.ones(8, 4, dtype=torch.bool).tril(diagonal=-4)
    return Capture({**tensors, "output": zero_where_empty(**tensors, keep=keep)}, {"causal": "true"})
