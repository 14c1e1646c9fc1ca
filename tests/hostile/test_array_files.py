"""``.npz`` and ``.npy`` files that lie, burst, or hold what is no array of numbers."""

import pickle
import struct
import zipfile
from contextlib import closing

import numpy as np
import pytest

from attn_cli.inputs.readers.npz import NpzFile
from attn_cli.inputs.readers.opened import OpenFile
from tests.hostile.law import accepted, refused, refused_as_json, start_rss, told_of_contents, unharmed
from tests.hostile.making import NUMBERS, SHAPE, commented, described, npy, npy_of, npz, patched, zipped
from tests.hostile.warm import warm


class Harm:
    """Unpickled, it makes a folder."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        import os

        return os.mkdir, (self.trace,)


def bomb(shape=(1, 1, 2**26, 8)):
    """Two gigabytes of zeros in a few megabytes: the head of an array, and what its numbers deflate to."""
    zeros = zipped(("q.npy", npy_of(described(shape)) + bytes(2**26)), method=zipfile.ZIP_DEFLATED)
    return patched(zeros, size=len(npy_of(described(shape))) + 2**31)


def many(count):
    """A zip of so many members, of which there is the directory alone."""
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 6) + bytes(16)
    directory = b"".join(entry + b"%06d" % number for number in range(count))
    return directory + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count % 2**16, count % 2**16, len(directory), 0, 0)


def zip64(content, length=None, place=None, locator=b"PK\x06\x07"):
    """A zip with the larger end that zips of gigabytes have."""
    begin, directory = content.index(b"PK\x01\x02"), len(content) - 22 - content.index(b"PK\x01\x02")
    members = int.from_bytes(content[-12:-10], "little")
    sizes = (44, 45, 45, 0, 0, members, members, directory if length is None else length, begin)
    end = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", *sizes)
    found = locator + struct.pack("<IQI", 0, len(content) - 22 if place is None else place, 1)
    return content[:-22] + end + found + content[-22:]


def ended(content, length):
    """A zip whose end says another length of its directory."""
    return content[:-10] + struct.pack("<I", length) + content[-6:]


def headers(count):
    """Arrays of fields, whose headers take milliseconds each, in little room."""
    member = npy_of(described((1,), [(f"f{number}", "<f4") for number in range(500)]), bytes(2000))
    return zipped(*((f"a{number}.npy", member) for number in range(count)), method=zipfile.ZIP_DEFLATED)


def texts(count):
    """Texts of a megabyte each in a few kilobytes."""
    member = npy(np.full((2**18,), "a", "U1"))
    return zipped(*((f"t{number}.npy", member) for number in range(count)), method=zipfile.ZIP_DEFLATED)


def unfolding(length):
    """A header of so many bytes in a thousandth of them."""
    content = b"\x93NUMPY\2\0" + struct.pack("<I", length) + b"{" + b" " * length
    return zipped(("q.npy", content), method=zipfile.ZIP_DEFLATED)


WHOLE = npz()
DEFLATED = zipped(*((f"{name}.npy", npy(NUMBERS[0])) for name in "qkv"), method=zipfile.ZIP_DEFLATED)
BROKEN_ZIPS = {
    "empty": (b"", "does not end as a zip does"),
    "zeros": (bytes(100), "does not end as a zip does"),
    "cut short": (WHOLE[:-40], "does not end as a zip does"),
    "bytes behind it": (WHOLE + b"abc", "does not end as a zip does"),
    "an end alone": (b"PK\x05\x06" + bytes(18), "none of its 0 tensors"),
    "a directory beyond the file": (b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, 10**6, 0, 0), "cannot be read"),
    "a directory that is huge": (
        b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, 10**9, 0, 0),
        "1000000000 bytes long",
    ),
    "a million members": (lambda: many(10**6), "the directory of the zip is 52000000 bytes long"),
    "members too many": (lambda: many(10_001), "has 10001 members; expected at most 10000"),
    "600,000 members": (lambda: many(600_000), "has 600000 members; expected at most 10000"),
    "headers too many": (lambda: headers(300), "has more than 2 MiB of headers; expected less"),
    "a larger directory that is huge": (zip64(npz(), length=10**9), "1000000000 bytes long"),
    "a larger end that nothing names": (ended(zip64(npz(), locator=bytes(4)), 10**9), "1000000000 bytes long"),
    "a larger end elsewhere": (zip64(npz(), place=0), "does not end as a zip does"),
    "a name of 5000 characters": (
        npz(**{"n" * 4996: npy()}),
        "a name in it has 5000 characters; expected at most 4096",
    ),
    "a name twice": (zipped(("q.npy", npy()), ("k.npy", npy()), ("v.npy", npy()), ("q.npy", npy())), "called q.npy"),
    "encrypted": (patched(WHOLE, flags=1), "q.npy is encrypted"),
    "compressed by lzma": (zipped(("q.npy", npy()), method=zipfile.ZIP_LZMA), "compressed by method 14"),
    "compressed by bzip2": (zipped(("q.npy", npy()), method=zipfile.ZIP_BZIP2), "compressed by method 12"),
    "compressed by nothing known": (patched(WHOLE, method=99), "compressed by method 99"),
    "members that overlap": (patched(WHOLE, offset=500), "overlaps with another member"),
    "a place beyond the file": (patched(WHOLE, offset=10**8), "q.npy does not lie before the directory"),
    "more bytes than there are": (
        patched(DEFLATED, last=True, packed=2**26),
        "v.npy does not lie before the directory",
    ),
    "a wrong size": (patched(WHOLE, size=10**8), "q holds 99999872 bytes; expected 256"),
    "fewer bytes than it says": (
        patched(
            zipped(("q.npy", npy()[:-100]), ("k.npy", npy()), ("v.npy", npy()), method=zipfile.ZIP_DEFLATED),
            size=len(npy()),
        ),
        "it ends after 156 of 256 bytes",
    ),
    "wrong bytes": (DEFLATED.replace(DEFLATED[200:240], bytes(40), 1), "cannot be read"),
    "a wrong sum": (WHOLE.replace(NUMBERS[0].tobytes()[:4], b"abcd", 1), "Bad CRC-32"),
    "a zip in it": (zipped(("x.npz", WHOLE)), "none of its 0 tensors"),
    "a zip as an array": (zipped(("q.npy", WHOLE)), "cannot be read"),
    "a folder": (zipped(("q.npy/", b""), ("../k.npy", npy())), "is part of an attention call"),
    "objects": (npz(q=npy(np.array([{}], dtype=object))), "q is (1,) object; expected"),
    "a pickle as an array": (npz(q=pickle.dumps([1])), "cannot be read"),
    "an empty member": (npz(q=b""), "cannot be read"),
    "a huge shape": (npz(q=npy_of(described((1, 8, 10**12, 8)))), "q holds 0 bytes; expected 256000000000000"),
    "sizes that overflow": (npz(q=npy_of(described((2**40, 2**40, 8)))), "more numbers than can be counted"),
    "a size below 0": (npz(q=npy_of(described((1, -2, 4, 8)), bytes(256))), "the shape in it is none: (1, -2, 4, 8)"),
    "a size of text": (npz(q=npy_of(described(("8",)))), "cannot be read"),
    "a shape that is a list": (npz(q=npy_of(described([1, 2]))), "cannot be read"),
    "a hundred axes": (npz(q=npy_of(described((1,) * 100), bytes(4))), "the shape in it is none"),
    "fields": (npz(q=npy(np.zeros((1, 2, 4, 8), [("a", "f4"), ("b", "i4")]))), "q is (1, 2, 4, 8) ["),
    "times": (npz(q=npy(np.zeros((1, 2, 4, 8), "M8[s]"))), "q is (1, 2, 4, 8) datetime64[s]; expected"),
    "dates of no unit": (npz(q=npy(np.zeros((1, 2, 4, 8), "m8"))), "q is (1, 2, 4, 8) timedelta64; expected"),
    "bytes": (npz(q=npy(np.zeros((1, 2, 4, 8), "S4"))), "q is (1, 2, 4, 8) |S4; expected"),
    "numbers of 128 bits": (npz(q=npy(np.zeros((1, 2, 4, 8), "f16"))), "q is (1, 2, 4, 8) float128; expected"),
    "void": (npz(q=npy(np.zeros((1, 2, 4, 8), "V2"))), "q is (1, 2, 4, 8) |V2; expected"),
    "a header with code": (npz(q=npy_of("__import__('os').mkdir('trace')\n")), "line 1: <ast.Call object>); expected"),
    "a header of lists": (npz(q=npy_of("[" * 9000)), "cannot be read"),
    "a header of 10**6 bytes": (npz(q=npy_of(" " * 10**6, version=(2, 0))), "its header is 1000000 bytes long, more"),
    "a header longer than the file": (npz(q=b"\x93NUMPY\2\0" + b"\xff" * 4 + b"{"), "its header is 4294967295 bytes"),
    "a header of signs": (npz(q=npy_of("-" * 9000 + "1")), "cannot be read (its header is no dict)"),
    "a comment cut short": (commented(WHOLE)[:-1], "does not end as a zip does"),
    "a header that unfolds": (lambda: unfolding(2**28), "its header is 268435456 bytes long, more than 10000"),
    "a version of the future": (npz(q=npy_of(described(SHAPE), version=(9, 0))), "npy format version 9"),
    "a zip bomb": (bomb, "q expands from"),
    "texts that unfold": (lambda: texts(4), "holds more than 64 MiB of texts"),
    "300 million texts of no bytes": (
        lambda: zipped(("q.npy", npy_of(described((300_000_000,), "<U0")))),
        "holds more than 64 MiB of texts",
    ),
}


LARGE = [case for case, (content, _) in BROKEN_ZIPS.items() if callable(content)]
SMALL = [case for case in BROKEN_ZIPS if case not in LARGE]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What one process says of every small file."""
    return told_of_contents(tmp_path_factory.mktemp("broken"), ".npz", {case: BROKEN_ZIPS[case][0] for case in SMALL})


