"""What the other tests rest on: that a process which does not end is noticed, busy or asleep."""

import os
import socket
import subprocess
import sys

import pytest

from tests.cli.process import ROOT, environment
from tests.hostile.warm import server, warm


@pytest.mark.parametrize(("hangs", "seconds"), [("while True: pass", 1.0), ("import time; time.sleep(99)", 0.05)])
def test_what_hangs_is_ended_and_told_of(hangs, seconds):
    ended = warm("--version", before=hangs, seconds=seconds)
    assert (ended.timed_out, ended.stdout) == (True, b"")


@pytest.mark.parametrize("said", [None, b"", b'{"arguments": ['])
def test_whoever_asks_and_goes_away_disturbs_nobody(said):
    with socket.socket(socket.AF_UNIX) as connection, open(os.devnull, "r+b") as nothing:
        connection.connect(server().address)
        if said is not None:
            socket.send_fds(connection, [(99).to_bytes(8, "big")], [nothing.fileno()] * 3)
            connection.sendall(said)
    assert warm("--version").returncode == 0


def test_a_long_name_of_the_temporary_folder_is_no_hindrance(tmp_path):
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    script = "from tests.hostile.warm import warm; print(warm('--version').returncode)"
    place = environment(TMPDIR=str(folder), PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=place, capture_output=True, check=False)
    assert (done.stdout, done.returncode) == (b"0\n", 0), done.stderr
