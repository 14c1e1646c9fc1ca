"""The file that --save writes, read back with safetensors' own reader."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from attn_cli.attention.selection import Selection
from attn_cli.errors import ResourceError
from attn_cli.reporters import saved
from attn_cli.reporters.saved import save_outputs
from attn_cli.results import Outputs, RunResult
from tests.reporters.results_for_tests import Case, make_call, make_result


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def test_output_and_lse_are_always_there(tmp_path: Path) -> None:
    call = make_call(Case(batch=2))
    save_outputs(RunResult("run", (call,)), str(tmp_path / "x.safetensors"))
    tensors, _ = _read(tmp_path / "x.safetensors")
    assert set(tensors) == {"output", "lse"}
    assert call.outputs is not None
    assert torch.equal(tensors["output"], call.outputs.output)
    assert torch.equal(tensors["lse"], call.outputs.lse)


def test_what_was_asked_for_is_there_too(tmp_path: Path) -> None:
    call = make_call(Case(batch=2, with_weights=True, has_sinks=True, with_projection=True))
    save_outputs(RunResult("run", (call,)), str(tmp_path / "x.safetensors"))
    tensors, _ = _read(tmp_path / "x.safetensors")
    assert set(tensors) == {"output", "lse", "weights", "sink_weights", "projected"}
    assert call.inspection.weights is not None
    assert torch.equal(tensors["weights"], call.inspection.weights)
    assert call.outputs is not None
    assert call.outputs.projected is not None
    assert torch.equal(tensors["projected"], call.outputs.projected)


def test_several_calls_stand_behind_their_prefix(tmp_path: Path) -> None:
    cases = [Case(layer=3, prefix="layers.3"), Case(layer=4, prefix="layers.4"), Case()]
    save_outputs(make_result(*cases), str(tmp_path / "x.safetensors"))
    tensors, metadata = _read(tmp_path / "x.safetensors")
    assert set(tensors) == {
        f"{prefix}.{name}" for prefix in ("layers.3", "layers.4", "calls.2") for name in ("output", "lse")
    }
    assert list(json.loads(metadata["calls"])) == ["layers.3", "layers.4", "calls.2"]


def test_no_call_takes_the_prefix_of_another(tmp_path: Path) -> None:
    cases = [Case(), Case(prefix="calls.0"), Case(prefix="calls.1")]
    result = make_result(*cases)
    save_outputs(result, str(tmp_path / "x.safetensors"))
    tensors, metadata = _read(tmp_path / "x.safetensors")
    for prefix, call in zip(["calls.2", "calls.0", "calls.1"], result.calls, strict=True):
        assert call.outputs is not None
        assert torch.equal(tensors[f"{prefix}.output"], call.outputs.output)
    assert list(json.loads(metadata["calls"])) == ["calls.2", "calls.0", "calls.1"]


def test_the_metadata_say_which_part_of_the_call_it_is(tmp_path: Path) -> None:
    case = Case(heads=2, layer=3, selection=Selection(batch=(4,), heads=(5, 7)))
    save_outputs(make_result(case), str(tmp_path / "x.safetensors"))
    _, metadata = _read(tmp_path / "x.safetensors")
    assert metadata["schema"] == "attn.saved/1"
    told = json.loads(metadata["calls"])[""]
    assert (told["layer"], told["batch"], told["heads"], told["queries"]) == (3, [4], [5, 7], None)
    assert (told["source"], told["kernel"]) == ("case.safetensors", "flash")


def test_a_selection_of_queries_is_told(tmp_path: Path) -> None:
    call = make_call(Case())
    index = replace(call.inspection.index, queries=torch.tensor([2, 5, 6]), total_queries=9)
    call = replace(call, inspection=replace(call.inspection, index=index))
    save_outputs(RunResult("run", (call,)), str(tmp_path / "x.safetensors"))
    assert json.loads(_read(tmp_path / "x.safetensors")[1]["calls"])[""]["queries"] == [2, 5, 6]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_kernels_dtype_is_kept(tmp_path: Path, dtype: torch.dtype) -> None:
    call = make_call(Case())
    assert call.outputs is not None
    outputs = replace(call.outputs, output=call.outputs.output.to(dtype))
    call = replace(call, outputs=outputs)
    save_outputs(RunResult("run", (call,)), str(tmp_path / "x.safetensors"))
    tensors, _ = _read(tmp_path / "x.safetensors")
    assert tensors["output"].dtype == dtype
    assert torch.equal(tensors["output"], outputs.output)


def test_views_and_shared_memory_are_written_out(tmp_path: Path) -> None:
    call = make_call(Case(batch=2))
    assert call.outputs is not None
    output = call.outputs.output.transpose(2, 3)
    views = Outputs(output, torch.zeros(1, 1, 1).expand(2, 2, 3), output.flatten(2))
    for outputs in (views, replace(views, projected=output)):
        one = replace(call, outputs=outputs)
        save_outputs(RunResult("run", (one,)), str(tmp_path / "x.safetensors"))
        tensors, _ = _read(tmp_path / "x.safetensors")
        assert torch.equal(tensors["output"], output)
        assert tensors["lse"].shape == (2, 2, 3)


def test_a_failed_write_keeps_the_file_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_tensors: object, path: Path, _metadata: object) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("Error while serializing: No space left on device")

    monkeypatch.setattr(saved, "save_file", fail)
    target = tmp_path / "x.safetensors"
    target.write_bytes(b"before")
    with pytest.raises(ResourceError, match="No space left on device") as caught:
        save_outputs(make_result(Case()), str(target))
    assert "\n" not in caught.value.message
    assert target.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]
