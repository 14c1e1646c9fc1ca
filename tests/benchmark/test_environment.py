"""What is said of the machine, and what is left unknown."""

import json
import subprocess
from types import SimpleNamespace

import pytest
import torch

from attn_cli.benchmark import environment
from attn_cli.benchmark.environment import describe

CPU = torch.device("cpu")


def test_it_says_where_the_figures_come_from():
    found = describe(CPU, 123)
    assert found["device"] == "cpu"
    assert found["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()
    assert found["float32_matmul_precision"] == torch.get_float32_matmul_precision()
    assert found["l2_flush_bytes"] == 123
    assert found["keeps_freed_memory"] in (True, False)
    assert found["driver"] is None
    assert found["cuda"] is None
    assert all(value is None or isinstance(value, str | int | float | bool) for value in found.values())
    json.dumps(found, allow_nan=False)


def test_the_processor_is_named_where_linux_tells(monkeypatch, tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("model name\t: Some CPU @ 2GHz\ncpu MHz\t\t: 1999.5\nmodel name\t: another\n")
    monkeypatch.setattr(environment, "CPU_INFO", info)
    found = describe(CPU)
    assert (found["device_name"], found["clock_mhz"]) == ("Some CPU @ 2GHz", 1999.5)
    monkeypatch.setattr(environment, "CPU_INFO", tmp_path / "missing")
    monkeypatch.setattr(environment, "GOVERNOR", tmp_path / "missing")
    monkeypatch.setattr(environment.platform, "processor", lambda: "")
    found = describe(CPU)
    assert (found["device_name"], found["clock_mhz"], found["governor"]) == (None, None, None)


def test_an_arm_processor_is_named_by_its_numbers(monkeypatch, tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text(
        "processor\t: 0\nCPU implementer\t: 0x41\nCPU variant\t: 0x3\nCPU part\t: 0xd0c\nCPU revision\t: 1\n"
    )
    monkeypatch.setattr(environment, "CPU_INFO", info)
    monkeypatch.setattr(environment.platform, "machine", lambda: "aarch64")
    name = describe(CPU)["device_name"]
    assert name == "aarch64 processor, implementer 0x41, part 0xd0c, variant 0x3, revision 1"


def test_macos_is_asked_for_the_brand(monkeypatch, tmp_path):
    asked = []

    def run(command, **_options):
        asked.append(command)
        return SimpleNamespace(stdout="Apple M9 Max\n")

    monkeypatch.setattr(environment, "CPU_INFO", tmp_path / "missing")
    monkeypatch.setattr(environment.sys, "platform", "darwin")
    monkeypatch.setattr(environment.subprocess, "run", run)
    assert describe(CPU)["device_name"] == "Apple M9 Max"
    assert asked == [["sysctl", "-n", "machdep.cpu.brand_string"]]


@pytest.fixture
def cuda(monkeypatch, tmp_path):
    """A CUDA device as PyTorch describes one; the driver's tool is missing."""
    properties = SimpleNamespace(
        name="Some GPU", major=9, minor=0, multi_processor_count=132, total_memory=2**36, L2_cache_size=2**25,
        uuid="abc-def",
    )  # fmt: skip
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: properties)
    monkeypatch.setattr(environment.torch_compat, "cuda_clock_mhz", lambda _device: 1234)
    monkeypatch.setattr(environment.shutil, "which", lambda _name: None)
    version = tmp_path / "version"
    version.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5\n")
    monkeypatch.setattr(environment, "DRIVER", version)
    return torch.device("cuda", 0)


def test_a_gpu_is_described_without_the_drivers_tool(cuda):
    found = describe(cuda)
    assert (found["device"], found["device_name"], found["compute_capability"]) == ("cuda:0", "Some GPU", "9.0")
    assert (found["driver"], found["clock_mhz"]) == ("550.54.15", 1234)
    assert found["power_limit_watts"] is None
    assert found["allow_tf32"] is False
    assert found["keeps_freed_memory"] is None


@pytest.mark.usefixtures("cuda")
def test_a_gpu_has_its_number_though_it_was_not_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert describe(torch.device("cuda"))["device"] == "cuda:1"
    assert describe(torch.device("cuda", 0))["device"] == "cuda:0"


def test_the_drivers_tool_is_asked_for_this_device_alone(cuda, monkeypatch):
    asked = []

    def run(command, **_options):
        asked.append(command)
        return SimpleNamespace(stdout="560.1, 1755, 1980, [N/A]\n")

    monkeypatch.setattr(environment.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(environment.subprocess, "run", run)
    found = describe(cuda)
    assert "--id=GPU-abc-def" in asked[0]
    assert (found["driver"], found["clock_mhz"], found["max_clock_mhz"]) == ("560.1", 1755, 1980)
    assert found["power_limit_watts"] is None


@pytest.mark.parametrize(
    "error", [OSError(), subprocess.TimeoutExpired("nvidia-smi", 5), subprocess.CalledProcessError(9, "nvidia-smi")]
)
def test_a_tool_that_fails_leaves_it_unknown(cuda, monkeypatch, error):
    def run(*_, **_options):
        raise error

    monkeypatch.setattr(environment.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(environment.subprocess, "run", run)
    assert describe(cuda)["driver"] == "550.54.15"
