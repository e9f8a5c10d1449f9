// Notices that ranks wait for one that does not come, and says which.
//
// Note [Watchdog]: every rank counts its collectives, and a thread of it tells the others where it
// is (ProgressTable). A collective that lasts longer than its limit is a rank that is late: the
// thread reads the table, names the ranks that have not come to it, and hands the report to its
// owner, who ends all ranks. It works over any transport, whatever the main thread is stuck in. On
// a GPU a collective is only enqueued: there the main thread waits when it reads what the device
// has computed, which counts as a collective of its own (Inside, kDevice), and errors of those
// under way are asked for.
#pragma once

#include <array>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/comm/device_communicator.h"
#include "engine/world/progress_table.h"

namespace bigbigan {

// What a rank is doing, each with a limit of its own.
enum class Phase : uint8_t { kSetup, kStep, kCheckpoint, kPictures };

// Seconds that a rank may be late, by phase.
using WaitLimits = std::array<double, 4>;

struct Collective {
  int64_t number = 0;
  std::string_view name;  // a literal
  int64_t bytes = 0;
  int64_t step = 0;
};

struct LateReport {
  std::string message;             // who waits where since when, and who is not there
  std::vector<int> late;           // ranks
  std::vector<Collective> recent;  // this rank's last collectives, oldest first
  // Whose collectives will not end by themselves; null without a GPU.
  std::shared_ptr<DeviceCommunicator> device;
};

class Watchdog {
 public:
  // `folder` exists and is seen by all ranks. `on_late` is called once, by the watching thread.
  Watchdog(std::filesystem::path folder, int rank, int size, const WaitLimits& limits,
           std::function<void(const LateReport&)> on_late);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // From now on asks `device` for errors too.
  void add_device(std::shared_ptr<DeviceCommunicator> device);
  // From now on; returns what it was.
  Phase set_phase(Phase phase);
  // Begins a step. `seconds`: what the last one took, 0 for none yet. A rank may be late by twenty
  // of those; in the first step, by as much as in set-up.
  void begin_step(int64_t step, double seconds);
  void enter(std::string_view collective, int64_t bytes);
  void leave();
  [[nodiscard]] std::vector<Collective> recent() const;

  // The name of waiting for what this rank's device computes, with its collectives.
  static constexpr std::string_view kDevice = "its device's work";
  // While it lives, the main thread is in a collective. Nothing happens where `watchdog` is null.
  class Inside {
   public:
    Inside(Watchdog* watchdog, std::string_view collective, int64_t bytes) : watchdog_(watchdog) {
      if (watchdog_ != nullptr) watchdog_->enter(collective, bytes);
    }
    ~Inside() {
      if (watchdog_ != nullptr) watchdog_->leave();
    }
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;

   private:
    Watchdog* watchdog_;
  };

 private:
  void watch();
  [[nodiscard]] double limit_now() const;
  // The report, if this rank has waited too long.
  [[nodiscard]] std::optional<LateReport> lateness(double now) const;
  // The report, if the device has met an error. Lets go of the lock meanwhile.
  [[nodiscard]] std::optional<LateReport> device_error(std::unique_lock<std::mutex>& lock);
  [[nodiscard]] RankProgress progress() const;

  const int rank_, size_;
  const WaitLimits limits_;
  const std::function<void(const LateReport&)> on_late_;
  const ProgressTable table_;
  const std::string process_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable stop_changed_;
  bool stop_ = false, waiting_ = false;
  Phase phase_ = Phase::kSetup;
  double since_ = 0;  // monotonic: the last collective began, or ended
  double step_seconds_ = 0;
  int64_t step_ = 0, count_ = 0;
  std::deque<Collective> recent_;
  std::shared_ptr<DeviceCommunicator> device_;
  std::thread thread_;  // last: it uses all of the above
};

// Another communicator, with every collective under the eyes of a watchdog.
class WatchedCommunicator final : public Communicator {
 public:
  WatchedCommunicator(Communicator& inner, Watchdog& watchdog)
      : inner_(inner), watchdog_(watchdog) {}
  [[nodiscard]] int rank() const override { return inner_.rank(); }
  [[nodiscard]] int size() const override { return inner_.size(); }
  void all_reduce_sum(View values) override;
  void reduce_scatter_sum(View values, View mine) override;
  void start_sum(View values) override;
  void start_reduce_scatter_sum(View values, View mine) override;
  void finish_sums() override;
  void all_gather(ConstView send, View received) override;
  void broadcast(View values, int root) override;
  void barrier() override;

 private:
  Communicator& inner_;
  Watchdog& watchdog_;
};

}  // namespace bigbigan
