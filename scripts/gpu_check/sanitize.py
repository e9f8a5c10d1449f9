"""Runs the test cases of a Catch2 binary one by one under compute-sanitizer, several at a time.

Each of our kernels is checked (their names contain `bigbigan`), NVIDIA's are not. Writes one record per tool and case:
{"tool", "case", "result": "ok" | "failed" | "out of time" | "not run", "seconds", "output"}; ends with 1 where one failed.
"""
import argparse
import concurrent.futures
import json
import subprocess
import sys
import time

TOOLS = ("memcheck", "racecheck", "synccheck", "initcheck")
CASE_SECONDS = 60


def test_cases(binary):
    """Names, without those that run every op case: what these add to the launchers' own tests is size."""
    listed = subprocess.run([binary, "--list-test-names-only"], stdout=subprocess.PIPE, text=True)
    names = [line.strip() for line in listed.stdout.splitlines() if line.strip()]
    return [name for name in names if not name.startswith("CUDA op cases")]


def command(binary, tool, case):
    test = [binary, case.replace(",", "\\,")]
    if tool == "none":
        return test
    return ["compute-sanitizer", "--tool", tool, "--error-exitcode", "99", "--kernel-name", "kernel_substring=bigbigan",
            *test]


def check(binary, tool, case, deadline):
    begin = time.monotonic()
    record = {"tool": tool, "case": case, "result": "not run", "seconds": 0, "output": ""}
    limit = min(CASE_SECONDS, deadline - begin)
    if limit < 2:
        return record
    try:
        done = subprocess.run(command(binary, tool, case), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", timeout=limit)
        record["result"] = "ok" if done.returncode == 0 else "failed"
        record["output"] = "" if done.returncode == 0 else done.stdout[:4000]
    except subprocess.TimeoutExpired:
        record["result"] = "out of time"
    except OSError as error:
        record.update(result="failed", output=str(error))
    record["seconds"] = round(time.monotonic() - begin, 1)
    return record


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--out", required=True)
    parser.add_argument("--seconds", type=float, default=120, help="for all together")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--cases", type=int, help="only so many")
    parser.add_argument("--no-tool", action="store_true", help="run the binary alone: it has its own sanitizer")
    arguments = parser.parse_args()

    deadline = time.monotonic() + arguments.seconds
    cases = test_cases(arguments.binary)[:arguments.cases]
    tools = ("none",) if arguments.no_tool else TOOLS
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        records = list(pool.map(lambda job: check(arguments.binary, *job, deadline),
                                [(tool, case) for tool in tools for case in cases]))
    with open(arguments.out, "w") as file:
        json.dump(records, file, indent=1)
    for record in records:
        if record["result"] != "ok":
            print(f"{record['tool']}: {record['case']}: {record['result']}\n{record['output']}")
    failed = not cases or any(record["result"] == "failed" for record in records)
    print(f"{len(records)} runs, {sum(r['result'] == 'ok' for r in records)} ok")
    sys.exit(failed)


if __name__ == "__main__":
    main()
