"""FlashAttention-3's functions by their documentation, where they differ from flash-attn 2."""

# ruff: noqa: ARG001 - the signatures are the libraries' own

import torch

from tests.recording.flash_fakes import batched, cut, joined, paged


def scale_of(q, qv, given):
    return (q.shape[-1] + (0 if qv is None else qv.shape[-1])) ** -0.5 if given is None else given


def with_values(qs, ks, vs, qvs):
    """The product of a second query with the values is added to that of the first with the keys."""
    if qvs is None:
        return qs, ks
    return [torch.cat(x, -1) for x in zip(qs, qvs, strict=True)], [torch.cat(x, -1) for x in zip(ks, vs, strict=True)]


def flash_attn_func(
    q, k, v, softmax_scale=None, causal=False, qv=None, q_descale=None, k_descale=None, v_descale=None,
    window_size=(-1, -1), attention_chunk=0, softcap=0.0, num_splits=1, pack_gqa=None, deterministic=False,
    sm_margin=0, return_attn_probs=False,
):  # fmt: skip
    qs, ks = with_values(q, k, v, qv)
    parts = batched(qs, ks, v, None, scale_of(q, qv, softmax_scale), causal, window_size, softcap)
    out = torch.stack(list(parts))
    return (out, torch.zeros(1)) if return_attn_probs else out


def flash_attn_qkvpacked_func(
    qkv, softmax_scale=None, causal=False, q_descale=None, k_descale=None, v_descale=None, window_size=(-1, -1),
    attention_chunk=0, softcap=0.0, deterministic=False, num_heads_q=None, sm_margin=0, return_attn_probs=False,
):  # fmt: skip
    kv_heads = 0 if num_heads_q is None else (qkv.shape[2] - num_heads_q) // 2
    q, k, v = qkv.unbind(2) if qkv.dim() == 5 else qkv.split([num_heads_q, kv_heads, kv_heads], 2)
    return flash_attn_func(q, k, v, softmax_scale, causal, window_size=window_size, softcap=softcap)


def flash_attn_varlen_func(
    q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, seqused_q=None, seqused_k=None,
    softmax_scale=None, causal=False, qv=None, q_descale=None, k_descale=None, v_descale=None, window_size=(-1, -1),
    attention_chunk=0, softcap=0.0, num_splits=1, pack_gqa=None, deterministic=False, sm_margin=0,
    return_attn_probs=False,
):  # fmt: skip
    qs, ks, vs = cut(q, cu_seqlens_q, seqused_q), cut(k, cu_seqlens_k, seqused_k), cut(v, cu_seqlens_k, seqused_k)
    qs, ks = with_values(qs, ks, vs, None if qv is None else cut(qv, cu_seqlens_q, seqused_q))
    parts = batched(qs, ks, vs, None, scale_of(q, qv, softmax_scale), causal, window_size, softcap)
    return joined(parts, cu_seqlens_q, (*q.shape[:2], v.shape[-1]))


def flash_attn_with_kvcache(
    q, k_cache, v_cache, k=None, v=None, qv=None, rotary_cos=None, rotary_sin=None, cache_seqlens=None,
    cache_batch_idx=None, cache_leftpad=None, page_table=None, cu_seqlens_q=None, cu_seqlens_k_new=None,
    max_seqlen_q=None, rotary_seqlens=None, q_descale=None, k_descale=None, v_descale=None, softmax_scale=None,
    causal=False, window_size=(-1, -1), attention_chunk=0, softcap=0.0, rotary_interleaved=True,
    scheduler_metadata=None, num_splits=0, pack_gqa=None, sm_margin=0, return_softmax_lse=False,
):  # fmt: skip
    """Paged, with packed queries and new keys: what differs from flash-attn 2."""
    old = cache_seqlens.tolist()
    if k is not None:
        for b, (new_k, new_v) in enumerate(zip(cut(k, cu_seqlens_k_new), cut(v, cu_seqlens_k_new), strict=True)):
            for n in range(len(new_k)):
                page, row = page_table[b, (old[b] + n) // k_cache.shape[1]], (old[b] + n) % k_cache.shape[1]
                k_cache[page, row], v_cache[page, row] = new_k[n], new_v[n]
        old = [n + more for n, more in zip(old, cu_seqlens_k_new.diff().tolist(), strict=True)]
    qs = list(q) if cu_seqlens_q is None else cut(q, cu_seqlens_q)
    ks, vs = paged(k_cache, page_table, old), paged(v_cache, page_table, old)
    qvs = None if qv is None else list(qv) if cu_seqlens_q is None else cut(qv, cu_seqlens_q)
    qs, ks = with_values(qs, ks, vs, qvs)
    parts = batched(qs, ks, vs, None, scale_of(q, qv, softmax_scale), causal, window_size, softcap)
    if cu_seqlens_q is None:
        return torch.stack(list(parts))
    return joined(parts, cu_seqlens_q, (*q.shape[:2], v_cache.shape[-1]))


THIRD = (flash_attn_func, flash_attn_qkvpacked_func, flash_attn_varlen_func, flash_attn_with_kvcache)
