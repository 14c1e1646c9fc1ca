"""``.pt`` files that lie about their storages, or that burst, and odd ones that are right."""

import collections
import io
import pickletools
import tarfile
import warnings
import zipfile

import pytest
import torch

from attn_cli.inputs.limits import MOST_CALLS, MOST_OPERATIONS, MOST_TENSORS
from tests.hostile.law import accepted, refused, start_rss, told_of_contents
from tests.hostile.making import bytes_of, commented, patched, zipped
from tests.hostile.odd_tensors import halves, quantized, quantized_by_channel
from tests.hostile.pickles import AGAIN, MANY_OBJECTS, MANY_TENSORS, ODD_KEYS, archive_of
from tests.hostile.torch_saved import FORMATS, THREE, K, Q, V, saved
from tests.hostile.warm import warm


def as_it_is(_name, content):
    return content


def changed(content, change=as_it_is, method=zipfile.ZIP_STORED, also=()):
    """A zip with each member's content changed; None leaves it out."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(name, change(name, archive.read(name))) for name in archive.namelist()]
    return zipped(*((name, new) for name, new in (*members, *also) if new is not None), method=method)


def with_pickle(old, new, value=None):
    """A file whose pickle says something else."""

    def change(name, content):
        if not name.endswith("data.pkl"):
            return content
        assert old in content
        return content.replace(old, new, 1)

    return changed(saved(THREE if value is None else value), change)


def packed(content, which):
    """A zip of which one member alone is compressed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            method = zipfile.ZIP_DEFLATED if name == which else zipfile.ZIP_STORED
            new.writestr(name, old.read(name), compress_type=method)
    return stream.getvalue()


def second_name(content):
    """A zip whose first member has another name in an additional field, as Info-ZIP writes it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            info = zipfile.ZipInfo(name)
            info.extra = b"\x75\x70\x06\x00\x01" + bytes(4) + b"x" if name.endswith("data.pkl") else b""
            new.writestr(info, old.read(name))
    return stream.getvalue()


def tar():
    """A file of PyTorch 0.1's kind."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"\x80\x02N."))
    return stream.getvalue()


def scripted():
    """A TorchScript archive."""
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), stream)
    return stream.getvalue()


def two_sizes():
    """A file that asks for one storage as of 64 numbers and of 127."""

    def change(name, content):
        return content[::-1].replace(NUMEL[::-1], b"K\x7ft"[::-1], 1)[::-1] if name.endswith("data.pkl") else content

    return changed(saved({"q": Q, "k": Q.detach()}), change)


def huge_dict():
    """A dict that stands in 201 places and takes the room of one."""
    return dict.fromkeys(map(str, range(201)), dict.fromkeys(map(str, range(1000)), 1))


def huge_list():
    """A list that stands in a thousand places and takes the room of one."""
    numbers = [0] * 10**5
    return {f"n{place}": numbers for place in range(1000)}


def long_text():
    """A text that stands in a thousand places and takes the room of one."""
    return {**THREE, "tokens": ["x" * 2_000_000] * 1000}


def long_names():
    """Names that begin with one of 4,000 characters, which takes the room of one."""
    return {**THREE, "p" * 4000: {f"{number:x}": Q for number in range(9000)}}


def other_length():
    """A file of old whose last storage of 64 numbers says that it has 63."""
    content = saved(THREE, _use_new_zipfile_serialization=False)
    assert content[-264:-256] == (64).to_bytes(8, "little")
    return content[:-264] + (63).to_bytes(8, "little") + content[-256:]


