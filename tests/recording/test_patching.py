"""Functions are swapped, and swapped back; modules are waited for without importing anything."""

import importlib
import subprocess
import sys
import textwrap
import zipfile

import pytest
import torch
import torch.nn.functional as F

from attn_cli.recording.libraries import FILES
from attn_cli.recording.options import RecordOptions
from attn_cli.recording.recorder import Recorder
from attn_cli.recording.swapping.arrivals import wait_no_more, when_imported
from attn_cli.recording.swapping.patching import listening
from tests.recording import borrower
from tests.recording.kept import Kept, recorded

X = torch.randn(1, 2, 4, 8)


@pytest.fixture(autouse=True)
def _waiting_for_nothing():
    yield
    wait_no_more()


def test_names_in_all_loaded_modules_are_swapped_and_swapped_back():
    originals = (F.scaled_dot_product_attention, borrower.attend, torch.compile)
    _, calls, _ = recorded(lambda: borrower.attend(X, X, X))
    assert len(calls) == 1
    assert (F.scaled_dot_product_attention, borrower.attend, torch.compile) == originals
    assert torch._C._nn.scaled_dot_product_attention is originals[0]


def test_who_took_a_wrapper_along_may_go_on_using_it():
    taken, _, _ = recorded(lambda: F.scaled_dot_product_attention)
    assert torch.equal(taken(X, X, X), F.scaled_dot_product_attention(X, X, X))
    assert len(recorded(lambda: taken(X, X, X))[1]) == 1


def test_operators_keep_their_hash():
    operator = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
    before, own = hash(operator), operator._op
    assert recorded(lambda: hash(operator))[0] == before
    assert operator._op is own


def test_one_recording_at_a_time():
    recorder = Recorder(RecordOptions(), Kept())
    with listening(recorder):
        with pytest.raises(RuntimeError, match="one recording at a time"), listening(recorder):
            pass
        F.scaled_dot_product_attention(X, X, X)
    assert recorder.heard.calls == 1


def test_a_library_that_cannot_be_listened_to_ends_the_recording_alone(monkeypatch):
    def broken(module):
        raise AttributeError(f"nothing in {module}")

    monkeypatch.setattr("attn_cli.recording.swapping.patching.points_of", broken)
    result, calls, heard = recorded(lambda: F.scaled_dot_product_attention(X, X, X))
    assert result.shape == X.shape
    assert not calls
    assert heard.fault == "AttributeError: nothing in torch (in broken of test_patching.py)"


def test_errors_are_the_functions_own():
    def run():
        with pytest.raises(RuntimeError, match="Expected size"):
            F.scaled_dot_product_attention(X, X[..., :3], X)
        return F.scaled_dot_product_attention(X, X, X)

    assert recorded(run)[2].calls == 1


def test_a_function_compiled_by_itself_is_heard_once_a_call():
    def run():
        compiled = torch.compile(F.scaled_dot_product_attention, backend="aot_eager")
        return [compiled(X, X, X) for _ in range(2)]

    results, calls, heard = recorded(run)
    assert all(torch.equal(result, F.scaled_dot_product_attention(X, X, X)) for result in results)
    assert [call.site.function for call in calls] == ["scaled_dot_product_attention"] * 2
    assert (heard.calls, heard.compiled) == (2, True)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose ``inner`` is imported by itself."""
    folder = tmp_path / "waited_for"
    folder.mkdir()
    (folder / "__init__.py").write_text("from waited_for.inner import number\nafter = number\n")
    (folder / "inner.py").write_text("number = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in ("waited_for", "waited_for.inner"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("package")
def test_a_module_is_met_before_who_imports_it_goes_on():
    when_imported("waited_for.inner", lambda: setattr(sys.modules["waited_for.inner"], "number", 2))
    finders = len(sys.meta_path)
    assert importlib.import_module("waited_for").after == 2
    assert len(sys.meta_path) == finders - 1
    assert "exec_module" not in vars(sys.modules["waited_for.inner"].__loader__)


def test_a_module_that_is_there_is_met_now():
    met = []
    when_imported("sys", lambda: met.append(1))
    assert met == [1]


def test_a_failed_import_is_no_arrival(package):
    met = []
    (package / "inner.py").write_text("raise ValueError('broken')\n")
    when_imported("waited_for.inner", lambda: met.append(1))
    with pytest.raises(ValueError, match="broken"):
        importlib.import_module("waited_for")
    assert not met
    (package / "inner.py").write_text("number = 100000\n")
    importlib.invalidate_caches()
    importlib.import_module("waited_for")
    assert met == [1]


@pytest.mark.usefixtures("package")
def test_looking_for_a_module_is_no_arrival():
    met = []
    when_imported("waited_for", lambda: met.append(1))
    assert importlib.util.find_spec("waited_for") is not None
    assert importlib.util.find_spec("waited_for_in_vain") is None
    assert not met
    importlib.import_module("waited_for")
    assert met == [1]


def test_modules_in_zip_files_are_met(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as file:
        file.writestr("zipped_first.py", "import zipped_second\n")
        file.writestr("zipped_second.py", "")
    monkeypatch.syspath_prepend(tmp_path / "all.zip")
    met = []
    for name in ("zipped_first", "zipped_second"):
        when_imported(name, lambda name=name: met.append(name))
    importlib.import_module("zipped_first")
    assert met == ["zipped_second", "zipped_first"]


def run_in_a_new_process(program):
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_waiting_needs_no_torch():
    assert run_in_a_new_process("""
        import sys
        from attn_cli.recording.swapping.arrivals import when_imported
        from attn_cli.recording.libraries import FILES
        when_imported("torch", lambda: None)
        print("torch" in sys.modules, "numpy" in sys.modules)
    """) == ["False", "False"]


def test_a_recording_may_begin_when_torch_arrives():
    assert run_in_a_new_process("""
        import sys
        from attn_cli.recording.swapping.arrivals import when_imported

        def begin():
            global recorder
            from attn_cli.recording.options import RecordOptions
            from attn_cli.recording.swapping.patching import listen_for_good
            from attn_cli.recording.recorder import Recorder
            class Sink:
                def take(self, call):
                    return True
            recorder = Recorder(RecordOptions(), Sink())
            listen_for_good(recorder)

        when_imported("torch", begin)
        from torch.nn.functional import scaled_dot_product_attention as attend
        from torch.nn.attention.flex_attention import flex_attention
        import torch
        x = torch.randn(1, 2, 4, 8)
        attend(x, x, x)
        print(recorder.heard.kept, hasattr(flex_attention, "__wrapped__"))
    """) == ["1", "True"]


def test_every_file_of_the_table_has_its_points():
    from attn_cli.recording.libraries import points_of

    for module in FILES:
        points = points_of(module)
        assert points
        assert all(module in ("torch", point.module) for point in points)
