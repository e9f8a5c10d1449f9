#include "engine/world/watchdog.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "engine/util/clock.h"
#include "engine/util/host.h"

namespace bigbigan {
namespace {

constexpr std::chrono::milliseconds kTick{100};
constexpr double kWriteSeconds = 0.5;  // between two records of the table
constexpr size_t kRecent = 256;
constexpr double kStepsLate = 20;
// Without a collective at all for this much longer than the limit, the rank itself is stuck.
constexpr double kOwnFactor = 2;
// What a rank that fails does to the others shows on their devices at once: it shall speak first.
constexpr std::chrono::seconds kCauseFirst{2};

constexpr std::array<const char*, 4> kPhaseNames = {"set-up", "step", "checkpoint", "pictures"};

const char* name_of(Phase phase) { return kPhaseNames[static_cast<size_t>(phase)]; }

}  // namespace

Watchdog::Watchdog(std::filesystem::path folder, int rank, int size, const WaitLimits& limits,
                   std::function<void(const LateReport&)> on_late)
    : rank_(rank),
      size_(size),
      limits_(limits),
      on_late_(std::move(on_late)),
      table_(std::move(folder), rank),
      process_(process_name()),
      since_(monotonic_seconds()),
      thread_([this] { watch(); }) {}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  stop_changed_.notify_all();
  thread_.join();
}

void Watchdog::add_device(std::shared_ptr<DeviceCommunicator> device) {
  const std::lock_guard lock(mutex_);
  device_ = std::move(device);
}

Phase Watchdog::set_phase(Phase phase) {
  const std::lock_guard lock(mutex_);
  since_ = monotonic_seconds();
  return std::exchange(phase_, phase);
}

void Watchdog::begin_step(int64_t step, double seconds) {
  const std::lock_guard lock(mutex_);
  step_ = step;
  step_seconds_ = seconds;
}

void Watchdog::enter(std::string_view collective, int64_t bytes) {
  const std::lock_guard lock(mutex_);
  recent_.push_back({++count_, collective, bytes, step_});
  if (recent_.size() > kRecent) recent_.pop_front();
  waiting_ = true;
  since_ = monotonic_seconds();
}

void Watchdog::leave() {
  const std::lock_guard lock(mutex_);
  waiting_ = false;
  since_ = monotonic_seconds();
}

std::vector<Collective> Watchdog::recent() const {
  const std::lock_guard lock(mutex_);
  return {recent_.begin(), recent_.end()};
}

RankProgress Watchdog::progress() const {
  RankProgress p{.collective = count_,
                 .is_waiting = waiting_,
                 .step = step_,
                 .phase = name_of(phase_),
                 .process = process_,
                 .written_seconds = unix_seconds()};
  if (!recent_.empty()) {
    p.name = recent_.back().name;
    p.bytes = recent_.back().bytes;
  }
  return p;
}

double Watchdog::limit_now() const {
  const auto of = [&](Phase phase) { return limits_[static_cast<size_t>(phase)]; };
  if (phase_ != Phase::kStep) return of(phase_);
  if (step_seconds_ == 0) return std::max(of(Phase::kStep), of(Phase::kSetup));  // plans, captures
  return std::max(of(Phase::kStep), kStepsLate * step_seconds_);
}

