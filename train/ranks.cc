#include "train/ranks.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>

#include "engine/io/flat_json.h"
#include "engine/io/hasher.h"
#include "engine/util/clock.h"
#include "engine/util/deadline.h"
#include "engine/util/host.h"
#include "engine/util/program.h"

namespace bigbigan {
namespace {

constexpr const char* kFolder = "ranks";
constexpr const char* kSession = "session";
constexpr int64_t kMaxSessionBytes = 64;
constexpr double kAbortSeconds = 10;

WaitLimits limits_of(const RanksConfig& c) {
  return {c.setup_seconds, c.step_seconds, c.checkpoint_seconds, c.picture_seconds};
}

// Rank 0 leaves a word in the run directory, and nothing of an earlier launch, which may have had
// more ranks; whoever reads another word, or none, sees another directory.
void check_shared(World& world, Vfs& vfs, const Vfs::Path& folder) {
  Communicator& comm = world.communicator();
  const Vfs::Path file = folder / kSession;
  std::string word;
  if (comm.rank() == 0) {
    word = fmt::format("{:08x}{:08x}", std::random_device{}(), std::random_device{}());
    make_directories(vfs, folder);
    for (const std::string& name : vfs.list(folder)) vfs.remove_file(folder / name);
    write_file_atomic(vfs, file, word);
  }
  word = broadcast_text(comm, word, 0);
  std::string blind;
  try {
    if (read_text(vfs, file, kMaxSessionBytes) != word) blind = world.host();
  } catch (const Error&) {
    blind = world.host();
  }
  const std::vector<std::string> hosts = gather_texts(comm, blind);
  for (int r = 0; r < comm.size(); ++r) {
    if (hosts[r].empty()) continue;
    fail(ExitCode::kConfig,
         "rank {} on {} does not see the run directory {} of rank 0: give a --run-dir on a file "
         "system that all hosts share",
         r, hosts[r], folder.parent_path().string());
  }
}

// The ranks whose text is not that of rank 0.
std::vector<int> odd_ranks(const std::vector<std::string>& texts) {
  std::vector<int> odd;
  for (size_t r = 1; r < texts.size(); ++r) {
    if (texts[r] != texts[0]) odd.push_back(static_cast<int>(r));
  }
  return odd;
}

// `abort_seconds`: what the device's collectives get to be given up.
void end_late(World& world, Vfs& vfs, const Vfs::Path& run, const LateReport& report,
              double abort_seconds) {
  note("bigbigan-train: error: " + report.message +
       ". The newest checkpoint is untouched: the same command continues it");
  write_error_record(vfs, run, world.communicator().rank(), ExitCode::kPeerLost, report.message,
                     report.recent);
  if (const auto device = report.device) {
    ends_within(abort_seconds, [device] { device->abort(); });
  }
  world.abort(ExitCode::kPeerLost);
}

void add(Hasher& hasher, const Tensor& tensor) {
  if (!tensor) return;
  std::vector<std::byte> bytes(tensor.view().bytes());
  tensor.read(bytes.data());
  hasher.add(bytes);
}

}  // namespace

Ranks::Ranks() = default;
Ranks::~Ranks() = default;

Ranks::Ranks(World& world, Vfs& vfs, const Vfs::Path& run, const RanksConfig& config,
             const DeviceMaker& make_device) {
  if (world.communicator().size() == 1) return;
  check_shared(world, vfs, run / kFolder);
  const int rank = world.communicator().rank(), size = world.communicator().size();
  const double patience = std::min(kAbortSeconds, config.step_seconds);
  watchdog_ = std::make_unique<Watchdog>(run / kFolder, rank, size, limits_of(config),
                                         [&world, &vfs, run, patience](const LateReport& report) {
                                           end_late(world, vfs, run, report, patience);
                                         });
  watched_ = std::make_unique<WatchedCommunicator>(world.communicator(), *watchdog_);
  comm_ = watched_.get();
  require_equal({{"the device", make_device ? "a GPU" : "the CPU"}});
  if (!make_device) return;
  device_ = make_device(*comm_);
  watched_device_ = std::make_unique<WatchedCommunicator>(*device_, *watchdog_);
  watchdog_->add_device(device_);
}

Ranks::Share Ranks::share(const TrainConfig& train) const {
  const int64_t count = train.images_at_a_time(size());
  return {rank() * count, count};
}

void Ranks::require_equal(const Facts& facts) const {
  if (comm_ == nullptr) return;
  Hasher hasher;
  for (const auto& [name, value] : facts) {
    const std::string line = fmt::format("{}={}\n", name, value);
    hasher.add(std::as_bytes(std::span(line)));
  }
  if (odd_ranks(gather_texts(*comm_, hasher.hex())).empty()) return;
  for (const auto& [name, value] : facts) {
    const std::vector<std::string> values = gather_texts(*comm_, value);
    for (const int r : odd_ranks(values)) {
      fail(ExitCode::kConfig, "rank {} differs in {}: {}, rank 0 has {}", r, name, values[r],
           values[0]);
    }
  }
}

bool Ranks::any(bool mine) const {
  if (comm_ == nullptr) return mine;
  int32_t count = mine ? 1 : 0;
  comm_->all_reduce_sum({&count, {1}, DType::kI32});
  return count > 0;
}

std::string Ranks::from_root(const std::string& text) const {
  return comm_ == nullptr ? text : broadcast_text(*comm_, text, 0);
}

void Ranks::meet() const {
  if (comm_ != nullptr) comm_->barrier();
}

void Ranks::compare_replicas(std::span<ParamStore* const> stores, int64_t step) const {
  if (comm_ == nullptr) return;
  Hasher hasher;
  {
    const auto waiting = waiting_for_device();
    for (const ParamStore* store : stores) {
      for (const Tensor* tensor :
           {&store->value, &store->statistics, &store->ema_statistics, &store->directions}) {
        add(hasher, *tensor);
      }
      if (store->is_sharded()) continue;
      for (const Tensor* tensor : {&store->adam_m, &store->adam_v, &store->ema}) {
        add(hasher, *tensor);
      }
    }
  }
  const std::vector<int> odd = odd_ranks(gather_texts(*comm_, hasher.hex()));
  if (odd.empty()) return;
  const bool is_root_odd = size() > 2 && static_cast<int>(odd.size()) == size() - 1;
  fail(ExitCode::kNumerical,
       "step {}: the weights of rank {} are not those of {}: a fault of memory or of a device? No "
       "checkpoint holds the difference: the same command continues from the newest",
       step, is_root_odd ? "0" : fmt::format("{}", fmt::join(odd, ", ")),
       is_root_odd ? "the others" : "rank 0");
}

void Ranks::stay_if_device_failed() const {
  while (device_ && !device_->error().empty()) std::this_thread::sleep_for(std::chrono::seconds(1));
}

void Ranks::begin_step(int64_t step, double last_seconds) const {
  if (watchdog_) watchdog_->begin_step(step, last_seconds);
}

Ranks::InPhase::InPhase(const Ranks& ranks, Phase phase) : watchdog_(ranks.watchdog_.get()) {
  if (watchdog_ != nullptr) before_ = watchdog_->set_phase(phase);
}

Ranks::InPhase::~InPhase() {
  if (watchdog_ != nullptr) watchdog_->set_phase(before_);
}

void write_error_record(Vfs& vfs, const Vfs::Path& run, int rank, ExitCode code,
                        const std::string& message, std::span<const Collective> recent) {
  std::string list;
  for (const Collective& c : recent) {
    list += fmt::format("{}{} {} {} bytes step {}", list.empty() ? "" : "; ", c.number, c.name,
                        c.bytes, c.step);
  }
  const std::string text = to_json({{"rank", int64_t{rank}},
                                    {"process", process_name()},
                                    {"time", unix_seconds()},
                                    {"code", static_cast<int64_t>(code)},
                                    {"message", message},
                                    {"recent_collectives", list}});
  try {
    make_directories(vfs, run / "errors");
    write_file_atomic(vfs, run / "errors" / fmt::format("rank-{:05}.json", rank), text + "\n");
  } catch (const Error&) {  // the report on standard error stands
  }
}

}  // namespace bigbigan
