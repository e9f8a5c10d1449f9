// Work that may never end.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace bigbigan {

// Runs `work`, which throws nothing, in a thread of its own. Returns whether it has ended within
// `seconds`; if not, the thread stays behind with all that `work` holds.
bool ends_within(double seconds, std::function<void()> work);

// Calls `on_end` in a thread of its own when it has lived for `seconds`.
class Deadline {
 public:
  Deadline(double seconds, std::function<void()> on_end);
  ~Deadline();
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable is_over_changed_;
  bool is_over_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace bigbigan