NUMEL, OFFSET = b"K@t", b"QK\x00("  # 64 numbers, and where the tensor begins
BROKEN = {
    "empty": (b"", "is empty"),
    "zeros": (bytes(500), "is no PyTorch file"),
    "text": (b"hello", "is no PyTorch file"),
    "cut short": (saved(THREE)[:-300], "does not end as a zip does"),
    "bytes behind it": (saved(THREE) + b"abc", "does not end as a zip does"),
    "an old one cut short": (
        saved(THREE, _use_new_zipfile_serialization=False)[:-300],
        "has tensors of 768 bytes, and",
    ),
    "an old one whose last storage has another length": (other_length, "is not as long as their description says"),
    "an old one cut in its pickle": (saved(THREE, _use_new_zipfile_serialization=False)[:300], "cannot be read"),
    "a tar": (tar, "is a tar, as PyTorch 0.1 wrote it"),
    "TorchScript": (scripted, "is a TorchScript archive, which holds code"),
    "another protocol": (saved(THREE, pickle_protocol=4), "it has the operation"),
    "no pickle": (changed(saved(THREE), lambda name, x: None if name.endswith("data.pkl") else x), "without data.pkl"),
    "an .npz": (zipped(("q.npy", b"")), "is a zip without data.pkl"),
    "an empty zip": (zipped(), "is a zip without data.pkl"),
    "a storage that is not there": (
        changed(saved(THREE), lambda name, x: None if name.endswith("/1") else x),
        "the storage 1 is not there; expected 256",
    ),
    "a storage that is too short": (
        changed(saved(THREE), lambda name, x: x[:-1] if name.endswith("/1") else x),
        "the storage 1 has 255 bytes; expected 256",
    ),
    "more numbers than stored": (with_pickle(NUMEL, b"J\x00\x00\x00\x10t"), "expected 1073741824, as the description"),
    "fewer numbers than none": (with_pickle(NUMEL, b"J\xff\xff\xff\xfft"), "gives the storage 0 sizes that cannot be"),
    "numbers beyond counting": (with_pickle(NUMEL, b"\x8a\x09" + b"\x7f" * 9 + b"t"), "gives the storage 0 sizes"),
    "an offset beyond it": (
        with_pickle(OFFSET, b"QKA("),
        "makes a tensor (1, 2, 4, 8) with the strides (64, 32, 8, 1)",
    ),
    "an offset before it": (with_pickle(OFFSET, b"QJ\xff\xff\xff\xff("), "makes a tensor of what is no shape"),
    "a stride beyond it": (with_pickle(b"(K@K K\x08K\x01t", b"(K@K K\x09K\x01t"), "in a storage of 64 numbers"),
    "a stride below 0": (with_pickle(b"(K@K K\x08K\x01t", b"(K@K K\x08J\xff\xff\xff\xfft"), "of what is no shape"),
    "a shape beyond it": (
        with_pickle(b"(K\x01K\x02K\x04K\x08t", b"(K\x01K\x02K\x05K\x08t"),
        "in a storage of 64 numbers",
    ),
    "another number of axes": (with_pickle(b"(K\x01K\x02K\x04K\x08t", b"(K\x01K\x02K\x04t"), "of what is no shape"),
    "a dtype that is none": (with_pickle(b"FloatStorage", b"Storage"), "it names torch.Storage"),
    "a shape out of nothing": (saved({"q": torch.zeros(1).expand(1, 8, 10**6, 64)}), "by strides of 0 or that overlap"),
    "a storage that is compressed": (
        lambda: packed(saved(THREE), "archive/data/1"),
        "archive/data/1 is compressed",
    ),
    "a storage of two sizes": (two_sizes, "gives the storage 0 sizes that cannot be"),
    "a storage beyond the file": (
        lambda: patched(archive_of(b"\x80\x02}.", bytes(9)), last=True, packed=10**6),
        "a/data/0 does not lie before the directory",
    ),
    "a quantized tensor out of nothing": (
        lambda: with_pickle(b"K\x02\x85q\x08K\x01\x85", b"K\x64\x85q\x08K\x00\x85", {"q": quantized()}),
        "makes a quantized tensor that repeats numbers",
    ),
    **{f"{case}, again and again": (make, "takes more than 2000000 operations") for case, make in AGAIN.items()},
    **{
        case: (make, "10000 keys that are neither texts nor whole numbers from 0 to 199999")
        for case, make in ODD_KEYS.items()
    },
    **{case: (make, "makes more than 100000 tensors") for case, make in MANY_TENSORS.items()},
    **{case: (make, "makes more than 250000 tensors, stor") for case, make in MANY_OBJECTS.items()},
    "an item for a dict": (archive_of(b"\x80\x02}K\x01a."), "it puts items into what does not take them"),
    "a key for a list": (archive_of(b"\x80\x02]K\x01K\x02s."), "it puts items into what does not take them"),
    "a number beyond int64": (
        saved({**THREE, "valid_lens": [2**63]}),
        "valid_lens holds a whole number beyond int64; expected smaller ones",
    ),
    "numbers of rows of several lengths": (
        saved({"m": [[1], [2, 3]]}),
        "m is no table of numbers; expected rows of one",
    ),
    "places out of order": (
        archive_of(b"\x80\x02}r\xff\xff\xff\xff."),
        "keeps something in place 4294967295 before others",
    ),
    "a dict in many places": (lambda: saved(huge_dict()), "holds more than 200000 values"),
    "a name of 4097 characters": (
        lambda: saved({"n" * 4097: Q}),
        "a name in it has 4097 characters; expected 4096 at most",
    ),
    "a compressed one": (changed(saved(THREE), method=zipfile.ZIP_DEFLATED), "data.pkl is compressed"),
    "a zip bomb": (
        lambda: changed(saved({"q": torch.zeros(2**24)}), method=zipfile.ZIP_DEFLATED),
        "data.pkl is compressed",
    ),
    "a name twice": (
        changed(saved(THREE), also=[("archive/data/0", b"x" * 256)]),
        "two members are called archive/data/0",
    ),
    "a name in another case": (
        changed(saved(THREE), also=[("archive/DATA.PKL", b"x")]),
        "two members are called archive/data.pkl and archive/DATA.PKL; expected names that differ in more than case",
    ),
    "TorchScript in another case": (
        changed(saved(THREE), also=[("archive/CONSTANTS.PKL", b"x")]),
        "is a TorchScript archive, which holds code",
    ),
    "a byte order in another case": (changed(saved(THREE), also=[("archive/BYTEORDER", b"big")]), "archive/BYTEORDER"),
    "a second name": (lambda: second_name(saved(THREE)), "archive/data.pkl has a second name; expected one name each"),
    "a comment": (lambda: commented(saved(THREE)), "does not end as a zip does"),
    "a byte order that is none": (
        changed(saved(THREE), lambda name, x: b"\xff\xfe" if name.endswith("byteorder") else x),
        "its byteorder is neither little nor big; expected little",
    ),
    "an alignment that is none": (
        changed(saved(THREE), lambda name, x: b"\xff" * 40 if name.endswith("alignment") else x),
        "its .storage_alignment is no whole number; expected",
    ),
    "a version that is none": (
        changed(saved(THREE), lambda name, x: b"9" * 30 if name.endswith("/version") else x),
        "its version is no whole number; expected",
    ),
    "another byte order": (
        changed(saved(THREE), lambda name, x: b"big" if name.endswith("byteorder") else x),
        "another byte order; expected little",
    ),
    "no names": (saved([Q, K, V]), "holds a list without names"),
    "a name of half a character": (saved({"a\ud800": {**THREE}}), r"the name a\ud800 holds half a character; expected"),
    "a text in many places": (lambda: saved(long_text()), "holds more than 64 MiB of texts in lists; expected less"),
    "a name in many names": (lambda: saved(long_names()), "has more than 32 MiB of names; expected less"),
    "a list in many places": (lambda: saved(huge_list()), "has lists of more than 2000000 items"),
    "a list too long": (
        lambda: saved({**THREE, "x": list(range(300, 2_000_300))}),
        "takes more than 2000000 operations",
    ),
    "a pickle without end": (archive_of(b"\x80\x02" + b"]" * 100), "cannot be read"),
    "a pickle of nothing": (archive_of(b""), "cannot be read"),
    "a pickle that takes what is not there": (archive_of(b"\x80\x02RRR."), "a pickle that takes what is not there"),
    "a pickle that unfolds": (
        archive_of(b"\x80\x02}" + b"q\x00X\x01\x00\x00\x00ah\x00s."),
        "is nested more than 32 deep",
    ),
}


