"""The files of scripts/launch: their shell, and the command lines that they give to bigbigan-train (TRAIN_PROGRAM), which
checks them by --dry-run. srun, scontrol and mpirun are stand-ins here that note how they were called."""
import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

LAUNCH = Path(__file__).resolve().parents[2] / "scripts/launch"
TRAINER = Path(os.environ["TRAIN_PROGRAM"]).resolve()

# Notes its options, and runs what follows them with this test's ending.
STAND_IN = """#!/usr/bin/env bash
options=()
until [[ $1 == */bigbigan-train ]]; do options+=("$1"); shift; done
echo "$(basename "$0") ${options[*]}" >>"$CALLS"
"$@" || exit
exit "${ENDS_WITH:-0}"
"""
NOTE = """#!/usr/bin/env bash
echo "$(basename "$0") $*" >>"$CALLS"
"""


def write_images(path):
    """64 gray images of 32 x 32, as numpy.save writes them."""
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (64, 32, 32), }"
    header += " " * (-(10 + len(header) + 1) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(64 * 32 * 32))


class LaunchTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name)
        (self.path / "bin").mkdir()
        for name, text in (("srun", STAND_IN), ("mpirun", STAND_IN), ("scontrol", NOTE)):
            (self.path / "bin" / name).write_text(text)
            (self.path / "bin" / name).chmod(0o755)
        write_images(self.path / "images.npy")

    def launch(self, script, *words, **environment):
        """The exit code, the output, and the calls of the stand-ins."""
        calls = self.path / "calls"
        calls.write_text("")
        base = {"PATH": f"{self.path}/bin:{os.environ['PATH']}", "HOME": str(self.path), "CALLS": str(calls),
                "TRAIN_PROGRAM": str(TRAINER), "SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "12"}
        done = subprocess.run([LAUNCH / script, *words], env={**base, **environment}, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=60)
        return done.returncode, done.stdout, calls.read_text().splitlines()

    def run_words(self):
        return ("fmnist-32-tiny", str(self.path / "images.npy"), str(self.path / "run"), "--dry-run", "train.batch=8",
                "data.val_images=0")

    def test_shell(self):
        for script in LAUNCH.glob("train*"):
            subprocess.run(["bash", "-n", script], check=True)

    def test_a_batch_job_starts_one_rank_per_gpu(self):
        code, output, calls = self.launch("train.sbatch", *self.run_words())
        self.assertEqual(code, 0, output)
        self.assertRegex(output, r"batch = 8\b")
        self.assertEqual(calls, ["srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task=12"])
        options = re.findall(r"^#SBATCH --(\S+?)(?:=(\S+))?$", (LAUNCH / "train.sbatch").read_text(), re.MULTILINE)
        self.assertEqual(dict(options)["signal"], "USR1@300")
        self.assertEqual(dict(options)["ntasks-per-node"], dict(options)["gpus-per-node"])
        self.assertIn(("requeue", ""), options)

    def test_a_job_that_has_saved_is_queued_again_and_no_other(self):
        code, output, calls = self.launch("train.sbatch", *self.run_words(), ENDS_WITH="75")
        self.assertEqual((code, calls[1:]), (0, ["scontrol requeue 7"]), output)
        code, output, calls = self.launch("train.sbatch", *self.run_words(), ENDS_WITH="79")
        self.assertEqual((code, calls[1:]), (79, []), output)

    def test_mpirun_binds_ranks_and_hands_on_the_environment(self):
        code, output, calls = self.launch("train_mpirun.sh", str(LAUNCH / "hosts.example"), "4", *self.run_words(),
                                          NCCL_DEBUG="WARN")
        self.assertEqual(code, 0, output)
        self.assertRegex(output, r"batch = 8\b")
        self.assertEqual(calls, [f"mpirun --hostfile {LAUNCH}/hosts.example --map-by ppr:4:numa --bind-to numa -x NCCL_DEBUG"])

    def test_too_few_words(self):
        self.assertEqual(self.launch("train.sbatch", "base")[0], 64)
        self.assertEqual(self.launch("train_mpirun.sh", "hosts")[0], 64)


if __name__ == "__main__":
    unittest.main()
