"""What format a file has, by its first bytes. Free of torch."""

from __future__ import annotations

from attn_cli.inputs.limits import LARGEST_HEADER

NPY_MAGIC = b"\x93NUMPY"
ZIP_MAGIC = b"PK"
PICKLE_MAGIC = b"\x80"  # PyTorch's format before 1.6
LENGTH = 9  # bytes that are enough
REPORT = b'{"schema"'  # how every JSON document of attn's begins
TELLS = (
    "it looks like a report of attn's, or like what attn record --stats writes: numbers about attention for jq and the "
    "like, no tensors; attn record without --stats keeps the calls"
)
NPY, ZIP, PICKLE, SAFETENSORS = "npy", "zip", "pickle", "safetensors"


def told_of(head: bytes) -> str | None:
    """A hint on what a file may be that no reader takes, by its first bytes."""
    return TELLS if head.startswith(REPORT) else None


def signature(head: bytes) -> str | None:
    """The format that a file's first bytes call for, or None."""
    if head.startswith(NPY_MAGIC):
        return NPY
    if head.startswith(ZIP_MAGIC):
        return ZIP
    if len(head) >= LENGTH and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= LARGEST_HEADER:
        return SAFETENSORS
    return PICKLE if head.startswith(PICKLE_MAGIC) else None
