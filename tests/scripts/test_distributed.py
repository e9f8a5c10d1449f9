"""scripts/gpu_check/distributed.py with stand-ins for the GPUs, mpirun and bigbigan-bench."""
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PROGRAM = Path(__file__).resolve().parents[2] / "scripts/gpu_check/distributed.py"
GPUS = """#!/bin/bash
for i in $(seq COUNT); do echo "GPU $i: some"; done
"""
MPIRUN = """#!/bin/bash
until [[ $1 == */bench ]]; do [[ $1 == -np ]] && export RANKS=$2; shift; done
exec "$@"
"""
BENCH = f"""#!{sys.executable}
import json, os, sys
ranks = int(os.environ.get("RANKS", "1"))
if os.environ.get("WITHOUT_MPI") and ranks > 1:
    sys.exit("bigbigan-bench: error: no MPI here" + chr(10) + "-----")
if "--step" in sys.argv:
    batch = int(next(word for word in sys.argv if word.startswith("train.batch=")).split("=")[1])
    print(json.dumps({{"preset": sys.argv[sys.argv.index("--step") + 1], "precision": "bf16", "ranks": ranks, "batch": batch,
                       "step_seconds_captured": 0.1, "img_per_s": batch / 0.1, "launchers": []}}))
else:
    print(json.dumps({{"collective": sys.argv[1], "ranks": ranks, "rows": []}}))
"""


class DistributedTest(unittest.TestCase):
    def measure(self, gpus, mpirun=True, **environment):
        """The exit code, and the records."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder)
            for name, text in (("nvidia-smi", GPUS.replace("COUNT", str(gpus))), ("bench", BENCH), ("mpirun", MPIRUN)):
                if name == "mpirun" and not mpirun:
                    continue
                (path / name).write_text(text)
                (path / name).chmod(0o755)
            (path / "seq").symlink_to("/usr/bin/seq")
            done = subprocess.run([sys.executable, PROGRAM, "--bench", path / "bench", "--out", path / "out.json"],
                                  env={"PATH": folder, **environment}, stdout=subprocess.PIPE, text=True, timeout=60)
            return done.returncode, json.loads((path / "out.json").read_text())

    def test_one_gpu_takes_turns_with_and_without(self):
        code, records = self.measure(1, mpirun=False)
        self.assertEqual(code, 0)
        self.assertEqual([r["ranks"] for r in records], [1] * 9)
        self.assertEqual([r["with_ranks"] for r in records if r.get("preset") == "base"], [False, True, True, False])
        for r in records:
            self.assertEqual("--ranks" in r["command"], r.get("with_ranks", False))

    def test_many_gpus_keep_the_images_of_each(self):
        code, records = self.measure(6)
        self.assertEqual(code, 0)
        many = [r for r in records if r["ranks"] > 1]
        self.assertEqual([r["collective"] for r in many[:3]], ["all_reduce", "reduce_scatter", "all_gather"])
        self.assertEqual([(r["ranks"], r["batch"]) for r in many[3:]], [(2, 512), (4, 1024), (6, 1536)] * 2)

    def test_without_mpirun_one_line_says_so(self):
        code, records = self.measure(4, mpirun=False)
        self.assertEqual(code, 0)
        self.assertEqual(records[-1], {"kind": "note", "problem": "4 GPUs, but no mpirun: one rank only"})

    def test_a_build_without_ranks_is_asked_once(self):
        code, records = self.measure(4, WITHOUT_MPI="1")
        self.assertEqual(code, 1)
        self.assertEqual([r.get("problem") for r in records if r["ranks"] > 1],
                         ["exit code 1: bigbigan-bench: error: no MPI here"])


if __name__ == "__main__":
    unittest.main()
