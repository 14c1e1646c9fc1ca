"""What the other tests rest on: that a process which does not end is noticed, busy or asleep."""

import pytest

from tests.hostile.warm import warm


@pytest.mark.parametrize(("hangs", "seconds"), [("while True: pass", 1.0), ("import time; time.sleep(99)", 0.05)])
def test_what_hangs_is_ended_and_told_of(hangs, seconds):
    ended = warm("--version", before=hangs, seconds=seconds)
    assert (ended.timed_out, ended.stdout) == (True, b"")
