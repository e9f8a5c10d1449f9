// A communicator that writes down what it is asked for, and does nothing: for plans of steps
// (Context::plan_only), and where what is summed does not matter.
#pragma once

#include <string_view>
#include <vector>

#include "engine/comm/communicator.h"

namespace bigbigan {

class RecordingCommunicator final : public Communicator {
 public:
  struct Call {
    std::string_view name;  // a literal
    ConstView values;       // what this rank brings
  };

  explicit RecordingCommunicator(int size) : size_(size) {}
  [[nodiscard]] int rank() const override { return 0; }
  [[nodiscard]] int size() const override { return size_; }
  void all_reduce_sum(View values) override { calls.push_back({"all_reduce_sum", values}); }
  void reduce_scatter_sum(View values, View) override {
    calls.push_back({"reduce_scatter_sum", values});
  }
  void start_sum(View values) override { calls.push_back({"start_sum", values}); }
  void start_reduce_scatter_sum(View values, View) override {
    calls.push_back({"start_reduce_scatter_sum", values});
  }
  void finish_sums() override { calls.push_back({"finish_sums", {}}); }
  void all_gather(ConstView send, View) override { calls.push_back({"all_gather", send}); }
  void broadcast(View values, int) override { calls.push_back({"broadcast", values}); }
  void barrier() override { calls.push_back({"barrier", {}}); }

  // Those of one name.
  [[nodiscard]] std::vector<ConstView> of(std::string_view name) const {
    std::vector<ConstView> found;
    for (const Call& call : calls) {
      if (call.name == name) found.push_back(call.values);
    }
    return found;
  }

  std::vector<Call> calls;

 private:
  int size_;
};

}  // namespace bigbigan
