"""How failures are told; how Hypothesis draws: the same cases in every ``make test``, new ones with ``make search``."""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

# What tests share tells what it saw as they do.
pytest.register_assert_rewrite(*(f"tests.{room.name}" for room in Path(__file__).parent.iterdir() if room.is_dir()))
settings.register_profile("same", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_collection_finish():
    """No garbage collection walks the thousands of tests: each would take 0.3 s, and a benchmark asks for many."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure():
    gc.unfreeze()
