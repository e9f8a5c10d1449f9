#include "kernels/bench/step_ledger.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "kernels/conv/conv2d.h"
#include "train/step.h"

namespace bigbigan {
namespace {

constexpr const char* kFamilies[] = {"convolutions", "matrix products", "attention", "weights",
                                     "between them"};

std::string family_of(std::string_view launcher) {
  constexpr std::array kOfWeights = {"fold_",      "join_",     "spectral_",
                                     "optimizer_", "gradient_", "ema_"};
  if (launcher == "conv2d_finish_weight") return kFamilies[3];
  if (launcher.starts_with("conv2d_") && launcher != "conv2d_finish") return kFamilies[0];
  if (launcher == "gemm") return kFamilies[1];
  if (launcher.starts_with("attention_")) return kFamilies[2];
  const bool is_of_weights = std::ranges::any_of(
      kOfWeights, [&](std::string_view prefix) { return launcher.starts_with(prefix); });
  return kFamilies[is_of_weights ? 3 : 4];
}

// Keeps what launchers say of themselves.
class Planner final : public KernelObserver {
 public:
  Planner(DType dtype, std::vector<PlannedLaunch>& launches) : dtype_(dtype), launches_(launches) {}

  void begin(std::string_view launcher, const LaunchWork& work) override {
    add(launcher, static_cast<double>(work.bytes), work.flops);
    if (launcher.starts_with("conv2d_")) add_finish(launcher, work.sizes);
  }
  void end() override {}

  bool is_of_d = true;

 private:
  void add(std::string_view launcher, double bytes, double flops) {
    launches_.push_back({std::string(launcher), is_of_d, bytes, flops});
  }

  // Sizes: n h w c k r s stride pad, bias, and ReLU or accumulate.
  void add_finish(std::string_view launcher, std::span<const int64_t> sizes) {
    const ConvGeometry g =
        conv_geometry({sizes[0], sizes[1], sizes[2], sizes[3]},
                      {sizes[4], sizes[5], sizes[6], sizes[3]}, sizes[7], sizes[8]);
    const auto narrow = static_cast<double>(size_of(dtype_));
    const auto wide = static_cast<double>(size_of(master_dtype(dtype_)));
    const bool has_bias = sizes[9] != 0, accumulates = sizes[10] != 0;
    if (launcher == "conv2d_wgrad" && (accumulates || wide > narrow)) {
      add("conv2d_finish_weight",
          static_cast<double>(g.weight().elems()) * (narrow + (accumulates ? 2 : 1) * wide), 0);
    }
    // The strided engines of an H100 add no bias.
    if (launcher == "conv2d_dgrad" && (accumulates || has_bias)) {
      add("conv2d_finish", static_cast<double>(g.x().elems()) * narrow * (accumulates ? 3 : 2), 0);
    }
  }

  DType dtype_;
  std::vector<PlannedLaunch>& launches_;
};

template <class Name>
Ledger ledger_by(const std::vector<PlannedLaunch>& launches, const DeviceRates& rates,
                 const Name& name_of) {
  Ledger ledger;
  for (const PlannedLaunch& launch : launches) {
    LedgerRow& row = ledger[name_of(launch.launcher)];
    ++row.launches;
    row.gigabytes += 1e-9 * launch.bytes;
    row.teraflops += 1e-12 * launch.flops;
    (launch.is_of_d ? row.d_seconds : row.eg_seconds) += launch.seconds(rates);
  }
  return ledger;
}

std::string heading(const char* name) {
  return fmt::format("{:<32}{:>9}{:>10}{:>9}{:>10}{:>11}{:>10}{:>9}", name, "launches", "GB",
                     "TFLOP", "D ms", "E and G ms", "ms", "share");
}

std::string line(const std::string& name, const LedgerRow& row, double total) {
  return fmt::format("{:<32}{:>9}{:>10.2f}{:>9.2f}{:>10.2f}{:>11.2f}{:>10.2f}{:>8.1f}%", name,
                     row.launches, row.gigabytes, row.teraflops, 1e3 * row.d_seconds,
                     1e3 * row.eg_seconds, 1e3 * row.seconds(), 100 * row.seconds() / total);
}

}  // namespace

double PlannedLaunch::seconds(const DeviceRates& rates) const {
  return std::max({bytes / rates.copy_tb_per_s * 1e-12, flops / rates.matmul_tflop_per_s * 1e-12,
                   rates.launch_us * 1e-6});
}

std::vector<PlannedLaunch> plan_step(const Config& config) {
  std::vector<PlannedLaunch> launches;
  Planner planner(config.train.dtype(), launches);
  PoolAllocator pool(std::make_unique<PlanMemory>());
  Context ctx{
      .exec = CpuExec{}, .allocator = &pool, .dtype = config.train.dtype(), .plan_only = true};
  BigBiGAN model(config.model);
  model.allocate(ctx, true);
  ctx.planned = &planner;
  TrainingStep step(config, model, ctx);
  const int64_t r = model.arch.encoder_resolution;
  const Tensor pixels =
      Tensor::empty(ctx, {config.train.images_at_a_time(1), r, r, config.model.image_channels},
                    DType::kU8, MemoryTag::kData);
  const std::vector<ImageBatch> batches(config.train.micro_batches_per_step(),
                                        image_batch(ctx, pixels, Tensor(), 0, config.train.batch));
  step.run(batches, config.train.ema_start, [&] { planner.is_of_d = false; });
  return launches;
}

Ledger ledger_by_launcher(const std::vector<PlannedLaunch>& launches, const DeviceRates& rates) {
  return ledger_by(launches, rates, [](const std::string& launcher) { return launcher; });
}

Ledger ledger_by_family(const std::vector<PlannedLaunch>& launches, const DeviceRates& rates) {
  return ledger_by(launches, rates, family_of);
}

std::string describe(const Config& config, const std::vector<PlannedLaunch>& launches,
                     const DeviceRates& rates, const KernelProfile* measured) {
  const Ledger by_launcher = ledger_by_launcher(launches, rates);
  const LedgerRow all =
      ledger_by(launches, rates, [](const std::string&) { return "all"; }).at("all");
  std::string text = fmt::format(
      "Predicted: a step of batch {}, {}, {} updates of D and one of E and G, where every launch "
      "runs at {} TB/s or {} TFLOP/s, or takes {} us: {:.0f} img/s\n\n{}\n",
      config.train.batch, config.train.precision, config.train.d_steps, rates.copy_tb_per_s,
      rates.matmul_tflop_per_s, rates.launch_us,
      static_cast<double>(config.train.batch) / all.seconds(), heading("family"));
  const Ledger by_family = ledger_by_family(launches, rates);
  for (const char* family : kFamilies) {
    const auto row = by_family.find(family);
    if (row != by_family.end()) text += line(family, row->second, all.seconds()) + "\n";
  }
  text += line("all", all, all.seconds()) + "\n\n" + heading("launcher") +
          (measured != nullptr ? fmt::format("{:>13}", "measured ms") : "") + "\n";
  std::vector<std::pair<std::string, LedgerRow>> rows(by_launcher.begin(), by_launcher.end());
  std::ranges::stable_sort(
      rows, [](const auto& a, const auto& b) { return a.second.seconds() > b.second.seconds(); });
  for (const auto& [launcher, row] : rows) {
    text += line(launcher, row, all.seconds());
    if (measured != nullptr) {
      const auto found = measured->rows.find(launcher);
      if (found != measured->rows.end()) {
        text += fmt::format("{:>13.2f}", 1e3 * found->second.seconds);
      }
    }
    text += "\n";
  }
  return text;
}

}  // namespace bigbigan
