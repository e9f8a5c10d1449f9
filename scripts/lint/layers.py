#!/usr/bin/env python3
"""Checks what the linker cannot see: that every include points down the house, that third-party headers stay in
the files they belong to, and that files stay readable in size."""
import pathlib
import re
import subprocess
import sys

MAX_LINES = 400
SOURCES = ("*.h", "*.cc", "*.cuh", "*.cu")

# Room -> rooms whose headers it may include, itself aside. A kernel family sees kernels/common only.
ENGINE = {
    "util": set(),
    "core": {"util"},
    "comm": {"util", "core"},
    "params": {"util", "core", "comm"},
    "io": {"util", "core"},
    "data": {"util", "core", "io"},
    "world": {"util", "core", "comm", "io"},
    "ops": {"util", "core", "comm", "params"},
    "optim": {"util", "core", "comm", "params"},
}
LOWER = {"models": {"engine", "kernels"}, "train": {"models", "engine", "kernels"}, "eval": {"models", "engine", "kernels"}}

# Third-party header prefix -> the only files that include it.
THIRD_PARTY = {
    "oneapi/dnnl": {"kernels/conv/conv2d_onednn.cpu.cc"},
    "dnnl": {"kernels/linear/gemm.cpu.cc", "kernels/bench/ceilings.cc"},
    "omp.h": {"kernels/common/one_thread.cc"},
    "Random123": {"kernels/random/philox.cpu.cc", "kernels/random/philox.cu"},
    "toml++": {"engine/util/toml.h"},
    "nlohmann": {"engine/io/safetensors.cc", "engine/io/flat_json.cc"},
    "Eigen": {"engine/params/init.cc", "eval/preconditioner.cc"},
    "zlib.h": {"engine/data/idx.cc"},
    "xxhash.h": {"engine/io/hasher.cc"},
    "png.h": {"engine/io/png.cc"},
    "mpi.h": {"engine/world/with_mpi/mpi_world.cc"},
    "lbfgs.h": {"eval/probe.cc"},
    "cuda": {"kernels/common/launch.cuh", "kernels/common/cuda_status.h"},
    "cudnn": {"kernels/conv/conv_plans.cudnn.cc"},
    "cublas": {"kernels/linear/gemm.cublaslt.cc"},
    "nccl": {"engine/comm/with_nccl/nccl_comm.cc"},
    "dlfcn.h": {"kernels/common/vendor_library.cuda.cc"},
    "benchmark": {"kernels/bench/bigbigan_bench.cc", "kernels/bench/bench_target.h"},
}

# What only some files may say -> those files. Kernels see CUDA through kernels/common, so that the emulated device, too,
# can run them.
CUDA_WORDS = {
    r"<<<": {"kernels/common/launch.cuh"},
    r"\b__shared__\b": {"kernels/common/launch.cuh", "tests/emu/cuda_emu.h"},
    r"\b__CUDACC__\b": {"kernels/common/launch.cuh", "kernels/common/ptx.cuh"},
    r"\basm\b": {"kernels/common/ptx.cuh"},
    r"\b__activemask\b|\bcooperative_groups\b": set(),
}
EMULATOR_WORDS = re.compile(r"\bemu::|tests/emu|cuda_emu")
SEES_EMULATOR = {"kernels/common/launch.cuh", "kernels/common/ptx.cuh"}


def allowed(includer: str, included: str) -> bool:
    a, b = includer.split("/"), included.split("/")
    if a[0] == "tests" or b[0] not in ("kernels", "engine", "models", "train", "eval", "tests"):
        return True
    if a[0] == "kernels":
        if a[1] == "bench":
            return True
        return b[0] == "kernels" and b[1] in ("common", a[1])
    if a[0] == "engine":
        return b[0] == "kernels" or (b[0] == "engine" and (b[1] == a[1] or b[1] in ENGINE[a[1]]))
    return b[0] == a[0] or b[0] in LOWER[a[0]]


def problems_of(path: str) -> list[str]:
    text = pathlib.Path(path).read_text()
    found = []
    if text.count("\n") > MAX_LINES:
        found.append(f"{path}: {text.count(chr(10))} lines, at most {MAX_LINES}: two rooms?")
    if path.endswith((".h", ".cuh")) and "#pragma once" not in text:
        found.append(f"{path}: no #pragma once")
    if not path.startswith("tests/") and re.search(r"^using namespace", text, re.M):
        found.append(f"{path}: using namespace outside tests")
    code = re.sub(r"//.*", "", text)
    for word, files in CUDA_WORDS.items():
        if re.search(word, code) and path not in files:
            found.append(f"{path}: says {word}, which belongs to {', '.join(sorted(files)) or 'no file'}")
    if not path.startswith("tests/") and path not in SEES_EMULATOR and EMULATOR_WORDS.search(code):
        found.append(f"{path}: refers to the emulated device")
    for included in re.findall(r'^#include [<"]([^>"]+)[>"]', text, re.M):
        if not allowed(path, included):
            found.append(f"{path}: includes {included}, which lies above or beside it")
        for prefix, files in THIRD_PARTY.items():
            if included.startswith(prefix) and path not in files and not path.startswith("tests/"):
                found.append(f"{path}: includes {included}, which belongs to {', '.join(sorted(files))}")
    return found


def main() -> int:
    files = subprocess.run(["git", "ls-files", *SOURCES], capture_output=True, text=True, check=True).stdout.split()
    found = [problem for path in files if pathlib.Path(path).exists() for problem in problems_of(path)]
    print("\n".join(found) if found else f"layers: {len(files)} files, every include points down")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
