"""Where the figures come from: device, driver, PyTorch, threads and modes."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import torch

import attn_cli
from attn_cli.attention import torch_compat
from attn_cli.benchmark.allocator import keeps_freed_memory

Setting = str | int | float | bool | None
CPU_INFO = Path("/proc/cpuinfo")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
DRIVER = Path("/proc/driver/nvidia/version")
SMI_FIELDS = {
    "driver": "driver_version",
    "clock_mhz": "clocks.sm",
    "max_clock_mhz": "clocks.max.sm",
    "power_limit_watts": "power.limit",
}
TOOL_SECONDS = 5
ARM_FIELDS = ("implementer", "part", "variant", "revision")


def describe(device: torch.device, flushed_bytes: int = 0) -> dict[str, Setting]:
    """Everything that decides how long attention takes on ``device``; what is not known is None.

    Args:
        device: that the benchmark runs on.
        flushed_bytes: what the clock writes before each run.
    """
    return {
        "device": _device(device),
        **(_cuda(device) if device.type == "cuda" else _processor(device)),
        "torch": torch.__version__,
        "attn": attn_cli.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "allow_tf32": torch_compat.allows_tf32("matmul") if device.type == "cuda" else None,
        "cudnn_allow_tf32": torch_compat.allows_tf32("cudnn") if device.type == "cuda" else None,
        "l2_flush_bytes": flushed_bytes,
        "keeps_freed_memory": keeps_freed_memory(device),
    }


def _device(device: torch.device) -> str:
    """The device with its number: ``cuda`` alone is the current one, and the same as ``cuda:0`` where that is it."""
    if device.type == "cuda" and device.index is None:
        return f"cuda:{torch.cuda.current_device()}"
    return str(device)


def _processor(device: torch.device) -> dict[str, Setting]:
    text = _text(CPU_INFO)
    name = _processor_name(text)
    mhz = _found(r"cpu MHz\s*:\s*([\d.]+)", text)
    return {
        "device_name": name if device.type == "cpu" else f"Apple GPU of {name or platform.machine()}",
        "driver": None,
        "cuda": None,
        "clock_mhz": float(mhz) if mhz and device.type == "cpu" else None,
        "governor": _text(GOVERNOR).strip() or None,
    }


def _processor_name(text: str) -> str | None:
    """The maker's name of it; on ARM, where Linux tells numbers alone, those."""
    name = _found(r"model name\s*:\s*(.+)", text) or _brand()
    if name is not None:
        return name
    told = {what: _found(rf"CPU {what}\s*:\s*(\S+)", text) for what in ARM_FIELDS}
    if told["implementer"] and told["part"]:
        numbers = ", ".join(f"{what} {number}" for what, number in told.items() if number)
        return f"{platform.machine()} processor, {numbers}"
    return platform.processor() or None


def _brand() -> str | None:
    """What macOS calls the processor."""
    if sys.platform != "darwin":
        return None
    told = _ran(["sysctl", "-n", "machdep.cpu.brand_string"])
    return told or None


def _cuda(device: torch.device) -> dict[str, Setting]:
    properties = torch.cuda.get_device_properties(device)
    told = _nvidia_smi(str(getattr(properties, "uuid", "")))
    driver = told.get("driver") or _found(r"Kernel Module.*?\s(\d+\.[\d.]+)", _text(DRIVER))
    clock = _number(told.get("clock_mhz"))
    return {
        "device_name": properties.name,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_bytes": properties.total_memory,
        "l2_cache_bytes": int(properties.L2_cache_size),
        "driver": driver,
        "cuda": torch.version.cuda,
        "cudnn": torch_compat.cudnn_version(),
        "clock_mhz": torch_compat.cuda_clock_mhz(device) if clock is None else clock,
        "max_clock_mhz": _number(told.get("max_clock_mhz")),
        "power_limit_watts": _number(told.get("power_limit_watts")),
    }


def _nvidia_smi(uuid: str) -> dict[str, str]:
    """What the driver's own tool tells of the device with this id; nothing where it is missing or fails."""
    tool = shutil.which("nvidia-smi")
    if tool is None or not uuid:
        return {}
    which = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
    query = f"--query-gpu={','.join(SMI_FIELDS.values())}"
    command = [tool, f"--id={which}", query, "--format=csv,noheader,nounits"]
    values = [value.strip() for value in _ran(command).split(",")]
    return dict(zip(SMI_FIELDS, values, strict=True)) if len(values) == len(SMI_FIELDS) else {}


def _ran(command: list[str]) -> str:
    """What a tool printed; nothing where it is missing, fails or hangs."""
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return ran.stdout.strip()


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:  # "[N/A]"
        return None


def _found(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text)
    return match.group(1).strip() if match else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
