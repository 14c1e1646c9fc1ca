"""Where the figures come from: device, driver, PyTorch, threads and modes."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path

import torch

import attn_cli
from attn_cli.attention import torch_compat

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
SMI_SECONDS = 5


def describe(device: torch.device, flushed_bytes: int = 0) -> dict[str, Setting]:
    """Everything that decides how long attention takes on ``device``; what is not known is None.

    Args:
        device: that the benchmark runs on.
        flushed_bytes: what the clock writes before each run.
    """
    return {
        "device": str(device),
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
    }


def _processor(device: torch.device) -> dict[str, Setting]:
    text = _text(CPU_INFO)
    name = _found(r"model name\s*:\s*(.+)", text) or platform.processor() or None
    mhz = _found(r"cpu MHz\s*:\s*([\d.]+)", text)
    return {
        "device_name": name if device.type == "cpu" else f"Apple GPU of {name or platform.machine()}",
        "driver": None,
        "cuda": None,
        "clock_mhz": float(mhz) if mhz and device.type == "cpu" else None,
        "governor": _text(GOVERNOR).strip() or None,
    }


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
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=SMI_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    values = [value.strip() for value in ran.stdout.strip().split(",")]
    return dict(zip(SMI_FIELDS, values, strict=True)) if len(values) == len(SMI_FIELDS) else {}


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
