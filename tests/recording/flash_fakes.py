"""flash-attn's functions by their documentation: 2.7's signatures, and FlashAttention-3's."""

# ruff: noqa: ARG001 - the signatures are the libraries' own

import math

import torch

from tests.recording.libraries_fakes import reference


def one(q, k, v, scale, causal, window, softcap=0.0, slopes=None, is_old=False):
    """One sequence, query i at place i + Sk − Sq (before 2.1: at i)."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    offset = 0 if is_old else len(k) - len(q)
    left, right = window
    right = 0 if causal else right

    def logit(product, h, i, j):
        x = product * scale
        x = softcap * math.tanh(x / softcap) if softcap else x
        return x if slopes is None else x - float(slopes[h]) * abs(i + offset - j)

    def is_visible(i, j):
        return not ((left >= 0 and j < i + offset - left) or (right >= 0 and j > i + offset + right))

    return reference(q, k, v, logit, is_visible)


def batched(qs, ks, vs, slopes, *rules, **options):
    for b, (q, k, v) in enumerate(zip(qs, ks, vs, strict=True)):
        own = slopes if slopes is None or slopes.dim() == 1 else slopes[b]
        yield one(q, k, v, *rules, slopes=own, **options)


def cut(x, bounds, used=None):
    bounds = bounds.tolist()
    ends = bounds[1:] if used is None else [start + n for start, n in zip(bounds[:-1], used.tolist(), strict=True)]
    return [x[start:end] for start, end in zip(bounds[:-1], ends, strict=True)]


def paged(cache, table, lens):
    return [cache[pages.long()].flatten(0, 1)[:n] for pages, n in zip(table, lens, strict=True)]


def joined(parts, bounds, shape):
    out = torch.zeros(shape, dtype=torch.float64)
    for part, start in zip(parts, bounds.tolist(), strict=False):
        out[start : start + len(part)] = part
    return out


def result_of(out, with_more):
    return (out, torch.zeros(1), None) if with_more else out


def flash_attn_func(
    q, k, v, dropout_p=0.0, softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0, alibi_slopes=None,
    deterministic=False, return_attn_probs=False,
):  # fmt: skip
    parts = batched(q, k, v, alibi_slopes, softmax_scale, causal, window_size, softcap)
    return result_of(torch.stack(list(parts)), return_attn_probs)


def flash_attn_qkvpacked_func(
    qkv, dropout_p=0.0, softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0, alibi_slopes=None,
    deterministic=False, return_attn_probs=False,
):  # fmt: skip
    return flash_attn_func(
        *qkv.unbind(2), dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes, deterministic,
        return_attn_probs,
    )  # fmt: skip


def flash_attn_kvpacked_func(
    q, kv, dropout_p=0.0, softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0, alibi_slopes=None,
    deterministic=False, return_attn_probs=False,
):  # fmt: skip
    return flash_attn_func(
        q, *kv.unbind(2), dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes, deterministic,
        return_attn_probs,
    )  # fmt: skip


def flash_attn_varlen_func(
    q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p=0.0, softmax_scale=None, causal=False,
    window_size=(-1, -1), softcap=0.0, alibi_slopes=None, deterministic=False, return_attn_probs=False,
    block_table=None,
):  # fmt: skip
    if block_table is None:
        ks, vs = cut(k, cu_seqlens_k), cut(v, cu_seqlens_k)
    else:
        lens = cu_seqlens_k.diff().tolist()
        ks, vs = paged(k, block_table, lens), paged(v, block_table, lens)
    parts = batched(cut(q, cu_seqlens_q), ks, vs, alibi_slopes, softmax_scale, causal, window_size, softcap)
    return result_of(joined(parts, cu_seqlens_q, (*q.shape[:2], v.shape[-1])), return_attn_probs)


def flash_attn_varlen_qkvpacked_func(
    qkv, cu_seqlens, max_seqlen, dropout_p=0.0, softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0,
    alibi_slopes=None, deterministic=False, return_attn_probs=False,
):  # fmt: skip
    return flash_attn_varlen_func(
        *qkv.unbind(1), cu_seqlens, cu_seqlens, max_seqlen, max_seqlen, dropout_p, softmax_scale, causal, window_size,
        softcap, alibi_slopes, deterministic, return_attn_probs,
    )  # fmt: skip


def flash_attn_varlen_kvpacked_func(
    q, kv, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p=0.0, softmax_scale=None, causal=False,
    window_size=(-1, -1), softcap=0.0, alibi_slopes=None, deterministic=False, return_attn_probs=False,
):  # fmt: skip
    return flash_attn_varlen_func(
        q, *kv.unbind(1), cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p, softmax_scale, causal,
        window_size, softcap, alibi_slopes, deterministic, return_attn_probs,
    )  # fmt: skip


def turned(x, cos, sin, places, interleaved):
    """One sequence ``(S, H, D)`` turned pair by pair, as complex numbers."""
    size = 2 * cos.shape[-1]
    first, rest = x[..., :size], x[..., size:]
    pairs = first.unflatten(-1, (-1, 2)) if interleaved else torch.stack(first.chunk(2, -1), -1)
    angle = torch.complex(cos[places], sin[places])[:, None]
    out = torch.view_as_real(torch.view_as_complex(pairs.contiguous()) * angle)
    return torch.cat((out.flatten(-2) if interleaved else torch.cat(out.unbind(-1), -1), rest), -1)


def flash_attn_with_kvcache(
    q, k_cache, v_cache, k=None, v=None, rotary_cos=None, rotary_sin=None, cache_seqlens=None, cache_batch_idx=None,
    cache_leftpad=None, block_table=None, softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0,
    rotary_interleaved=True, alibi_slopes=None, num_splits=0, return_softmax_lse=False,
):  # fmt: skip
    batch = len(q)
    if cache_seqlens is None:
        cache_seqlens = k_cache.shape[1]
    lens = [cache_seqlens] * batch if isinstance(cache_seqlens, int) else cache_seqlens.tolist()
    items = range(batch) if cache_batch_idx is None else cache_batch_idx.tolist()
    starts = [0] * batch if cache_leftpad is None else cache_leftpad.tolist()
    qs, ks, vs = [], [], []
    for b in range(batch):
        one_q, new = q[b], 0 if k is None else k.shape[1]
        steps = torch.arange(max(q.shape[1], new))
        if k is not None:
            rows = lens[b] + steps[:new]
            one_k = k[b]
            if rotary_cos is not None:
                one_k = turned(one_k, rotary_cos, rotary_sin, rows, rotary_interleaved)
                moves = 1 if causal or window_size != (-1, -1) else 0
                places = lens[b] + steps[: q.shape[1]] * moves
                one_q = turned(one_q, rotary_cos, rotary_sin, places, rotary_interleaved)
            if block_table is None:
                k_cache[items[b], rows], v_cache[items[b], rows] = one_k, v[b]
            else:
                size = k_cache.shape[1]
                pages = block_table[b, rows // size].long()
                k_cache[pages, rows % size], v_cache[pages, rows % size] = one_k, v[b]
        span = slice(starts[b], lens[b] + new)
        if block_table is None:
            one_k, one_v = k_cache[items[b]][span], v_cache[items[b]][span]
        else:
            one_k, one_v = (x[block_table[b].long()].flatten(0, 1)[span] for x in (k_cache, v_cache))
        qs, ks, vs = [*qs, one_q], [*ks, one_k], [*vs, one_v]
    parts = batched(qs, ks, vs, alibi_slopes, softmax_scale, causal, window_size, softcap)
    out = torch.stack(list(parts))
    return (out, torch.zeros(1)) if return_softmax_lse else out


SECOND = (
    flash_attn_func,
    flash_attn_qkvpacked_func,
    flash_attn_kvpacked_func,
    flash_attn_varlen_func,
    flash_attn_varlen_qkvpacked_func,
    flash_attn_varlen_kvpacked_func,
    flash_attn_with_kvcache,
)
