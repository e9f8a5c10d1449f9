"""Writes <date>-<card>.md and .json from what scripts/gpu_check.sh left in a folder: part-*.json, machine.json, tests.xml,
sanitizer.json, bench.json, peer_ops.json, steps.json, prediction.txt, distributed.json. Whatever is missing is named in the
report, not an error."""
import argparse
import json
import re
import statistics
import xml.etree.ElementTree as ElementTree
from pathlib import Path

PARTS = ("build", "tests", "bench", "step", "distributed", "sanitizer")
COPY_SHARE = 85         # per cent of the copy rate that a memory-bound kernel shall reach, at 100 MB or more
NO_TIME = "no time left"    # what bigbigan-bench says of those it did not begin
ATTENTION_RATIO = 0.9   # of PyTorch's attention
BASE_IMG_PER_S = (1350, 1600)   # bf16, batch 256, one D step, on an H200: first and then
EAGER_RATIO, COMPILED_RATIO = 1.9, 1.25
SPECTRAL_RATIO = 4
RANKS_COST = 2          # per cent of a step that one rank may spend on what ranks say to each other


def read_json(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def read_text(path):
    try:
        return path.read_text()
    except OSError:
        return ""


def read_tests(path):
    """Of ctest's JUnit file: names by result, run, failed and skipped."""
    tests = {"run": [], "failed": [], "skipped": []}
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return None
    for case in root.iter("testcase"):
        status = case.get("status")
        tests["failed" if status == "fail" else "run" if status == "run" else "skipped"].append(case.get("name"))
    return tests


def read_kernels(bench, peers):
    """One row per benchmark: name, microseconds, its counters, and the peer's time over ours."""
    rows = []
    for b in (bench or {}).get("benchmarks", []):
        if b.get("run_type", "iteration") != "iteration":
            continue
        unit = {"ns": 1e-3, "us": 1, "ms": 1e3, "s": 1e6}[b.get("time_unit", "ns")]
        name = re.sub(r"(/iterations:1)?/manual_time$", "", b["name"])
        row = {"name": name, "error": b.get("error_message"), "us": b.get("real_time", 0) * unit}
        row.update({key: b[key] for key in ("GB/s", "%bw", "TFLOP/s", "%peak", "max_err", "hot_us") if key in b})
        peer = (peers or {}).get("us", {}).get(name)
        if peer and row["us"]:
            row.update(peer_us=peer, ratio=peer / row["us"])
        rows.append(row)
    return rows


def collect(folder):
    bench, peers = read_json(folder / "bench.json"), read_json(folder / "peer_ops.json")
    return {
        "machine": read_json(folder / "machine.json") or {},
        "parts": [part for part in (read_json(folder / f"part-{name}.json") for name in PARTS) if part],
        "tests": read_tests(folder / "tests.xml"),
        "sanitizer": read_json(folder / "sanitizer.json"),
        "bench": (bench or {}).get("context"),
        "peer": {key: value for key, value in (peers or {}).items() if key != "us"},
        "kernels": read_kernels(bench, peers),
        "steps": read_json(folder / "steps.json") or [],
        "prediction": read_text(folder / "prediction.txt"),
        "ranks": read_json(folder / "distributed.json") or [],
    }


# --- targets ------------------------------------------------------------------------------------------------------------

def kernel_bytes(row):
    """Bytes that the kernel moved: rate times time."""
    return row.get("GB/s", 0) * row["us"] * 1e3


def memory_bound(row):
    return kernel_bytes(row) >= 100e6 and row.get("%peak", 0) < 30


def img_per_s(steps, preset, precision, batch, d_steps, form):
    for step in steps:
        if (step["preset"], step["precision"], step["batch"], step["d_steps"], step["form"]) == (
                preset, precision, batch, d_steps, form):
            return step.get("img_per_s")
    return None


def verdict(reached):
    return "not measured" if reached is None else "reached" if reached else "**not reached**"


def kernel_targets(kernels):
    large = [row for row in kernels if memory_bound(row)]
    worst = min(large, key=lambda row: row.get("%bw", 0), default=None)
    yield (f"memory-bound kernels of 100 MB or more: {COPY_SHARE} % of the copy rate",
           f"lowest {worst['%bw']:.0f} %, `{worst['name']}`" if worst and "%bw" in worst else "",
           worst.get("%bw", 0) >= COPY_SHARE if worst else None)
    compared = [row for row in kernels if "ratio" in row]
    slow = [row["name"] for row in compared if row["ratio"] < 1]
    yield ("no kernel slower than its PyTorch peer", f"{len(slow)} of {len(compared)} slower" if compared else "",
           not slow if compared else None)
    for title, word, wanted in (("spectral norm of all matrices", "spectral_norm", SPECTRAL_RATIO),
                                ("attention", "attention", ATTENTION_RATIO)):
        ratios = [row["ratio"] for row in compared if row["name"].startswith(word)]
        yield (f"{title}: {wanted} times PyTorch's speed or more", f"lowest {min(ratios):.2f}" if ratios else "",
               min(ratios) >= wanted if ratios else None)


def step_targets(steps):
    def rate(form):
        return img_per_s(steps, "base", "bf16", 256, 1, form)
    ours = rate("engine")
    for wanted in BASE_IMG_PER_S:
        yield (f"`base`, bf16, batch 256, one D step: {wanted} images/s (an H200)", f"{ours:.0f}" if ours else "",
               ours >= wanted if ours else None)
    for form, wanted in (("eager", EAGER_RATIO), ("compiled", COMPILED_RATIO)):
        ratio = ours / rate(form) if ours and rate(form) else None
        yield (f"the same: {wanted} times PyTorch, {form}", f"{ratio:.2f}" if ratio else "",
               ratio >= wanted if ratio else None)


def ranks_cost(records, preset):
    """By how many per cent NCCL's path makes the step of one rank longer: medians over the turns."""
    def seconds(with_ranks):
        found = [r["seconds"] for r in records if r["kind"] == "step" and r["ranks"] == 1 and r.get("preset") == preset
                 and r["with_ranks"] == with_ranks and r.get("seconds")]
        return statistics.median(found) if found else None
    without, with_ranks = seconds(False), seconds(True)
    return 100 * (with_ranks / without - 1) if without and with_ranks else None


def ranks_targets(records):
    for preset in dict.fromkeys(r["preset"] for r in records if "preset" in r) or ("base",):
        cost = ranks_cost(records, preset)
        yield (f"NCCL's path, one rank, `{preset}`: {RANKS_COST} % of a step at most", f"{cost:+.1f} %" if cost is not None else "",
               None if cost is None else cost <= RANKS_COST)
    wrong = [row["wrong"] for r in records if r["kind"] == "collective" for row in r.get("rows", [])]
    yield ("no wrong element in any collective", f"{sum(wrong)}" if wrong else "", sum(wrong) == 0 if wrong else None)


# --- Markdown -----------------------------------------------------------------------------------------------------------

def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def number(value, digits=1):
    return "" if value is None else f"{value:,.{digits}f}"


def heading(report):
    m = report["machine"]
    peer = report["peer"]
    kind = "Rehearsal, no speed here means anything" if m.get("emulated") else "GPU check"
    versions = [f"driver {m.get('driver', '?')}", f"nvcc {m.get('nvcc', '?')}"]
    versions += [f"{name} {peer[key]}" for name, key in (("PyTorch", "torch"), ("cuDNN", "cudnn")) if peer.get(key)]
    return [f"# {kind}: {m.get('card', '?')}, {m.get('date', '?')}", "",
            f"Commit {m.get('commit', '?')}; {', '.join(versions)}; {m.get('host', '?')}, {m.get('cores', '?')} cores. "
            f"By `scripts/gpu_check.sh`, {m.get('time', '?')}.", ""]


def parts_section(report):
    rows = [[p["part"], p["status"], f"{p['seconds']} s"] for p in report["parts"]]
    return table(["part", "result", "time"], rows)


def tests_section(report):
    tests = report["tests"]
    if tests is None:
        return ["No test results.", ""]
    lines = [f"{len(tests['run'])} passed, {len(tests['failed'])} failed, {len(tests['skipped'])} skipped or not run.", ""]
    for word in ("failed", "skipped"):
        lines += [f"- {word}: `{name}`" for name in tests[word]]
    return lines + [""]


def sanitizer_section(report):
    records = report["sanitizer"]
    if not records:
        return ["No results.", ""]
    results = ["ok", "failed", "out of time", "not run"]
    rows = []
    for tool in dict.fromkeys(record["tool"] for record in records):
        of_tool = [record["result"] for record in records if record["tool"] == tool]
        rows.append([tool] + [str(of_tool.count(result)) for result in results])
    lines = table(["tool"] + results, rows)
    for record in records:
        if record["result"] == "failed":
            lines += [f"{record['tool']}, `{record['case']}`:", "```", record["output"][:1500].rstrip(), "```", ""]
    return lines


def kernels_section(report):
    if not report["kernels"]:
        return ["No results.", ""]
    context = report["bench"] or {}
    lines = [f"Copy {number(context.get('copy_gb_per_s') and float(context['copy_gb_per_s']), 0)} GB/s. "
             "Ratio: PyTorch's time over ours; above 1 we are faster.", ""]
    left_out = sum(row["error"] == NO_TIME for row in report["kernels"])
    if left_out:
        lines += [f"For {left_out} of {len(report['kernels'])} there was no time.", ""]
    rows = []
    for row in sorted(report["kernels"], key=lambda row: row["name"]):
        if row["error"] == NO_TIME:
            continue
        if row["error"]:
            rows.append([f"`{row['name']}`", row["error"]] + [""] * 7)
            continue
        rows.append([f"`{row['name']}`", number(row["us"]), number(row.get("hot_us")), number(row.get("GB/s"), 0),
                     number(row.get("%bw"), 0), number(row.get("TFLOP/s")), number(row.get("%peak"), 0),
                     number(row.get("peer_us")), number(row.get("ratio"), 2)])
    return lines + table(["kernel", "us", "hot us", "GB/s", "% copy", "TFLOP/s", "% peak", "PyTorch us", "ratio"], rows)


def steps_section(report):
    if not report["steps"]:
        return ["No results.", ""]
    rows = []
    for s in report["steps"]:
        ours = img_per_s(report["steps"], s["preset"], s["precision"], s["batch"], s["d_steps"], "engine")
        ratio = ours / s["img_per_s"] if ours and s.get("img_per_s") and s["form"] != "engine" else None
        launched = s.get("step_seconds_launched")
        rows.append([f"`{s['preset']}`", s["precision"], str(s["batch"]), str(s["d_steps"]), s["form"],
                     number(s.get("img_per_s"), 0) or s.get("problem", "?"),
                     number(s.get("seconds") and 1e3 * s["seconds"]), number(launched and 1e3 * launched),
                     number(ratio, 2)])
    return table(["preset", "precision", "batch", "D steps", "by", "images/s", "step, ms", "launched, ms",
                  "engine's ratio to it"], rows)


def prediction_section(report):
    return ["```", report["prediction"].rstrip(), "```", ""] if report["prediction"] else ["No results.", ""]


def ranks_section(report):
    records = report["ranks"]
    if not records:
        return ["No results.", ""]
    lines = [f"- {r['problem']}" + (f": `{r['command']}`" if "command" in r else "") for r in records if "problem" in r]
    lines += [""] * bool(lines)
    rows = []
    for r in records:
        if r["kind"] == "collective" and r.get("rows"):
            last = r["rows"][-1]
            rows.append([f"`{r['collective']}`", str(r["ranks"]), number(last["size"] / 2 ** 20), number(last["time_us"]),
                         number(last["algbw"]) or "n/a", number(last["busbw"]) or "n/a", number(r["rows"][0]["time_us"])])
    if rows:
        lines += table(["collective", "ranks", "MiB", "us", "algbw, GB/s", "busbw, GB/s", "smallest message, us"], rows)
    steps = [r for r in records if r["kind"] == "step" and r.get("seconds")]
    rows = []
    for r in steps:
        alone = [s["img_per_s"] for s in steps if s["preset"] == r["preset"] and s["ranks"] == 1 and not s["with_ranks"]]
        share = r["img_per_s"] / r["ranks"] / statistics.median(alone) if alone else None
        rows.append([f"`{r['preset']}`", r["precision"], str(r["ranks"]), "NCCL" if r["with_ranks"] else "none", str(r["batch"]),
                     number(1e3 * r["seconds"], 2), number(r["img_per_s"], 0), number(share and 100 * share)])
    if rows:
        lines += table(["preset", "precision", "ranks", "by", "batch", "step, ms", "images/s", "% of one without"], rows)
    return lines


def markdown(report):
    targets = [[title, found, verdict(reached)] for title, found, reached in
               [*kernel_targets(report["kernels"]), *step_targets(report["steps"]), *ranks_targets(report["ranks"])]]
    lines = heading(report)
    lines += parts_section(report)
    lines += ["## Targets", ""] + table(["target", "found", ""], targets)
    lines += ["## Tests", ""] + tests_section(report)
    lines += ["## compute-sanitizer", ""] + sanitizer_section(report)
    lines += ["## Training steps", ""] + steps_section(report)
    lines += ["## Where a step's time goes", ""] + prediction_section(report)
    lines += ["## Ranks", ""] + ranks_section(report)
    lines += ["## Kernels", ""] + kernels_section(report)
    return "\n".join(lines)


def file_name(machine):
    card = re.sub(r"[^a-z0-9]+", "-", machine.get("card", "unknown").lower()).strip("-")
    return f"{machine.get('date', 'undated')}-{card}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    report = collect(arguments.folder)
    base = arguments.out / file_name(report["machine"])
    base.with_name(base.name + ".md").write_text(markdown(report))
    base.with_name(base.name + ".json").write_text(json.dumps(report, indent=1) + "\n")
    print(f"{base}.md")


if __name__ == "__main__":
    main()
