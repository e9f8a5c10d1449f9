#include "engine/util/deadline.h"

#include <chrono>
#include <future>
#include <thread>
#include <utility>

namespace bigbigan {

bool ends_within(double seconds, std::function<void()> work) {
  std::promise<void> ended;
  const std::future<void> end = ended.get_future();
  std::thread([work = std::move(work), ended = std::move(ended)]() mutable {
    work();
    work = nullptr;  // what it holds is let go before the caller goes on
    ended.set_value();
  }).detach();
  return end.wait_for(std::chrono::duration<double>(seconds)) == std::future_status::ready;
}

Deadline::Deadline(double seconds, std::function<void()> on_end)
    : thread_([this, seconds, on_end = std::move(on_end)] {
        std::unique_lock lock(mutex_);
        const bool in_time = is_over_changed_.wait_for(lock, std::chrono::duration<double>(seconds),
                                                       [this] { return is_over_; });
        lock.unlock();
        if (!in_time) on_end();
      }) {}

Deadline::~Deadline() {
  {
    const std::lock_guard lock(mutex_);
    is_over_ = true;
  }
  is_over_changed_.notify_one();
  thread_.join();
}

}  // namespace bigbigan