@pytest.mark.parametrize("case", SMALL)
def test_a_broken_npz_is_refused(told, case):
    assert BROKEN_ZIPS[case][1] in told[case]


@pytest.mark.parametrize("case", LARGE)
def test_an_npz_that_would_burst_is_refused(tmp_path, case):
    make, says = BROKEN_ZIPS[case]
    path = tmp_path / "x.npz"
    path.write_bytes(make())
    by_name = ["--q", "q", "--k", "q", "--v", "q"] if case == "a zip bomb" else []
    ended = warm("run", str(path), *by_name)
    refused(ended, names=path, says=says)
    assert ended.max_rss < start_rss() + 2**29


@pytest.mark.parametrize("command", ["run", "check", "diff", "explain"])
def test_every_command_refuses_it_in_json_too(tmp_path, command):
    content, says = BROKEN_ZIPS["a huge shape"]
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    rest = {"diff": [str(path)], "explain": ["--head", "0", "--query", "0"]}.get(command, [])
    refused_as_json(warm(command, str(path), *rest, "--json"), command, names=path, says=says)


BROKEN_ARRAYS = {
    "empty": (b"", "cannot be read"),
    "text": (b"hello, this is text", "cannot be read"),
    "cut in the header": (npy()[:40], "cannot be read"),
    "cut short": (npy()[:-1], "holds 255 bytes of numbers; expected 256, as its header says"),
    "bytes behind it": (npy() + b"a", "holds 257 bytes of numbers"),
    "a huge shape": (npy_of(described((1, 10**12, 8, 8))), "holds 0 bytes of numbers; expected 256000000000000"),
    "sizes that overflow": (npy_of(described((2**62, 2**62))), "more numbers than can be counted"),
    "a size below 0": (npy_of(described((1, -2, 4, 8)), bytes(256)), "the shape in it is none"),
    "a size that is True": (npy_of(described((True, 2, 4, 8)), bytes(256)), "the shape in it is none"),
    "objects": (npy(np.array([{}], dtype=object)), "has dtype object; expected numbers"),
    "texts": (npy(np.array(["a"])), "has dtype <U1; expected numbers"),
    "a pickle": (pickle.dumps([1]), "cannot be read"),
    "fields": (npy(np.zeros((1, 2, 4, 8), [("a", "f4")])), "has dtype [('a', '<f4')]; expected numbers"),
    "a header of lists": (npy_of("[" * 9000), "cannot be read"),
    "a header of signs": (npy_of("-" * 9000 + "1"), "cannot be read (its header is no dict)"),
    "a header longer than the file": (b"\x93NUMPY\2\0" + b"\xff" * 4 + b"{", "its header is 4294967295 bytes long"),
}


