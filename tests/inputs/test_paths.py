import errno
import os
import subprocess
import sys

import pytest

from attn_cli.errors import InputError
from attn_cli.inputs import paths
from attn_cli.inputs.paths import check_readable, opened


def message_for(path):
    with pytest.raises(InputError) as caught:
        check_readable(str(path))
    return f"{caught.value.message} | {caught.value.hint}"


def test_a_readable_file_and_standard_input_pass(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"x")
    check_readable(str(path))
    check_readable("-")


def test_a_missing_file_is_named_with_the_nearest_name(tmp_path):
    (tmp_path / "capture.safetensors").write_bytes(b"x")
    message = message_for(tmp_path / "captur.safetensors")
    assert "captur.safetensors: no such file; expected a .safetensors, .npz" in message
    assert message.endswith(f"there is {tmp_path / 'capture.safetensors'}")


def test_a_file_in_the_way_of_a_folder_is_no_such_file(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    assert "no such file" in message_for(tmp_path / "a" / "b.npz")


def test_a_folder_is_refused_with_what_is_in_it(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    message = message_for(tmp_path)
    assert "is a folder" in message
    assert "model.safetensors.index.json" in message


@pytest.mark.parametrize("path", ["x\0y", "y" * 5000])
def test_a_path_that_no_system_takes_is_refused(path):
    assert "cannot be opened" in message_for(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(b"x")
    path.chmod(0)
    assert "Permission denied" in message_for(path)


@pytest.mark.skipif(os.name != "posix", reason="there are no such files on Windows")
@pytest.mark.parametrize("is_held", [False, True], ids=["no writer", "a silent one"])
def test_a_pipe_that_was_refused_is_not_kept_open(tmp_path, monkeypatch, is_held):
    monkeypatch.setattr(paths, "WRITER_SECONDS", 0.05)
    pipe = tmp_path / "x"
    os.mkfifo(pipe)
    holder = os.open(pipe, os.O_RDWR) if is_held else None
    with pytest.raises(InputError, match="nobody wrote to"):
        opened(str(pipe))
    if holder is not None:
        os.close(holder)
    with pytest.raises(OSError, match=os.strerror(errno.ENXIO)):  # nobody reads
        os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)


@pytest.mark.parametrize("module", ["attn_cli.inputs", "attn_cli.inputs.paths", "attn_cli.inputs.options"])
def test_asking_for_a_path_does_not_import_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
