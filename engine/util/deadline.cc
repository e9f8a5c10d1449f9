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

}  // namespace bigbigan
