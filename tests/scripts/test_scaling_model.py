"""scripts/scaling_model.py against closed forms."""
import io
import json
import math
import sys
import tempfile
import unittest
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import scaling_model as sm  # noqa: E402

FAST = sm.Link(gb_per_s=100, latency_us=2)
SLOW = sm.Link(gb_per_s=10, latency_us=7)
NO_LATENCY = sm.Link(gb_per_s=100, latency_us=0)
MODEL = sm.Model(d_elems=100_000_000, eg_elems=150_000_000, batch_norms=(64, 256, 1024))
COMPUTE = sm.Compute(fixed=0.02, per_image=0.001, optimizer=0.01)
TRAINING = sm.Training(d_steps=1)

LAYERS = """Conformance sheet
  image                       32x32x1 in [-1, 1], NHWC; E reads 32x32

Layers (memory shapes; convolutions are out, rows, columns, in)
  generator.linear.weight                                                  (1024,20)        20480
  generator.block_0.bn_1.gain.weight                                        (64,148)         9472
  generator.block_0.bn_1.bias.weight                                        (64,148)         9472
  generator.output_bn.weight                                                     (8)            8
  generator.output_bn.bias                                                       (8)            8
  discriminator.image.block_0.conv_1.weight                                (8,3,3,1)           72
  encoder.stage_0.unit_0.bn_2.weight                                            (16)           16
  encoder.stage_0.unit_0.bn_2.bias                                              (16)           16
  encoder.final_bn.weight                                                      (128)          128

Parameters
  generator                 39440
"""


def cluster(ranks, per_node=8, inside=FAST, between=SLOW):
    return sm.Cluster(ranks, per_node, inside, between)


def step(ranks, training=TRAINING, images=256, **others):
    return sm.predict(cluster(ranks, **others), training, MODEL, COMPUTE, images)


class CollectivesTest(unittest.TestCase):
    def test_one_rank_costs_nothing(self):
        alone = cluster(1)
        for collective in (alone.all_reduce, alone.reduce_scatter, alone.all_gather):
            self.assertEqual(collective(1e9), 0)
        found = step(1)
        self.assertEqual((found.batch_norm, found.gradients, found.others), (0, 0, 0))
        self.assertAlmostEqual(found.seconds, 0.02 + 256 * 0.001)

    def test_large_messages_are_the_ring_closed_form(self):
        for n in (2, 3, 8):
            found = cluster(n, inside=NO_LATENCY)
            self.assertAlmostEqual(found.all_reduce(1e9), 2 * (n - 1) / n * 1e9 / 100e9)
            self.assertAlmostEqual(found.reduce_scatter(1e9), (n - 1) / n * 1e9 / 100e9)
            self.assertAlmostEqual(found.all_gather(1e9), (n - 1) / n * 1e9 / 100e9)

    def test_small_messages_cost_their_latency(self):
        self.assertAlmostEqual(cluster(8).all_reduce(0), 2 * 7 * 2e-6)
        # 16 nodes of one: the tree's four levels are fewer than the ring's 15 hops, but it passes all bytes twice.
        ring, trees = cluster(16, per_node=1), replace(cluster(16, per_node=1), with_trees=True)
        self.assertAlmostEqual(ring.all_reduce(0), 2 * 15 * 7e-6)
        self.assertAlmostEqual(trees.all_reduce(0), 2 * 4 * 7e-6)
        self.assertAlmostEqual(trees.all_reduce(1e9), ring.all_reduce(1e9))

    def test_every_call_costs_something(self):
        busy = replace(cluster(8), call_us=5)
        for collective in ("all_reduce", "reduce_scatter", "all_gather"):
            self.assertAlmostEqual(getattr(busy, collective)(1e6), getattr(cluster(8), collective)(1e6) + 5e-6)
        self.assertEqual(replace(cluster(1), call_us=5).all_reduce(1e6), 0)

    def test_between_nodes_the_slower_link_counts(self):
        self.assertAlmostEqual(cluster(16).bytes_seconds(1e9), 1e9 / 10e9)
        # Two hops of sixteen leave a node.
        self.assertAlmostEqual(cluster(16).hop_seconds(), (14 * 2e-6 + 2 * 7e-6) / 16)

    def test_a_link_is_found_again(self):
        rows = [{"size": 2 ** i, "time_us": 1e6 * sm.Cluster(4, 8, sm.Link(12, 3), SLOW).ring(2, 2 ** i)} for i in range(3, 28)]
        found = sm.fit_link(4, rows)
        self.assertAlmostEqual(found.gb_per_s, 12, places=3)
        self.assertAlmostEqual(found.latency_us, 3, places=3)
        rows[-1]["time_us"] *= 1.1      # thousands of us: what is small shall not pay for it
        self.assertAlmostEqual(sm.fit_link(4, rows).latency_us, 3, delta=0.1)
        with self.assertRaises(ValueError):
            sm.fit_link(1, rows)