@pytest.mark.parametrize("case", BROKEN_ARRAYS)
def test_a_broken_npy_is_refused(tmp_path, case):
    content, says = BROKEN_ARRAYS[case]
    path, good = tmp_path / "x.npy", tmp_path / "good.npy"
    path.write_bytes(content)
    good.write_bytes(npy())
    with unharmed(tmp_path):
        refused(warm("run", "--q", str(good), "--k", str(path), "--v", str(good)), names=path, says=says)


@pytest.mark.parametrize("name", ["q.npy", "q.npz"])
def test_objects_are_never_unpickled(tmp_path, name):
    path, trace = tmp_path / name, tmp_path / "trace"
    harm = npy(np.array([Harm(str(trace))], dtype=object))
    assert b"mkdir" in harm
    path.write_bytes(harm if name == "q.npy" else npz(q=harm, mask=harm, scale=npy(np.array(Harm(str(trace)), object))))
    arguments = [str(path)] if name == "q.npz" else ["--q", str(path), "--k", str(path), "--v", str(path)]
    with unharmed(tmp_path):
        refused(warm("run", *arguments), names=path, says="object")


def test_odd_arrays_are_read(tmp_path):
    q, k, v = NUMBERS
    arrays = {
        "q": npy(q.astype(">f8")),
        "k": npy(np.asfortranarray(k)),
        "v": npy(v[:, :, ::-1][:, :, ::-1].astype("f2")),
    }
    whole = zipped(
        *((f"{name}.npy", content) for name, content in arrays.items()),
        ("scale.npy", npy(np.array(0.5))),
        ("mask.npy", npy(np.ones((4, 4), bool))[:-16] + b"\x01\x00\xff\x07" * 4),
        ("z.npy", npy(np.zeros((0, 3)))),
        ("old.npy", npy_of(described("(1L, 2L)"), bytes(8))),
        ("readme.txt", b"hello"),
        method=zipfile.ZIP_DEFLATED,
    )
    (tmp_path / "x.npz").write_bytes(whole)
    accepted(warm("run", str(tmp_path / "x.npz"), "--top", "0"))
    for name, content in arrays.items():
        (tmp_path / f"{name}.npy").write_bytes(content)
    names = [part for name in "qkv" for part in (f"--{name}", str(tmp_path / f"{name}.npy"))]
    accepted(warm("run", *names, "--top", "0"))


