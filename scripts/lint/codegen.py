#!/usr/bin/env python3
"""Reads what nvcc makes of the kernels, where a GPU would only show a slower run: no spills and no stack frames,
registers per kernel, and 16-byte accesses where they are promised.

  scripts/lint/codegen.py build-cuda            checks, and prints one line per kernel
  scripts/lint/codegen.py build-cuda --quiet    prints only what is wrong

Compiles each .cu of the build again, to PTX, with the flags of its compile_commands.json, and hands the PTX to ptxas."""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field

MAX_REGISTERS = 96  # with more, fewer than a third of an SM's warps have room
# All taps of a pack's filters, of weights alone: little to read beside activations.
MANY_REGISTERS = {"fold_kernel": 128}
# Matrix products in tiles keep their sums in registers. Their template arguments are the widths of tiles.
TILED = {"forward_kernel": 128, "backward_query_kernel": 128, "backward_key_kernel": 168,
         "forward_bf16_kernel": 248, "backward_query_bf16_kernel": 128, "backward_key_bf16_kernel": 248}

# Kernels that run over a whole tensor in packs and end with a tail of single elements: at least so many (loads, stores)
# of 16 bytes.
LOOPS = {
    "add_kernel": (2, 1),
    "backward_key_bf16_kernel": (41, 10),
    "backward_key_kernel": (25, 6),
    "backward_query_bf16_kernel": (34, 5),
    "backward_query_kernel": (20, 3),
    "chunk_kernel": (3, 0),
    "column_sums_kernel": (5, 0),
    "denormalize_kernel": (1, 0),
    "dot_kernel": (2, 0),
    "ema_kernel": (2, 1),
    "forward_bf16_kernel": (19, 5),
    "forward_kernel": (9, 3),
    "map_backward_kernel": (3, 1),
    "map_kernel": (2, 1),
    "optimizer_kernel": (6, 4),
    "rows_kernel": (15, 0),
    "scale_by_kernel": (1, 0),
    "scale_kernel": (5, 5),
}

# bf16 beside f32, whose packs are half as many elements: accesses of 8 bytes.
HALVES = {("ld", 8), ("st", 8)}

# Kernels whose last template argument is the number of elements per access: instantiated for packs, they touch memory in
# 16 bytes only, but for what is listed here, (load or store, bytes) beside the tensor.
PACKED = {
    "a_sums_kernel": set(),
    "add_bias_kernel": set(),
    "add_upsampled_kernel": set(),
    "apply_kernel": {("ld", 2), ("ld", 4), ("ld", 8)},  # parameters and statistics of a block's channels
    "backward_x_kernel": {("ld", 2), ("ld", 4), ("ld", 8)},  # the same, and their sums
    "block_moments_kernel": {("st", 8)},  # f64 moments
    "box_kernel": set(),
    "chunk_sums_kernel": {("st", 8)},  # f64 sums
    "copy_features_kernel": set(),
    "cross_entropy_kernel": {("ld", 2), ("ld", 4), ("ld", 8), ("st", 4), ("st", 8)},  # label, its logit, terms
    "embedding_backward_kernel": {("ld", 4)} | HALVES,  # labels
    "embedding_kernel": {("ld", 4)},  # labels
    "fill_kernel": {("ld", 8)} | HALVES,  # the first sample's number
    "finish_kernel": HALVES,
    "fold_kernel": HALVES,
    "global_pool_backward_kernel": set(),
    "global_pool_kernel": set(),
    "max_pool_backward_kernel": {("ld", 4), ("ld", 8)},  # bytes that say which element was largest
    "max_pool_kernel": {("st", 4), ("st", 8)},  # the same
    "normalize_kernel": {("ld", 1), ("ld", 4), ("ld", 8)},  # u8 pixels
    "pool_sum_kernel": set(),
    "relu_pool_backward_kernel": set(),
    "relu_pool_kernel": set(),
    "reparametrize_backward_kernel": set(),
    "reparametrize_kernel": set(),
    "join_backward_kernel": set(),
    "join_kernel": set(),
    "softmax_backward_kernel": set(),
    "softmax_kernel": set(),
    "split_backward_kernel": {("ld", 4)} | HALVES,  # rows of 12 channels of bf16; the winners' bytes
    "split_kernel": {("st", 4)} | HALVES,  # the same
    "sums_kernel": {("ld", 2), ("ld", 4), ("ld", 8), ("st", 8)},  # as in apply_kernel; f64 sums
    "update_nearest_kernel": {("ld", 4), ("st", 4)},  # the lists
    "upsample_kernel": set(),
}

ACCESS = re.compile(r"^\s*(?:@!?%p\d+\s+)?(ld|st)((?:\.[a-zA-Z0-9_:]+)*)\s", re.M)


@dataclass
class Kernel:
    name: str  # demangled, without return type, namespaces and parameters: "relu_kernel<float, 4>"
    source: str
    registers: int = 0
    stack: int = 0
    spills: int = 0
    widths: Counter = field(default_factory=Counter)  # ("ld" or "st", bytes) -> instructions

    @property
    def family(self) -> str:
        return self.name.split("<")[0]

    @property
    def pack(self) -> int:
        """Elements per access, where a template argument says it, else 0."""
        arguments = re.findall(r"[<,] *(\d+)(?=[,>])", self.name)
        return max(map(int, arguments), default=0)

    def wide(self, access: str) -> int:
        return self.widths[access, 16]


