"""scripts/gpu_check/report.py on results made up here."""
import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/gpu_check"))
import report  # noqa: E402

MACHINE = {"date": "2026-01-02", "time": "03:04 UTC", "card": "NVIDIA H100 80GB HBM3", "driver": "580.1", "nvcc": "13.0.1",
           "commit": "abc", "emulated": False, "cores": 16, "host": "Some Linux"}
JUNIT = """<testsuite><testcase name="cuda/good" status="run"/><testcase name="cuda/bad" status="fail"/>
<testcase name="cuda/idle" status="notrun"/></testsuite>"""


def kernel(name, us, **counters):
    return {"name": name + "/iterations:1/manual_time", "run_type": "iteration", "real_time": us, "time_unit": "us", **counters}


def step(form, img_per_s, **others):
    return {"preset": "base", "precision": "bf16", "batch": 256, "d_steps": 1, "form": form, "img_per_s": img_per_s,
            "seconds": 256 / img_per_s, **others}


def ranks_step(ranks, with_ranks, seconds):
    return {"kind": "step", "preset": "base", "precision": "bf16", "ranks": ranks, "with_ranks": with_ranks, "command": "c",
            "batch": 256 * ranks, "seconds": seconds, "img_per_s": 256 * ranks / seconds}


FILES = {
    "machine.json": MACHINE,
    "part-build.json": {"part": "build", "status": "ok", "code": "0", "seconds": 100},
    "part-step.json": {"part": "step", "status": "out of time", "code": "124", "seconds": 240},
    "sanitizer.json": [{"tool": "memcheck", "case": "relu", "result": "ok", "seconds": 1, "output": ""},
                       {"tool": "racecheck", "case": "relu", "result": "failed", "seconds": 1, "output": "hazard!"}],
    "bench.json": {"context": {"copy_gb_per_s": "3000"}, "benchmarks": [
        kernel("relu_forward/x:1/bf16", 100, **{"GB/s": 2700.0, "%bw": 90.0}),
        kernel("add/x:1/f32", 200, **{"GB/s": 2400.0, "%bw": 80.0}),
        kernel("attention_forward/n:1/bf16", 50, **{"TFLOP/s": 300.0, "%peak": 40.0}),
        kernel("gemm/m:1/f32", 1, error_message="wrong by 3"),
        kernel("tanh_fwd/x:1/f32", 0, error_message="no time left"),
        {**kernel("add/x:1/f32_mean", 200), "run_type": "aggregate"}]},
    "peer_ops.json": {"torch": "2.11", "cudnn": 91900,
                      "us": {"relu_forward/x:1/bf16": 120, "attention_forward/n:1/bf16": 40}},
    "steps.json": [step("engine", 1400), step("eager", 700), {**step("compiled", 1), "img_per_s": None,
                                                            "problem": "out of memory"}],
    "distributed.json": [
        {"kind": "collective", "collective": "all_reduce", "ranks": 1, "command": "a",
         "rows": [{"size": 8, "time_us": 3.0, "algbw": None, "busbw": None, "wrong": 0}]},
        ranks_step(1, False, 0.1), ranks_step(1, True, 0.103), ranks_step(1, False, 0.1), ranks_step(1, True, 0.105),
        {"kind": "collective", "collective": "all_reduce", "ranks": 4, "command": "b",
         "rows": [{"size": 8, "time_us": 30.0, "algbw": 0.0, "busbw": 0.0, "wrong": 0},
                  {"size": 2 ** 28, "time_us": 2000.0, "algbw": 134.2, "busbw": 201.3, "wrong": 2}]},
        ranks_step(4, True, 0.125),
        {"kind": "collective", "ranks": 4, "command": "mpirun all_gather", "problem": "out of time"}],
}


class ReportTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = Path(self.folder.name)

    def write(self):
        for name, content in FILES.items():
            (self.path / name).write_text(json.dumps(content))
        (self.path / "tests.xml").write_text(JUNIT)
        (self.path / "prediction.txt").write_text("Predicted: a step\n")

    def line(self, text, beginning):
        found = [line for line in text.splitlines() if line.startswith(beginning)]
        self.assertEqual(len(found), 1, beginning)
        return found[0]

    def test_all_results(self):
        self.write()
        text = report.markdown(report.collect(self.path))
        for part in ("NVIDIA H100 80GB HBM3, 2026-01-02", "driver 580.1", "nvcc 13.0.1", "Commit abc", "cuDNN 91900",
                     "| build | ok | 100 s |", "| step | out of time | 240 s |", "1 passed, 1 failed, 1 skipped",
                     "- failed: `cuda/bad`", "| memcheck | 1 | 0 | 0 | 0 |", "hazard!", "out of memory", "wrong by 3",
                     "For 1 of 5 there was no time.", "## Where a step's time goes\n\n```\nPredicted: a step\n```"):
            self.assertIn(part, text)
        self.assertNotIn("tanh", text)

    def test_targets(self):
        self.write()
        text = report.markdown(report.collect(self.path))
        for beginning, ending in (("| memory-bound", "| lowest 80 %, `add/x:1/f32` | **not reached** |"),
                                  ("| no kernel slower", "| 1 of 2 slower | **not reached** |"),
                                  ("| spectral norm", "|  | not measured |"),
                                  ("| attention", "| lowest 0.80 | **not reached** |"),
                                  ("| `base`, bf16, batch 256, one D step: 1350", "| 1400 | reached |"),
                                  ("| `base`, bf16, batch 256, one D step: 1600", "| 1400 | **not reached** |"),
                                  ("| the same: 1.9", "| 2.00 | reached |"),
                                  ("| the same: 1.25", "|  | not measured |"),
                                  ("| NCCL's path, one rank, `base`", "| +4.0 % | **not reached** |"),
                                  ("| no wrong element", "| 2 | **not reached** |")):
            self.assertTrue(self.line(text, beginning).endswith(ending), self.line(text, beginning))

    def test_ranks(self):
        self.write()
        text = report.markdown(report.collect(self.path))
        for line in ("- out of time: `mpirun all_gather`", "| `all_reduce` | 1 | 0.0 | 3.0 | n/a | n/a | 3.0 |",
                     "| `all_reduce` | 4 | 256.0 | 2,000.0 | 134.2 | 201.3 | 30.0 |",
                     "| `base` | bf16 | 4 | NCCL | 1024 | 125.00 | 8,192 | 80.0 |"):
            self.assertIn(line, text)

    def test_kernels_beside_their_peers(self):
        self.write()
        rows = report.collect(self.path)["kernels"]
        self.assertEqual([row["name"] for row in rows],
                         ["relu_forward/x:1/bf16", "add/x:1/f32", "attention_forward/n:1/bf16", "gemm/m:1/f32",
                          "tanh_fwd/x:1/f32"])
        self.assertAlmostEqual(rows[0]["ratio"], 1.2)
        self.assertNotIn("ratio", rows[1])

    def test_nothing_was_measured(self):
        text = report.markdown(report.collect(self.path))
        self.assertEqual(text.count("not measured"), 10)
        self.assertIn("No test results", text)

    def test_file_name(self):
        self.assertEqual(report.file_name(MACHINE), "2026-01-02-nvidia-h100-80gb-hbm3")


if __name__ == "__main__":
    unittest.main()
