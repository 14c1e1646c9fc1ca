"""How large what attn reads may be. Larger is refused before it is taken in; docs/reference/files.md lists them.

Tensors have no limit but memory: these are for what is read around them, by which a small file could do large harm.
Free of torch.
"""

from __future__ import annotations

MIB = 2**20

MOST_NAMES = 200_000  # tensors and single values of a file or of all shards; the largest checkpoints have some 140 000
MOST_SHARDS = 500  # of a checkpoint, each of which is kept open; the largest have some 200
LONGEST_NAME = 4096  # characters
MOST_PARTS = 100  # of a name, with dots between them: modules in modules
MOST_ALIKE = 4  # tensors of one role behind one prefix, as many as a role has names; each is judged for every call
MOST_PAIRS = 1_000_000  # of calls and sets of projection weights, each of which may belong to the other
MOST_AXES = 64
LARGEST_HEADER = 32 * MIB  # bytes of names and metadata: safetensors headers, a .pt's pickle, a zip's directory

LARGEST_JSON = 64 * MIB  # bytes; a tokenizer of the largest vocabularies has some 40
MOST_JSON_VALUES = 6_000_000  # each takes up to 100 bytes once it is read, beside the text at up to 4 bytes a character
VALUES_OF_KEY = 4  # a key and its place in an object take as much as so many

LARGEST_ADDED = 4 * MIB  # bytes of all added tokens of a tokenizer together, each of which takes its package up to 150
MOST_MERGES = 1_000_000  # of a tokenizer, each of which takes up to 500 bytes; the largest have some 600 000

MOST_OPERATIONS = 2_000_000  # of a pickle; a tensor takes some 30
MOST_CALLS = 250_000  # of a pickle, and storages that it asks for; a parameter takes 5, and 40 operations
MOST_TENSORS = 100_000  # that a pickle makes, up to 0.1 ms each; a parameter is one, and made of one
MOST_ODD_KEYS = 10_000  # of dicts and sets of a .pt, neither text nor small whole numbers: hashes that can be chosen
MOST_VISITED = 2_000_000  # items of lists that are looked at, one that stands in several places each time
DEEPEST = 32  # dicts in dicts

MOST_MEMBERS = 10_000  # of an .npz, each of which has to be opened
LONGEST_ARRAY_HEADER = 10_000  # bytes of what stands before the numbers of an .npy, as many as NumPy takes
LARGEST_ARRAY_HEADERS = 2 * MIB  # bytes of those of an .npz together, each of which NumPy takes milliseconds to read
EXPANDED_FREELY = 512 * MIB  # bytes of all arrays of an .npz together that are small in the file beyond measure
MOST_EXPANSION = 100  # any other is at most so many times as large as in the file
REPEATED_FREELY = 64 * MIB  # bytes that a tensor of a .pt may have, however small its storage is
LARGEST_TEXTS = 64 * MIB  # bytes of all texts of an .npz, or in the lists of a .pt, each with what Python needs for it
BYTES_OF_TEXT = 64  # that much, whatever its length
BYTES_OF_CHARACTER = 4  # of a text, at most

MOST_PIPED = 4 * 2**30  # bytes through a pipe, where the format does not say how many there will be
WRITER_SECONDS = 5.0  # to wait for somebody to write to a named pipe
SILENCE_SECONDS = 5.0  # without a byte from a pipe, until attn says that it waits

COPIED = 16 * MIB  # bytes; a tensor that is larger is mapped into memory
