"""A file appears whole or not at all, and what was there before survives a failure."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from attn_cli.errors import ResourceError
from attn_cli.reporters.atomic import atomic_write, check_folder


def _files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_the_file_appears_at_the_end_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    with atomic_write(target) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == tmp_path
        assert not target.exists()
    assert target.read_text() == "whole"
    assert _files(tmp_path) == {"out.txt"}


@pytest.mark.parametrize("failure", [ValueError("x"), KeyboardInterrupt(), ResourceError("x")])
def test_a_failure_leaves_everything_as_it_was(tmp_path: Path, failure: BaseException) -> None:
    target = tmp_path / "out.txt"
    target.write_text("before")

    def write() -> None:
        with atomic_write(target) as temporary:
            temporary.write_text("half")
            raise failure

    with pytest.raises(type(failure)):
        write()
    assert target.read_text() == "before"
    assert _files(tmp_path) == {"out.txt"}


def test_a_failure_of_the_disk_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ResourceError) as caught, atomic_write(tmp_path / "out.txt"):
        raise OSError(28, "No space left on device")
    assert (
        caught.value.message
        == f"{tmp_path}/out.txt: cannot be written: No space left on device; expected a writable file"
    )
    assert caught.value.exit_code == 3
    assert _files(tmp_path) == set()


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="No such file or directory"), atomic_write(tmp_path / "no" / "out.txt"):
        pytest.fail("there is nowhere to write to")


@pytest.mark.usefixtures("umask")
def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    with atomic_write(target) as temporary:
        temporary.write_text("x")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "out.txt", tmp_path / "link.txt"
    real.write_text("before")
    link.symlink_to(real)
    with atomic_write(link) as temporary:
        temporary.write_text("after")
    assert link.is_symlink()
    assert real.read_text() == "after"


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(ResourceError, match="is no regular file"), atomic_write(tmp_path / name):
            pytest.fail("it must not come to writing")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_leftover_of_the_same_name_is_not_touched(tmp_path: Path) -> None:
    leftover = tmp_path / f".out.txt.{os.getpid()}.0.tmp"
    leftover.write_text("someone else's")
    with atomic_write(tmp_path / "out.txt") as temporary:
        temporary.write_text("mine")
    assert leftover.read_text() == "someone else's"


@pytest.mark.parametrize("path", ["", "/dev/null", "{folder}", "{folder}/none/x"])
def test_a_place_that_cannot_work_is_refused_beforehand(tmp_path, path):
    with pytest.raises(ResourceError, match="expected a writable file"):
        check_folder(path.format(folder=tmp_path))


def test_a_file_that_is_there_may_be_replaced(tmp_path):
    (tmp_path / "x").write_text("old")
    check_folder(str(tmp_path / "x"))
    check_folder(str(tmp_path / "new"))
