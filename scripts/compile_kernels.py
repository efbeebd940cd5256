#!/usr/bin/env python3
"""Compiles the CUDA kernels for several kinds of GPU into one file, for machines without a compiler; needs nvcc, no GPU.

    python scripts/compile_kernels.py DIRECTORY ARCHITECTURE…      python scripts/compile_kernels.py engines 80 86 89

The file's name tells its source; put it into the directory of engines. GPUs newer than the last architecture get code that their driver
compiles on first use.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from facesearch_trt.inference.kernels import kernel_source


def main() -> None:
    """Compile."""
    folder, *architectures = Path(sys.argv[1]), *sys.argv[2:]
    source = kernel_source()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"kernels-{hashlib.sha256(source.encode()).hexdigest()[:12]}.fatbin"
    codes = [f"-gencode=arch=compute_{one},code=sm_{one}" for one in architectures]
    codes.append(f"-gencode=arch=compute_{architectures[-1]},code=compute_{architectures[-1]}")
    with tempfile.TemporaryDirectory() as work:
        file = Path(work) / "kernels.cu"
        file.write_text(source, encoding="utf-8")
        # Fused multiply-adds would round differently from the CPU.
        subprocess.run(["nvcc", "--fatbin", "-fmad=false", *codes, "-o", target, file], check=True)
    print(target)


if __name__ == "__main__":
    main()