MANY = (*MANY_TENSORS, *MANY_OBJECTS)
LARGE = (
    *("a list in many places", "a list too long", "a text in many places", "a name in many names", "a zip bomb"),
    *("keys of one hash", *MANY),
)
SMALL = [case for case in BROKEN if case not in LARGE]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What one process says of every small file."""
    return told_of_contents(
        tmp_path_factory.mktemp("broken"), ".pt", {case: bytes_of(BROKEN[case][0]) for case in SMALL}
    )


@pytest.mark.parametrize("case", SMALL)
def test_a_broken_file_is_refused(told, case):
    assert BROKEN[case][1] in told[case]


@pytest.mark.parametrize("case", LARGE)
def test_a_file_that_would_burst_is_refused(tmp_path, case):
    make, says = BROKEN[case]
    path = tmp_path / "x.pt"
    path.write_bytes(make())
    ended = warm("run", str(path))
    refused(ended, names=path, says=says)
    assert ended.max_rss < start_rss() + 2**29


def test_a_description_that_pytorch_reads_otherwise_is_refused(tmp_path):
    path = tmp_path / "x.pt"
    path.write_bytes(saved(THREE))
    other = """
import torch
class Other(torch._C.PyTorchFileReader):
    def get_record(self, name):
        return super().get_record(name) + b"."
