// A file system in memory that can lose its power.
//
// Every file and directory has what the disk surely holds (as of its last sync) and what programs
// see. A crash keeps the former and, by policy, some of what was not synced. The nth operation that
// changes something throws PowerLoss instead of being done (a write is half done), and all later
// ones do too.
#pragma once

#include <functional>
#include <map>
#include <random>

#include "engine/io/vfs.h"

namespace bigbigan {

struct PowerLoss {};

// What survives a crash of all that was not synced.
enum class Survival : uint8_t {
  kNothing,     // only what was synced
  kNamesOnly,   // every creation, removal and renaming, but no data: empty files
  kTorn,        // all names, and half of the data of each file
  kZeroFilled,  // all names, and zeros in place of the data
  kOrdered,     // the changes of names up to a random one, as a journal keeps them; random data
  kUnordered,   // any changes of names; random data
};

class SimVfs final : public Vfs {
 public:
  SimVfs();

  // Operation `n` from now (1: the next) loses the power; 0: none does.
  void lose_power_at(int64_t n) { power_loss_at_ = n > 0 ? operations_ + n : 0; }
  // Changing operations so far.
  [[nodiscard]] int64_t operations() const { return operations_; }
  // For mutants: syncs of the paths for which this is true do nothing.
  void forget_syncs_of(std::function<bool(const Path&)> forgotten) {
    is_forgotten_ = std::move(forgotten);
  }
  // The file system as found after the crash.
  [[nodiscard]] SimVfs after_power_loss(Survival survival, uint32_t seed) const;

  std::unique_ptr<WritableFile> create(const Path& path) override;
  std::unique_ptr<WritableFile> append(const Path& path) override;
  std::unique_ptr<ReadableFile> open(const Path& path) override;
  bool exists(const Path& path) override { return find(path) >= 0; }
  bool is_directory(const Path& path) override;
  std::vector<std::string> list(const Path& directory) override;
  void make_directory(const Path& path) override;
  void rename(const Path& from, const Path& to) override;
  void remove_file(const Path& path) override;
  void remove_directory(const Path& path) override;
  void sync_directory(const Path& path) override;
  int64_t free_bytes(const Path&) override { return 1 << 30; }

 private:
  friend class SimFile;
  // A name given to a node, taken away, or changed.
  struct Change {
    int64_t order = 0;
    std::string from, to;
    int node = -1;
  };
  using Names = std::map<std::string, int>;
  struct Node {
    bool is_directory = false;
    std::string data;
    size_t synced_bytes = 0;
    Names names, synced_names;
    std::vector<Change> changes;  // since the last sync
  };

  void operation();
  [[nodiscard]] int find(const Path& path) const;
  Node& directory_of(const Path& path);
  void change(const Path& directory_member, Change change);
  int add_node(bool is_directory);

  std::vector<Node> nodes_;
  int64_t operations_ = 0, power_loss_at_ = 0;
  std::function<bool(const Path&)> is_forgotten_;
};

}  // namespace bigbigan
