"""Which reader a file takes: by its suffix, and by its first bytes where the suffix says nothing."""

from __future__ import annotations

from collections.abc import Callable

from attn_cli.errors import in_file
from attn_cli.inputs.paths import STDIN, unreadable
from attn_cli.inputs.readers.base import TensorFile
from attn_cli.inputs.readers.npz import NpzFile
from attn_cli.inputs.readers.safetensors_file import SafetensorsFile
from attn_cli.inputs.readers.sharded import SUFFIX as INDEX_SUFFIX
from attn_cli.inputs.readers.sharded import ShardedSafetensors
from attn_cli.inputs.readers.torch_file import TorchFile
from attn_cli.inputs.readers.zip_directory import LOCAL_SIZE
from attn_cli.inputs.signatures import LENGTH, NPY, PICKLE, SAFETENSORS, ZIP, signature

READERS: dict[str, Callable[[str, str], TensorFile]] = {
    INDEX_SUFFIX: ShardedSafetensors,
    ".safetensors": SafetensorsFile,
    ".npz": NpzFile,
    ".pt": TorchFile,
    ".pth": TorchFile,
}
NPY_SUFFIX = ".npy"


def open_tensor_file(path: str, label: str | None = None) -> TensorFile:
    """Open a file of named tensors.

    Args:
        path: of a regular file.
        label: how messages name it, ``path`` by default; ``"-"`` has no suffix.

    Raises:
        InputError: where no reader takes it, or the reader refuses it.
    """
    label = path if label is None else label
    suffix = next((suffix for suffix in (*READERS, NPY_SUFFIX) if label.lower().endswith(suffix)), None) or _sniffed(
        path, label
    )
    if suffix == NPY_SUFFIX:
        hint = "without FILE, --q, --k and --v take one .npy file each"
        raise in_file(label, "a .npy file holds one array without a name", "expected a file of named tensors", hint)
    if suffix is None:
        wanted = "safetensors or .npz bytes" if label == STDIN else "a .safetensors, .npz, .pt or .pth file"
        raise in_file(label, "is in no format that attn knows", f"expected {wanted}")
    return READERS[suffix](path, label)


def _sniffed(path: str, label: str) -> str | None:
    try:
        return sniff(path)
    except OSError as error:
        raise unreadable(label, error, "a file that you may read") from error


def sniff(path: str) -> str | None:
    """The suffix that a file's first bytes call for, or None."""
    with open(path, "rb") as file:
        kind = signature(file.read(LENGTH))
    if kind == ZIP:
        return ".pt" if _is_torch_zip(path) else ".npz"
    return {NPY: NPY_SUFFIX, SAFETENSORS: ".safetensors", PICKLE: ".pt"}.get(kind or "")


def _is_torch_zip(path: str) -> bool:
    """Whether the first member stands in a folder, as in every file of PyTorch's; in an ``.npz`` none does."""
    with open(path, "rb") as file:
        head = file.read(LOCAL_SIZE)
        name = file.read(int.from_bytes(head[26:28], "little"))
    return b"/" in name and not name.endswith(b".npy")
