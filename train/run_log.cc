#include "train/run_log.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/util/clock.h"
#include "engine/util/text.h"

namespace bigbigan {

RunLog::RunLog(Vfs& vfs, Vfs::Path run, const Config& config, int64_t step)
    : vfs_(vfs),
      run_(std::move(run)),
      config_(config),
      stats_(vfs, run_ / "stats.jsonl", step),
      board_(vfs, run_, unix_seconds()),
      last_step_(step) {}

void RunLog::write(const Line& l, const StepReport& r) {
  const auto steps = static_cast<double>(std::max<int64_t>(1, l.step - last_step_));
  const double ms = 1e3 * l.step_seconds / steps;
  const double img_per_s = static_cast<double>(config_.train.batch) * 1e3 / ms;
  const FlatJson line = {{"step", l.step},
                         {"images", l.images},
                         {"elapsed_s", l.elapsed_seconds},
                         {"img_per_s", img_per_s},
                         {"ms_per_step", ms},
                         {"ms_data_wait", 1e3 * l.data_wait_seconds / steps},
                         {"loss_d", r.d[kLossTotal]},
                         {"loss_d_x", r.d[kLossX]},
                         {"loss_d_z", r.d[kLossZ]},
                         {"loss_d_xz", r.d[kLossXZ]},
                         {"loss_eg", r.eg[kLossTotal]},
                         {"loss_eg_x", r.eg[kLossX]},
                         {"loss_eg_z", r.eg[kLossZ]},
                         {"loss_eg_xz", r.eg[kLossXZ]},
                         {"score_x_real", r.d[kScoreXReal]},
                         {"score_x_fake", r.d[kScoreXFake]},
                         {"score_z_real", r.d[kScoreZReal]},
                         {"score_z_fake", r.d[kScoreZFake]},
                         {"score_xz_real", r.d[kScoreXZReal]},
                         {"score_xz_fake", r.d[kScoreXZFake]},
                         {"grad_norm_g", r.grad_norm_g},
                         {"grad_norm_e", r.grad_norm_e},
                         {"grad_norm_d", r.grad_norm_d},
                         {"skipped_steps", l.skipped_steps},
                         {"mem_bytes", l.memory_bytes}};
  stats_.write(line);
  for (const auto& [key, value] : line) {
    if (const auto* number = std::get_if<double>(&value))
      board_.scalar(key, l.step, *number, unix_seconds());
  }
  double left = static_cast<double>(config_.train.steps - l.step) * ms / 1e3;
  if (config_.train.minutes > 0)
    left = std::min(left, config_.train.minutes * 60 - l.elapsed_seconds);
  progress_.update(fmt::format(
      "step {}/{} kimg {:.1f} D {:.3f} EG {:.3f} |g| {:.2f} img/s {:.0f} mem {:.2f} GiB eta {}{}",
      l.step, config_.train.steps, static_cast<double>(l.images) / 1e3, r.d[kLossTotal],
      r.eg[kLossTotal], r.grad_norm_g, img_per_s, static_cast<double>(l.memory_bytes) / (1 << 30),
      format_duration(left), r.skipped ? " SKIPPED (NaN or Inf)" : ""));
  last_step_ = l.step;
}

void RunLog::write_picture(const std::string& name, int64_t step, const Image& picture) {
  write_png(vfs_, run_ / fmt::format("{}-{:08}.png", name, step), picture);
  board_.image(name, step, picture, unix_seconds());
}

}  // namespace bigbigan