std::optional<LateReport> Watchdog::lateness(double now) const {
  const double limit = limit_now(), waited = now - since_;
  if (waited <= (waiting_ ? limit : kOwnFactor * limit)) return std::nullopt;
  LateReport report{.recent = {recent_.begin(), recent_.end()}};
  if (!waiting_) {
    report.late = {rank_};
    report.message = fmt::format(
        "rank {} has come to no collective for {:.1f} s (phase {}, step {}, the last was "
        "number {}): it is stuck in its own work{}",
        rank_, waited, name_of(phase_), step_, count_, device_ ? ", or its device is" : "");
    return report;
  }
  std::string late;
  for (int r = 0; r < size_; ++r) {
    if (r == rank_) continue;
    const auto other = table_.read(r);
    if (other && other->collective >= count_) continue;
    report.late.push_back(r);
    late += other ? fmt::format(
                        "; rank {} ({}) is at number {} ({}), phase {}, step {}, last heard "
                        "of {:.1f} s ago",
                        r, other->process, other->collective,
                        other->is_waiting ? "inside " + other->name : "after " + other->name,
                        other->phase, other->step, unix_seconds() - other->written_seconds)
                  : fmt::format("; rank {} has left no word", r);
  }
  const Collective& last = recent_.back();
  report.message = fmt::format(
      "rank {} has waited {:.1f} s {} (phase {}, step {}). Not there: {}{}", rank_, waited,
      last.name == kDevice
          ? fmt::format("for {}, number {}", kDevice, count_)
          : fmt::format("in collective number {}, {} of {} bytes", count_, last.name, last.bytes),
      name_of(phase_), step_,
      report.late.empty() ? "nobody, all have come: what connects them does not deliver"
                          : fmt::format("rank {}", fmt::join(report.late, ", rank ")),
      late);
  return report;
}

std::optional<LateReport> Watchdog::device_error(std::unique_lock<std::mutex>& lock) {
  const auto device = device_;
  if (device == nullptr) return std::nullopt;
  lock.unlock();
  const std::string error = device->error();
  lock.lock();
  if (error.empty() || stop_changed_.wait_for(lock, kCauseFirst, [&] { return stop_; })) {
    return std::nullopt;
  }
  return LateReport{.message = fmt::format("rank {} (phase {}, step {}): {}", rank_,
                                           name_of(phase_), step_, error),
                    .recent = {recent_.begin(), recent_.end()}};
}

void Watchdog::watch() {
  double written = 0;
  std::unique_lock lock(mutex_);
  while (!stop_) {
    const double now = monotonic_seconds();
    if (now - written >= kWriteSeconds) {
      const RankProgress mine = progress();
      lock.unlock();
      table_.write(mine);
      lock.lock();
      written = now;
    }
    std::optional<LateReport> report = lateness(monotonic_seconds());
    if (!report) report = device_error(lock);
    if (report) {
      report->device = device_;
      lock.unlock();
      on_late_(*report);
      return;
    }
    stop_changed_.wait_for(lock, kTick);
  }
}

void WatchedCommunicator::all_reduce_sum(View values) {
  const Watchdog::Inside inside(&watchdog_, "all_reduce_sum", values.bytes());
  inner_.all_reduce_sum(values);
}

void WatchedCommunicator::reduce_scatter_sum(View values, View mine) {
  const Watchdog::Inside inside(&watchdog_, "reduce_scatter_sum", values.bytes());
  inner_.reduce_scatter_sum(values, mine);
}

void WatchedCommunicator::start_sum(View values) {
  const Watchdog::Inside inside(&watchdog_, "start_sum", values.bytes());
  inner_.start_sum(values);
}

void WatchedCommunicator::start_reduce_scatter_sum(View values, View mine) {
  const Watchdog::Inside inside(&watchdog_, "start_reduce_scatter_sum", values.bytes());
  inner_.start_reduce_scatter_sum(values, mine);
}

void WatchedCommunicator::finish_sums() { inner_.finish_sums(); }

void WatchedCommunicator::all_gather(ConstView send, View received) {
  const Watchdog::Inside inside(&watchdog_, "all_gather", send.bytes());
  inner_.all_gather(send, received);
}

void WatchedCommunicator::broadcast(View values, int root) {
  const Watchdog::Inside inside(&watchdog_, "broadcast", values.bytes());
  inner_.broadcast(values, root);
}

void WatchedCommunicator::barrier() {
  const Watchdog::Inside inside(&watchdog_, "barrier", 0);
  inner_.barrier();
}

}  // namespace bigbigan
