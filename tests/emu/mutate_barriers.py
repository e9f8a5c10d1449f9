#!/usr/bin/env python3
"""Leaves out one __syncthreads after the other and expects the tests to fail: a survivor is a barrier that is not needed, or
a test that is too weak.

  mutate_barriers.py TEST_BINARY [ARGUMENT...]

No source is changed: EMU_BARRIERS lists the barriers that a run meets, EMU_SKIP_BARRIER makes one of them do nothing.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

# (test binary, file, number of the barrier in it) -> why leaving it out changes nothing there. A barrier that no test binary
# needs is removed instead.
REDUNDANT: dict[tuple[str, str, int], str] = {}

ORDERS = [{"EMU_ORDER": "ascending"}, {"EMU_ORDER": "descending"}] + [
    {"EMU_ORDER": "random", "EMU_SEED": str(seed)} for seed in (1, 2, 3)
]
TIMEOUT_SECONDS = 300  # a kernel that waits for what never comes counts as noticed


def passes(command: list[str], setting: dict[str, str]) -> bool:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EMU_")} | setting
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def sites_of(command: list[str]) -> list[str]:
    with tempfile.NamedTemporaryFile("r") as listed:
        if not passes(command, {"EMU_BARRIERS": listed.name}):
            sys.exit(f"{command[0]}: fails with all barriers in place")
        return listed.read().split()


def ordinal(site: str, source: str) -> int:
    """Which of the file's barriers it is: line numbers change too often to be listed."""
    lines = pathlib.Path(source).read_text().splitlines()
    return sum("__syncthreads" in line for line in lines[: int(site.rsplit(":", 1)[1])])


def main() -> int:
    command = sys.argv[1:]
    root = pathlib.Path(__file__).resolve().parents[2]
    survivors, listed = [], set()
    sites = sites_of(command)
    for site in sites:
        source = site.rsplit(":", 1)[0].removeprefix(f"{root}/").lstrip("./")  # relative to the build folder, or absolute
        key = (pathlib.Path(command[0]).name, source, ordinal(site, str(root / source)))
        noticed = any(not passes(command, {"EMU_SKIP_BARRIER": site} | order) for order in ORDERS)
        if key in REDUNDANT:
            listed.add(key)
        if noticed == (key in REDUNDANT):
            survivors.append(f"{source}, barrier {key[2]} ({site}): " + ("is needed, yet listed" if noticed else "unnoticed"))
    print("\n".join(survivors) if survivors else f"mutation: {len(sites)} barriers, {len(listed)} known to be redundant")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
