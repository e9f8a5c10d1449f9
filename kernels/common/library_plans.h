// Which of a library's kernels each problem gets on a device.
//
// Note [Recorded plans]: NVIDIA's libraries have several kernels for a problem, which differ in
// their last bits, and heuristics choose one. What they chose is kept as text and goes into
// checkpoints: a run that goes on on the same device with the same libraries takes it over, and
// computes the same bits whatever heuristics would choose then.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace bigbigan {

class LibraryPlans {
 public:
  // The plan for the problem of that name, for as long as this lives: the one made before, or else
  // make(choice), where `choice` is what was taken over for the problem, or empty. A plan says in
  // its member `choice`, one line, what make() can make it from again. A problem has plans of one
  // type.
  template <class Plan, class Make>
  const Plan& plan_for(const std::string& problem, const Make& make) {
    const std::lock_guard lock(mutex_);
    Entry& entry = entries_[problem];
    if (!entry.plan) {
      const auto plan = std::make_shared<const Plan>(make(entry.choice));
      entry = {plan->choice, plan};
    }
    return *static_cast<const Plan*>(entry.plan.get());
  }

  // Lines "<problem> = <choice>", sorted.
  [[nodiscard]] std::string text() const;
  // The choices in lines as above, for problems that have no plan yet. Throws Error{kBadData} for
  // other text.
  void take_over(std::string_view text);

 private:
  struct Entry {
    std::string choice;
    std::shared_ptr<const void> plan;  // null: not asked for yet
  };

  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;
};

}  // namespace bigbigan