torch._C.PyTorchFileReader = Other
"""
    refused(warm("run", str(path), before=other), names=path, says="holds another data.pkl for PyTorch than for other")


ODD = {
    "numbers that several share": {"q": Q, "k": Q, "v": Q.transpose(2, 3).contiguous().transpose(2, 3)},
    "strides of 0": {**THREE, "mask": torch.ones(1, 1, 1, 4, dtype=torch.bool).expand(1, 2, 4, 4)},
    "parameters": torch.nn.ParameterDict(THREE).state_dict(),
    "sparse and meta tensors beside it": {**THREE, "s": torch.eye(3).to_sparse(), "m": torch.empty(3, device="meta")},
    "small whole numbers": {
        **THREE,
        "u": torch.zeros(3, dtype=torch.uint16),
        "f": torch.zeros(3).to(torch.float8_e5m2),
    },
    "conjugated numbers": {
        **THREE,
        "c": torch.ones(2, dtype=torch.complex64).conj(),
        "n": torch.ones(2).to(torch.complex64).conj().imag,
    },
    "pairs of texts for keys": {**THREE, "merges": {(str(number), "a"): number for number in range(20_000)}},
    "plain values": {**THREE, "scale": 0.5, "names": ["a", "b"], "none": None, "shape": torch.Size([1]), "s": {1: "a"}},
}


def test_what_is_odd_and_right_is_read(tmp_path):
    on_another_device = with_pickle(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:7")
    contents = [*map(saved, ODD.values()), on_another_device]
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.pt").write_bytes(content)
    paths = [str(tmp_path / f"{number}.pt") for number in range(len(contents))]
    accepted(warm("check", *paths))
    accepted(warm("diff", paths[list(ODD).index("conjugated numbers")], paths[0]))


def checkpoint():
    """What a training loop saves."""
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5])
    return {
        **THREE, "model": model.state_dict(), "optimizer": optimizer.state_dict(), "sched": schedule.state_dict(),
        "epoch": 3, "args": {"lr": 0.1, "tags": {"a", "b"}, "betas": (0.9, 0.99)}, "parameter": torch.nn.Parameter(Q),
        "counts": collections.Counter("abca"), "none": collections.Counter(), "complex": 1j, "bytes": b"ab\xff",
        "array": bytearray(b"ab\xff"), "empty": bytearray(), "half": halves(),
        "dtype": torch.complex32, "devices": [torch.device("cpu"), torch.device("cuda:1")],
        "size": torch.Size([2, 3]), "quantized": quantized(),
        "channels": quantized_by_channel(), "ordered": collections.OrderedDict(a=1), "random": torch.get_rng_state(),
        "pairs": {(0, 1): 2, None: 3, 0.5: 4, -1: 5},
        "an optimizer of old": {14 * 10**13 + 64 * number: number for number in range(2000)},
    }  # fmt: skip


@pytest.mark.parametrize("is_zip", FORMATS.values())
def test_a_checkpoint_of_a_training_is_read(tmp_path, is_zip):
    path = tmp_path / "x.pt"
    given = checkpoint()
    if not is_zip:
        del given["half"]  # PyTorch does not read them back
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = saved(given, _use_new_zipfile_serialization=is_zip)
        assert torch.load(io.BytesIO(content), weights_only=True)["counts"] == given["counts"]
    path.write_bytes(content)
    accepted(warm("run", str(path), "--top", "0"))
    refused(warm("run", str(path), "--k", "quantized"), names=path, says="quantized is (2,) qint8; expected")


MADE = ("REDUCE", "BUILD", "BINPERSID")


@pytest.mark.parametrize(
    ("make", "tensors"),
    [
        (lambda: torch.ones(1), 1), (lambda: torch.nn.Parameter(Q), 2), (lambda: torch.eye(1).to_sparse(), 3),
        (quantized, 1), (quantized_by_channel, 3), (lambda: torch.Size([1]), 0), (lambda: collections.Counter("a"), 0),
    ],
)  # fmt: skip
def test_what_is_saved_takes_more_operations_than_calls(make, tensors):
    """A file of tensors as large as its operations may be has no more of them than it may have."""
    with warnings.catch_warnings(), zipfile.ZipFile(io.BytesIO(saved({str(n): make() for n in range(300)}))) as archive:
        warnings.simplefilter("ignore")
        names = [operation.name for operation, _, _ in pickletools.genops(archive.read("archive/data.pkl"))]
    most = MOST_OPERATIONS // len(names)
    assert sum(map(names.count, MADE)) * most <= MOST_CALLS
    assert 300 * tensors * most <= MOST_TENSORS
