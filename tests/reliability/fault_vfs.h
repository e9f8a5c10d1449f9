// A Vfs whose nth changing operation fails, once or from then on.
#pragma once

#include "engine/io/vfs.h"

namespace bigbigan {

struct FaultPlan {
  int64_t at = 0;  // the operation that fails, from 1; 0: none
  bool persists = false;
  bool is_done_anyway = false;  // the operation takes effect, and reports a failure; else it does
                                // not (a write: half)
  const char* reason = "No space left on device";
};

class FaultVfs final : public Vfs {
 public:
  FaultVfs(Vfs& base, const FaultPlan& plan) : base_(base), plan_(plan) {}

  [[nodiscard]] int64_t operations() const { return operations_; }
  // Paths of the operations that failed.
  [[nodiscard]] const std::vector<std::string>& failed() const { return failed_; }

  std::unique_ptr<WritableFile> create(const Path& path) override;
  std::unique_ptr<WritableFile> append(const Path& path) override;
  std::unique_ptr<ReadableFile> open(const Path& path) override { return base_.open(path); }
  bool exists(const Path& path) override { return base_.exists(path); }
  bool is_directory(const Path& path) override { return base_.is_directory(path); }
  std::vector<std::string> list(const Path& directory) override { return base_.list(directory); }
  void make_directory(const Path& path) override;
  void rename(const Path& from, const Path& to) override;
  void remove_file(const Path& path) override;
  void remove_directory(const Path& path) override;
  void sync_directory(const Path& path) override;
  int64_t free_bytes(const Path& path) override { return base_.free_bytes(path); }

 private:
  friend class FaultFile;
  // Runs `action`, or fails at the planned operation.
  template <class Action, class Partly>
  void operation(const char* what, const Path& path, const Action& action, const Partly& partly);
  template <class Action>
  void operation(const char* what, const Path& path, const Action& action);

  Vfs& base_;
  FaultPlan plan_;
  int64_t operations_ = 0;
  std::vector<std::string> failed_;
};

}  // namespace bigbigan
