#!/usr/bin/env python3
"""Line coverage of the CUDA host code, from the counts that a build with BIGBIGAN_COVERAGE left: each line that did
not run, a figure per file, and the whole. Device functions, which begin with __global__ or __device__, do not count.

    cuda_coverage.py BUILD_FOLDER LEAST_PERCENT
"""
import collections
import json
import pathlib
import re
import subprocess
import sys

HOST_CODE = re.compile(r"^(kernels/.*\.cu|engine/core/backend_cuda/.*)$")
DEVICE = re.compile(r"__(global|device)__")
ROOT = pathlib.Path(__file__).resolve().parents[2]


def device_functions(source: str, functions: list) -> set:
    """Mangled names of the functions that run on the device."""
    lines = (ROOT / source).read_text().splitlines()
    names = set()
    for function in functions:
        first = function["start_line"]
        head = "\n".join(lines[max(0, first - 3):first])
        # The head of this function alone: what stands behind the end of the one before.
        if DEVICE.search(re.split(r"[};]\s*\n", head)[-1]):
            names.add(function["name"])
    return names


def main() -> int:
    build, least = pathlib.Path(sys.argv[1]).resolve(), float(sys.argv[2])
    runs = collections.defaultdict(lambda: collections.defaultdict(int))
    for counts in build.rglob("*.gcda"):
        found = subprocess.run(["gcov", "--json-format", "--stdout", counts], cwd=build, check=True,
                               capture_output=True, text=True).stdout
        for report in found.splitlines():
            for file in json.loads(report)["files"]:
                path = pathlib.Path(build, file["file"]).resolve()
                source = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else ""
                if not HOST_CODE.match(source):
                    continue
                on_device = device_functions(source, file["functions"])
                for line in file["lines"]:
                    if line.get("function_name") not in on_device:
                        runs[source][line["line_number"]] += line["count"]
    total = covered = 0
    for source, lines in sorted(runs.items()):
        missing = sorted(number for number, count in lines.items() if count == 0)
        total, covered = total + len(lines), covered + len(lines) - len(missing)
        share = 100 * (1 - len(missing) / len(lines))
        print(f"{share:6.1f} %  {source}{': not run: ' if missing else ''}{', '.join(map(str, missing))}")
    percent = 100 * covered / max(total, 1)
    print(f"{percent:6.1f} %  of {total} lines of CUDA host code; at least {least} % expected")
    return 0 if total > 0 and percent >= least else 1


if __name__ == "__main__":
    sys.exit(main())