def test_an_array_of_zeros_may_expand_a_thousandfold_while_it_is_small(tmp_path):
    mask = npy(np.ones((4, 4), bool))
    bias = npy(np.zeros((1, 2, 4, 4), "f4"))
    zeros = npy(np.zeros((2**19,), "f4"))
    members = [*((f"{name}.npy", npy()) for name in "qkv"), ("mask.npy", mask), ("bias.npy", bias), ("z.npy", zeros)]
    (tmp_path / "x.npz").write_bytes(zipped(*members, method=zipfile.ZIP_DEFLATED))
    accepted(warm("diff", str(tmp_path / "x.npz"), str(tmp_path / "x.npz"), "--json"))


def test_a_long_header_a_larger_end_and_a_comment_are_read(tmp_path):
    long = npy_of(described(SHAPE).rstrip().ljust(9990) + "\n", NUMBERS[0].tobytes(), version=(2, 0))
    (tmp_path / "x.npz").write_bytes(commented(zip64(npz(q=long))))
    accepted(warm("run", str(tmp_path / "x.npz")))


def test_arrays_of_equal_numbers_may_expand_to_512_mib_together(tmp_path):
    mask = npy_of(described((12000, 12000), "|b1"), bytes(12000**2))
    path = tmp_path / "x.npz"
    path.write_bytes(zipped(*((f"{name}.npy", mask) for name in "abc"), method=zipfile.ZIP_DEFLATED))
    with closing(NpzFile(OpenFile(str(path)))) as file:
        for name in "abca":
            assert file.read(name).shape == (12000, 12000)


def test_arrays_that_would_expand_further_are_refused_before_the_first_is_inspected(tmp_path):
    mask = npy_of(described((12000, 12000), "|b1"), bytes(12000**2))
    calls = [(f"{layer}.{name}.npy", npy()) for layer in range(4) for name in "qkv"]
    path, out = tmp_path / "x.npz", tmp_path / "x.html"
    path.write_bytes(zipped(*calls, *((f"{n}.npy", mask) for n in range(4)), method=zipfile.ZIP_DEFLATED))
    ended = warm("run", str(path), "--layer", "0", "--html", str(out), seconds=2)
    refused(ended, names=path, says="3 expands from ")
    assert ended.max_rss < start_rss() + 2**26
    assert not out.exists()
