#!/usr/bin/env python3
"""Runs every seeded bug under many schedules: the builds that must notice it do, by the message that names it, and its
correct twin passes everywhere.

  run_selftest.py PROGRAM none|address|thread [ROW...]
"""
import concurrent.futures
import os
import re
import subprocess
import sys

WRONG, UNWRITTEN, RACE = "wrong value|unwritten value", "unwritten value", "data race"
ASAN, UBSAN, LEAK = "AddressSanitizer: heap-", "runtime error: ", "LeakSanitizer"


def everywhere(message: str) -> dict[str, str]:
    return dict.fromkeys(("none", "address", "thread"), message)


# Row -> the builds that must notice the bug, and by which message. Other builds may or may not.
ROWS = {
    "scratch_reused": {"none": WRONG, "address": WRONG, "thread": RACE},
    "missing_syncwarp": {"none": WRONG, "address": WRONG, "thread": RACE},
    "shuffle_as_fence": {"thread": RACE},
    "add_without_atomic": {"thread": RACE},
    "last_block_without_fence": {"thread": RACE},
    "block_reads_another": {"none": WRONG, "address": WRONG, "thread": RACE},
    "race_two_apart": {"thread": RACE},
    "race_across_row_end": {"thread": RACE},
    "shuffle_in_branch": everywhere("deadlock:.*16 in a warp collective at .*16 returned"),
    "barrier_in_branch": everywhere("deadlock:.*128 in a block barrier at .*128 returned"),
    "return_before_barrier": everywhere("deadlock:.*200 in a block barrier at .*56 returned"),
    "two_barriers": everywhere("threads of one block are in two barriers"),
    "partial_mask": everywhere("mask leaves out lanes"),
    "two_collectives": everywhere("lanes of one warp are in two collectives"),
    "shuffle_from_absent_lane": everywhere("shuffle from a lane that does not exist"),
    "past_static_array": {"address": UBSAN + "index 8 out of bounds"},
    "past_dynamic_array": {"address": ASAN + "buffer-overflow"},
    "misaligned_pack": {"address": UBSAN + ".*misaligned address"},
    "past_global_buffer": {"address": ASAN + "buffer-overflow"},
    "used_after_free": {"address": ASAN + "use-after-free"},
    "index_overflow": {"address": UBSAN + "signed integer overflow"},
    "shared_before_written": everywhere(UNWRITTEN),
    "global_before_written": everywhere(UNWRITTEN),
    "async_copy_without_wait": everywhere(UNWRITTEN),
    "too_much_static": everywhere("too much shared memory"),
    "too_much_dynamic": everywhere("cudaErrorInvalidValue"),
    "missing_event_wait": everywhere(UNWRITTEN),
    "pinned_overwritten": everywhere(WRONG),
    "pinned_read_early": everywhere(WRONG),
    "poll_loop": {},  # the twin alone: it must end
    "copy_out_of_bounds": everywhere("cudaErrorInvalidValue"),
    "malloc_in_capture": everywhere("cudaMalloc: cudaErrorStreamCaptureUnsupported"),
    "wait_in_capture": everywhere("synchronise: cudaErrorStreamCaptureUnsupported"),
    "query_during_global_capture": everywhere("end of capture: cudaErrorStreamCaptureInvalidated"),
    "missing_edge": everywhere(UNWRITTEN),
    "unjoined_capture": everywhere("end of capture: cudaErrorStreamCaptureUnjoined"),
    "wait_for_uncaptured_work": everywhere("wait: cudaErrorStreamCaptureIsolation"),
    "leaked_stream": {"address": LEAK},
    "leaked_event": {"address": LEAK},
    "leaked_graph": {"address": LEAK},
    "leaked_memory": {"address": LEAK},
}

SCHEDULES = [{"EMU_ORDER": "ascending"}, {"EMU_ORDER": "descending"}] + [
    {"EMU_ORDER": "random", "EMU_SEED": str(seed)} for seed in range(1, 9)
]
LAZY, EAGER = {"EMU_STREAMS": "lazy"}, {"EMU_STREAMS": "eager"}
# What limits a bug to one setting: found there, and silent in the other.
ONLY_WITH = {
    "race_two_apart": ({"EMU_TSAN_SETS": "3"}, {"EMU_TSAN_SETS": "2"}),
    "missing_event_wait": (LAZY, EAGER),
    "pinned_overwritten": (LAZY, EAGER),
    "pinned_read_early": (LAZY, EAGER),
}


class Selftest:
    def __init__(self, program: str, build: str):
        self.program, self.build = program, build

    def run(self, row: str, variant: str, setting: dict[str, str]) -> tuple[bool, str]:
        """Whether the program ended well, and what it said."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("EMU_")}
        environment |= {"TSAN_OPTIONS": "halt_on_error=1 atexit_sleep_ms=0"} | setting
        done = subprocess.run([self.program, row, variant], env=environment, capture_output=True, text=True, timeout=60)
        return done.returncode == 0, done.stdout + done.stderr

    def problems(self, row: str) -> list[str]:
        found = []
        for setting in SCHEDULES + [EAGER, {"EMU_TSAN_SETS": "3"}]:
            ok, text = self.run(row, "good", setting)
            if not ok:
                found.append(f"{row}: the correct twin fails with {setting}:\n{text}")
        message = ROWS[row].get(self.build)
        if message is None:
            return found
        tries = SCHEDULES
        if row in ONLY_WITH:
            noticed_with, silent_with = ONLY_WITH[row]
            tries = [noticed_with]
            ok, text = self.run(row, "bug", silent_with)
            if not ok:
                found.append(f"{row}: expected to go unnoticed with {silent_with}:\n{text}")
        text = ""
        for setting in tries:
            ok, text = self.run(row, "bug", setting)
            if not ok and re.search(message, text, re.S):
                return found
        return found + [f"{row}: no schedule reports /{message}/; the last one says:\n{text}"]


def main() -> int:
    program, build, only = sys.argv[1], sys.argv[2], sys.argv[3:]
    listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    found = [f"{row}: in the program or in ROWS, but not in both" for row in set(listed) ^ set(ROWS)]
    selftest = Selftest(program, build)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for problems in pool.map(selftest.problems, only or listed):
            found += problems
    noticed = sum(build in builds for builds in ROWS.values())
    verdict = f"selftest: {noticed} of {len(ROWS)} bugs must show in this build, and do; all twins pass"
    print("\n".join(found) if found else verdict)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
