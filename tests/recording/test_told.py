"""What a program's process tells has its room from the start, so that a full disk does not silence it."""

import os

import pytest

from attn_cli.recording.job import ROOM, Told


def test_what_is_told_anew_stands_in_the_same_room(tmp_path):
    path = tmp_path / "told"
    Told(modules=("layers.0",) * 20).write(path)
    before = os.stat(path)
    last = Told(7, (("nested tensors", 3),), "bytes", "OSError: \udcff Überlauf", ("layers.0",), True, True)
    last.write(path)
    after = os.stat(path)
    assert (after.st_ino, after.st_size, before.st_size) == (before.st_ino, ROOM, ROOM)
    assert os.listdir(tmp_path) == ["told"]
    assert Told.read(path) == last


@pytest.mark.parametrize("character", ["x", "\x00", "\udcff", "\N{PILE OF POO}"])
def test_what_is_too_long_is_told_in_short(tmp_path, character):
    path, long = tmp_path / "told", character * 100_000
    Told(9, tuple((f"{n}{long}", n) for n in range(100)), None, long, (long,) * 100, False, True).write(path)
    told = Told.read(path)
    assert os.stat(path).st_size == ROOM
    assert (told.calls, told.is_final, told.fault[:9]) == (9, True, character * 9)
    assert told.passed_over[1] == (f"1{long}"[: len(told.passed_over[1][0])], 1)


@pytest.mark.parametrize("text", [b"", b'{"calls": 3, "faul', b"\xff"])
def test_what_was_not_told_to_its_end_is_no_word(tmp_path, text):
    path = tmp_path / "told"
    assert Told.read(path) is None
    path.write_bytes(text)
    assert Told.read(path) == Told()
