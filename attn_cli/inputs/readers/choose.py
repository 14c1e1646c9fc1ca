"""Which reader a file takes: by its suffix, and by its first bytes where the suffix says nothing."""

from __future__ import annotations

from collections.abc import Callable

from attn_cli.errors import in_file
from attn_cli.inputs.paths import STDIN
from attn_cli.inputs.readers.base import TensorFile, parsing
from attn_cli.inputs.readers.npz import NpzFile
from attn_cli.inputs.readers.opened import OpenFile
from attn_cli.inputs.readers.safetensors_file import SafetensorsFile
from attn_cli.inputs.readers.sharded import SUFFIX as INDEX_SUFFIX
from attn_cli.inputs.readers.sharded import ShardedSafetensors
from attn_cli.inputs.readers.torch_file import TorchFile
from attn_cli.inputs.readers.zip_directory import LOCAL_SIZE
from attn_cli.inputs.signatures import LENGTH, NPY, PICKLE, SAFETENSORS, ZIP, signature, told_of

READERS: dict[str, Callable[[OpenFile], TensorFile]] = {
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
    file = OpenFile(path, label)
    label = file.label
    suffix = next((suffix for suffix in (*READERS, NPY_SUFFIX) if label.lower().endswith(suffix)), None)
    if suffix is None:
        with parsing(file, "a file that you may read"):
            suffix = sniff(file)
    if suffix == NPY_SUFFIX:
        hint = "without FILE, --q, --k and --v take one .npy file each"
        raise in_file(label, "a .npy file holds one array without a name", "expected a file of named tensors", hint)
    if suffix is None:
        wanted = "safetensors, .npz or .pt bytes" if label == STDIN else "a .safetensors, .npz, .pt or .pth file"
        with parsing(file, wanted), file.stream() as stream:
            seen = told_of(stream.read(LENGTH))
        raise in_file(label, "is in no format that attn knows", f"expected {wanted}", seen)
    return READERS[suffix](file)


def sniff(file: OpenFile) -> str | None:
    """The suffix that a file's first bytes call for, or None."""
    with file.stream() as stream:
        kind = signature(stream.read(LENGTH))
    if kind == ZIP:
        return ".pt" if _is_torch_zip(file) else ".npz"
    return {NPY: NPY_SUFFIX, SAFETENSORS: ".safetensors", PICKLE: ".pt"}.get(kind or "")


def _is_torch_zip(file: OpenFile) -> bool:
    """Whether the first member stands in a folder, as in every file of PyTorch's; in an ``.npz`` none does."""
    with file.stream() as stream:
        head = stream.read(LOCAL_SIZE)
        name = stream.read(int.from_bytes(head[26:28], "little"))
    return b"/" in name and not name.endswith(b".npy")