def short_name(mangled: list[str]) -> dict[str, str]:
    """Demangled names without what all kernels share."""
    text = subprocess.run(["c++filt", *mangled], capture_output=True, text=True, check=True).stdout.splitlines()
    names = {}
    for symbol, long in zip(mangled, text):
        long = re.sub(r"\(anonymous namespace\)::|bigbigan::|^void ", "", long)
        depth, end = 0, len(long)
        for i, letter in enumerate(long):  # the parameters begin at the first "(" outside <>
            depth += letter == "<"
            depth -= letter == ">"
            if letter == "(" and depth == 0:
                end = i
                break
        names[symbol] = re.sub(r"\((?:int|bool)\)", "", long[:end])
    return names


def access_width(suffixes: str) -> int | None:
    """Bytes of an access to global memory (or to an address of unknown space); None for other memory."""
    parts = suffixes.split(".")[1:]
    if {"shared", "local", "const", "param"} & {p.split("::")[0] for p in parts}:
        return None
    word = next(int(m.group(1)) // 8 for p in reversed(parts) if (m := re.fullmatch(r"[busf](8|16|32|64|128)", p)))
    lanes = next((int(p[1:]) for p in parts if re.fullmatch(r"v[248]", p)), 1)
    return word * lanes


def entries(ptx: str) -> dict[str, str]:
    """Body of each kernel, by its mangled name."""
    found = {}
    for match in re.finditer(r"\.entry (\w+)\(", ptx):
        begin = ptx.index("\n{", match.end())
        found[match.group(1)] = ptx[begin : ptx.index("\n}", begin)]
    return found


def compile_source(command: str, source: str, folder: str) -> list[Kernel]:
    args = shlex.split(command)
    nvcc = next(i for i, a in enumerate(args) if a.endswith("nvcc"))
    target = next(a for a in args if a.startswith("--generate-code="))
    arch = re.search(r"compute_(\w+?),", target).group(1)
    kept, skip = [], False
    for a in args[nvcc:]:
        if skip or a.startswith("--generate-code=") or a in ("-MD", "-c", "-lineinfo"):
            skip = False
            continue
        if a in ("-o", "-MT", "-MF"):
            skip = True
            continue
        kept.append(a)
    ptx = os.path.join(folder, pathlib.Path(source).stem + ".ptx")
    subprocess.run([*kept, "-ptx", f"-arch=compute_{arch}", "-o", ptx], check=True)
    ptxas = pathlib.Path(args[nvcc]).with_name("ptxas")
    log = subprocess.run([ptxas, "-v", f"-arch=sm_{arch}", ptx, "-o", os.devnull], capture_output=True, text=True)
    if log.returncode != 0:
        sys.exit(f"{source}: ptxas: {log.stdout}{log.stderr}")
    bodies = entries(pathlib.Path(ptx).read_text())
    names = short_name(list(bodies)) if bodies else {}
    kernels = {}
    for symbol, body in bodies.items():
        kernel = kernels[symbol] = Kernel(names[symbol], source)
        for access in ACCESS.finditer(body):
            width = access_width(access.group(2))
            if width is not None:
                kernel.widths[access.group(1), width] += 1
    subject = None  # a kernel, or a function that kernels call
    for line in (log.stdout + log.stderr).splitlines():
        if match := re.search(r"Function properties for (\S+)", line):
            subject = kernels.setdefault(match.group(1), Kernel(match.group(1), source, registers=1))
        elif match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            stack, stores, loads = map(int, match.groups())
            subject.stack, subject.spills = stack, stores + loads
        elif match := re.search(r"Used (\d+) registers", line):
            subject.registers = int(match.group(1))
    return [k for symbol, k in kernels.items() if symbol in bodies or k.stack or k.spills]


def problems_of(kernel: Kernel) -> list[str]:
    found = []
    if kernel.registers == 0:
        found.append("ptxas reported no registers")
    limit = (TILED | MANY_REGISTERS).get(kernel.family, MAX_REGISTERS)
    if kernel.registers > limit:
        found.append(f"{kernel.registers} registers, at most {limit}")
    if kernel.spills:
        found.append(f"{kernel.spills} bytes of spills")
    if kernel.stack:
        found.append(f"a stack frame of {kernel.stack} bytes")
    if kernel.family in LOOPS:
        for access, promised in zip(("ld", "st"), LOOPS[kernel.family]):
            if kernel.wide(access) < promised:
                found.append(f"{kernel.wide(access)} {access} of 16 bytes, at least {promised} promised")
    elif kernel.pack > 1 and kernel.family not in TILED:
        if kernel.family not in PACKED:
            found.append("packs, and no promise in scripts/lint/codegen.py: add it to PACKED")
        elif kernel.wide("ld") + kernel.wide("st") == 0 and not HALVES <= PACKED[kernel.family]:
            found.append("no access of 16 bytes")
        for (access, width), count in sorted(kernel.widths.items()):
            if width < 16 and (access, width) not in PACKED.get(kernel.family, ()):
                found.append(f"{count} {access} of {width} bytes in a kernel of packs")
    return [f"{kernel.source}: {kernel.name}: {text}" for text in found]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args()
    commands = json.loads((options.build / "compile_commands.json").read_text())
    sources = [(c["command"], c["file"], c["directory"]) for c in commands if c["file"].endswith(".cu")]
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [pool.submit(compile_source, command, source, folder) for command, source, _ in sources]
        kernels = [k for job in jobs for k in job.result()]
    for k in [] if options.quiet else sorted(kernels, key=lambda k: k.name):
        widths = "  ".join(f"{kind}{8 * width} x{n}" for (kind, width), n in sorted(k.widths.items()))
        print(f"{k.registers:4} registers  {k.name:60} {widths}")
    found = [problem for k in kernels for problem in problems_of(k)]
    names = {k.family for k in kernels}
    found += [f"{name}: promised, but no such kernel" for name in sorted({*LOOPS, *PACKED, *TILED} - names)]
    print("\n".join(found) if found else f"codegen: {len(kernels)} kernels, no spills, no stack frames, packs whole")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
