"""What this machine is, as a line of JSON; needs torch at most."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

PEAKS: Final = {
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "GH200": 989.0,
    "B200": 2250.0,
    "A100": 312.0,
    "A10": 125.0,
    "A40": 150.0,
    "L40S": 362.0,
    "L40": 181.0,
    "L4": 121.0,
    "4090": 165.0,
    "3090": 71.0,
}
"""Dense bf16 TFLOP/s by the makers' data sheets."""


def peak_of(device: str) -> float | None:
    """TFLOP/s of a device by its name, where known."""
    words = device.replace("-", " ").split()
    for name, peak in PEAKS.items():
        if all(word in words for word in name.split()):
            return peak
    return None


def describe() -> dict[str, Any]:
    """All facts; `device` is missing where torch finds no CUDA device."""
    facts: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "machine": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": None,
        "driver": _driver(),
    }
    try:
        import torch  # noqa: PLC0415  # it may be missing
    except Exception as error:  # noqa: BLE001  # a broken installation raises anything
        print(error, file=sys.stderr)
        return facts
    facts |= {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }
    with contextlib.suppress(RuntimeError, AssertionError):
        if torch.cuda.is_available():
            properties = torch.cuda.get_device_properties(0)
            facts |= {
                "device": properties.name,
                "devices": torch.cuda.device_count(),
                "capability": f"{properties.major}.{properties.minor}",
                "memory_gib": round(properties.total_memory / 2**30, 1),
                "multiprocessors": properties.multi_processor_count,
                "bf16": torch.cuda.is_bf16_supported(),
                "peak_bf16_tflops": peak_of(properties.name),
            }
    return facts


def _driver() -> str | None:
    found = shutil.which("nvidia-smi")
    if found is None:
        return None
    with contextlib.suppress(subprocess.SubprocessError, OSError, IndexError):
        return subprocess.run(  # no shell
            [found, "--query-gpu=driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        ).stdout.splitlines()[0]
    return None


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    print(json.dumps(describe()))