class StepTest(unittest.TestCase):
    def test_sums_hide_behind_the_backward_pass(self):
        self.assertAlmostEqual(sm.exposed_seconds([1, 1, 1, 1], 4), 1)      # the last cannot
        self.assertAlmostEqual(sm.exposed_seconds([1, 1, 1, 1], 0), 4)
        self.assertAlmostEqual(sm.exposed_seconds([2, 2], 3), 2.5)          # the second waits for the first
        self.assertEqual(sm.exposed_seconds([], 3), 0)
        self.assertGreaterEqual(sm.exposed_seconds([1e-9] * 5, 10), 0)

    def test_overlap_helps_and_is_never_negative(self):
        with_overlap, without = (step(8, t, inside=NO_LATENCY) for t in (TRAINING, replace(TRAINING, backward=0)))
        self.assertLess(with_overlap.gradients, without.gradients)
        self.assertGreater(with_overlap.gradients, 0)
        self.assertAlmostEqual(without.gradients, 2 * 7 / 8 * 4 * (MODEL.d_elems + MODEL.eg_elems) / 100e9)

    def test_sums_hide_behind_the_last_micro_batch_alone(self):
        one, four = (step(8, replace(TRAINING, micro_batches=m), inside=sm.Link(15, 0)).gradients for m in (1, 4))
        self.assertLess(one, four)
        self.assertLess(four, step(8, replace(TRAINING, backward=0), inside=sm.Link(15, 0)).gradients)

    def test_more_ranks_take_longer_and_give_more(self):
        steps = [step(n) for n in (1, 2, 4, 8, 16, 32, 64)]
        for fewer, more in zip(steps, steps[1:]):
            self.assertLess(fewer.seconds, more.seconds)
            self.assertLess(fewer.img_per_s, more.img_per_s)
            self.assertGreater(sm.efficiency(fewer, steps), sm.efficiency(more, steps))
        self.assertEqual(sm.efficiency(steps[0], steps), 1)

    def test_bf16_gradients_are_half_the_bytes(self):
        found = [step(8, sm.Training(1, backward=0, gradient_bytes=size), inside=NO_LATENCY) for size in (2, 4)]
        self.assertAlmostEqual(found[1].gradients, 2 * found[0].gradients)

    def test_batch_norm_is_gathered_forward_and_summed_backward(self):
        quiet = cluster(4, inside=NO_LATENCY)
        forward = sum(0.75 * 4 * (1 + 2 * c) * 8 for c in MODEL.batch_norms)
        backward = sum(2 * 0.75 * 2 * c * 8 for c in MODEL.batch_norms)
        self.assertAlmostEqual(sm.batch_norm_seconds(quiet, sm.Training(d_steps=2), MODEL), (3 * forward + backward) / 100e9)
        doubled = sm.batch_norm_seconds(quiet, sm.Training(d_steps=2, micro_batches=2), MODEL)
        self.assertAlmostEqual(doubled, 2 * (3 * forward + backward) / 100e9)

    def test_a_sharded_optimizer_moves_as_many_bytes_and_divides_its_work(self):
        plain = step(8, replace(TRAINING, backward=0), inside=NO_LATENCY)
        sharded = step(8, replace(TRAINING, backward=0, shard_optimizer=True), inside=NO_LATENCY)
        self.assertAlmostEqual(sharded.compute, plain.compute - 0.01 * 7 / 8)
        self.assertAlmostEqual(sharded.gradients + sharded.others, plain.gradients + plain.others)

    def test_sharded_gradients_hide_as_others_do_and_weights_do_not(self):
        sharded = replace(TRAINING, shard_optimizer=True)
        found, without = (step(8, t, inside=NO_LATENCY) for t in (sharded, replace(sharded, backward=0)))
        # What cannot hide is the last bucket of D, and that of G and E.
        buckets = {elems: math.ceil(4 * elems / (25 * 2 ** 20)) for elems in (MODEL.d_elems, MODEL.eg_elems)}
        self.assertAlmostEqual(found.gradients, sum(7 / 8 * 4 * elems / n / 100e9 for elems, n in buckets.items()))
        self.assertAlmostEqual(found.others, without.others)
        self.assertAlmostEqual(without.gradients, 7 / 8 * 4 * (MODEL.d_elems + MODEL.eg_elems) / 100e9)

    def test_sharded_weights_are_gathered_bucket_by_bucket(self):
        few, many = (step(8, replace(TRAINING, shard_optimizer=True, bucket_mib=mib)).others for mib in (10000, 25))
        self.assertAlmostEqual(many - few, (16 + 23 - 2) * 7 * 2e-6)


class FilesTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name)
        (self.path / "layers.txt").write_text(LAYERS)

    def bench(self, name, batch, seconds):
        (self.path / name).write_text(json.dumps({"batch": batch, "d_steps": 2, "step_seconds_captured": None,
                                                  "step_seconds_launched": seconds}))
        return str(self.path / name)

    def run_of(self, name, batch, ms):
        folder = self.path / name
        folder.mkdir()
        (folder / "config.toml").write_text(f"[train]\nbatch = {batch}  # images\nd_steps = 2\n")
        (folder / "stats.jsonl").write_text("".join(json.dumps({"step": i, "ms_per_step": value}) + "\n"
                                                    for i, value in enumerate(ms)))
        return str(folder)

    def program(self, *words):
        out = io.StringIO()
        with redirect_stdout(out):
            sm.main(["--model", str(self.path / "layers.txt"), *words])
        return out.getvalue()

    def test_layers(self):
        model = sm.read_model(LAYERS)
        self.assertEqual(model.d_elems, 72)
        self.assertEqual(model.eg_elems, 20480 + 2 * 9472 + 16 + 160)
        self.assertEqual(model.batch_norms, (64, 8, 16, 128))
        with self.assertRaises(ValueError):
            sm.read_model("nothing")

    def test_two_measurements_tell_what_is_fixed(self):
        files = [self.bench("a.json", 32, 0.05), self.bench("b.json", 64, 0.08)]
        steps = json.loads(self.program("--measured", *files, "--ranks", "2", "--scaling", "strong", "--json"))
        self.assertEqual([s["ranks"] for s in steps], [1, 2])
        self.assertAlmostEqual(steps[0]["seconds"], 0.08)
        self.assertEqual(steps[1]["images_per_rank"], 32)
        self.assertAlmostEqual(steps[1]["compute_seconds"], 0.05)

    def test_a_run_is_compared_without_its_first_interval(self):
        one = self.run_of("one", 64, [900, 80, 81, 79])
        two = self.run_of("two", 128, [900, 100])
        lines = self.program("--measured", one, "--validate", f"1:{one}", f"2:{two}").splitlines()
        self.assertEqual(lines[1].split()[:4], ["1", "64", "80.00", "80.00"])
        self.assertEqual(lines[2].split()[:3], ["2", "128", "100.00"])
        self.assertLess(float(lines[2].split()[4]), -15)

    def test_a_table_of_weak_scaling(self):
        text = self.program("--step-seconds", "0.1", "--batch", "64", "--d-steps", "1", "--ranks", "1,4")
        self.assertEqual(len(text.splitlines()), 3)
        self.assertTrue(text.splitlines()[1].endswith("100.0 %"))


if __name__ == "__main__":
    unittest.main()
