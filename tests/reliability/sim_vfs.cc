#include "tests/reliability/sim_vfs.h"

#include <algorithm>

#include "kernels/common/error.h"

namespace bigbigan {
namespace {

void apply(std::map<std::string, int>& names, const std::string& from, const std::string& to,
           int node) {
  if (!from.empty()) names.erase(from);
  if (!to.empty()) names[to] = node;
}

// What of `tail`, written and not synced, is on the disk.
std::string surviving(const std::string& tail, Survival survival, std::mt19937& random) {
  switch (survival) {
    case Survival::kNothing:
    case Survival::kNamesOnly:
      return {};
    case Survival::kTorn:
      return tail.substr(0, tail.size() / 2);
    case Survival::kZeroFilled:
      return std::string(tail.size(), '\0');
    default:
      break;
  }
  const size_t good = random() % (tail.size() + 1),
               size = good + random() % (tail.size() - good + 1);
  return tail.substr(0, good) + std::string(size - good, '\0');
}

class SimReadableFile final : public ReadableFile {
 public:
  SimReadableFile(std::string data, std::string path)
      : data_(std::move(data)), path_(std::move(path)) {}
  [[nodiscard]] int64_t size() const override { return static_cast<int64_t>(data_.size()); }
  void read_at(int64_t offset, std::span<std::byte> bytes) override {
    if (offset + static_cast<int64_t>(bytes.size()) > size()) {
      fail(ExitCode::kBadData, "{}: truncated", path_);
    }
    const auto from = std::as_bytes(std::span(data_)).subspan(static_cast<size_t>(offset));
    std::copy_n(from.begin(), bytes.size(), bytes.begin());
  }

 private:
  std::string data_, path_;
};

}  // namespace

class SimFile final : public WritableFile {
 public:
  SimFile(SimVfs& vfs, int node, Vfs::Path path) : vfs_(vfs), node_(node), path_(std::move(path)) {}
  void write(std::span<const std::byte> bytes) override {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    try {
      vfs_.operation();
    } catch (const PowerLoss&) {
      vfs_.nodes_[node_].data += text.substr(0, text.size() / 2);
      throw;
    }
    vfs_.nodes_[node_].data += text;
  }
  void sync() override {
    vfs_.operation();
    if (vfs_.is_forgotten_ && vfs_.is_forgotten_(path_)) return;
    vfs_.nodes_[node_].synced_bytes = vfs_.nodes_[node_].data.size();
  }
  void close() override { vfs_.operation(); }

 private:
  SimVfs& vfs_;
  int node_;
  Vfs::Path path_;
};

SimVfs::SimVfs() { add_node(true); }

int SimVfs::add_node(bool is_directory) {
  nodes_.push_back({.is_directory = is_directory});
  return static_cast<int>(nodes_.size()) - 1;
}

void SimVfs::operation() {
  if (power_loss_at_ > 0 && operations_ + 1 >= power_loss_at_) throw PowerLoss();
  ++operations_;
}

int SimVfs::find(const Path& path) const {
  int node = 0;
  for (const Path& part : path.relative_path()) {
    const auto found = nodes_[node].names.find(part.string());
    if (found == nodes_[node].names.end()) return -1;
    node = found->second;
  }
  return node;
}

SimVfs::Node& SimVfs::directory_of(const Path& path) {
  const int parent = find(path.parent_path());
  if (parent < 0) fail(ExitCode::kCannotCreate, "{}: No such file or directory", path.string());
  return nodes_[parent];
}

void SimVfs::change(const Path& member, Change change) {
  Node& directory = directory_of(member);
  change.order = operations_;
  apply(directory.names, change.from, change.to, change.node);
  directory.changes.push_back(std::move(change));
}

std::unique_ptr<WritableFile> SimVfs::create(const Path& path) {
  if (exists(path)) fail(ExitCode::kCannotCreate, "create {}: File exists", path.string());
  return append(path);
}

std::unique_ptr<WritableFile> SimVfs::append(const Path& path) {
  operation();
  if (!exists(path)) change(path, {.to = path.filename(), .node = add_node(false)});
  return std::make_unique<SimFile>(*this, find(path), path);
}

std::unique_ptr<ReadableFile> SimVfs::open(const Path& path) {
  const int node = find(path);
  if (node < 0 || nodes_[node].is_directory) {
    fail(ExitCode::kNoInput, "open {}: no regular file", path.string());
  }
  return std::make_unique<SimReadableFile>(nodes_[node].data, path.string());
}

bool SimVfs::is_directory(const Path& path) {
  const int node = find(path);
  return node >= 0 && nodes_[node].is_directory;
}

std::vector<std::string> SimVfs::list(const Path& directory) {
  if (!is_directory(directory)) fail(ExitCode::kNoInput, "list {}", directory.string());
  std::vector<std::string> names;
  for (const auto& [name, node] : nodes_[find(directory)].names) names.push_back(name);
  return names;
}

void SimVfs::make_directory(const Path& path) {
  operation();
  if (exists(path)) fail(ExitCode::kCannotCreate, "create {}: File exists", path.string());
  directory_of(path);
  change(path, {.to = path.filename(), .node = add_node(true)});
}

void SimVfs::rename(const Path& from, const Path& to) {
  operation();
  check(from.parent_path() == to.parent_path(), "simulation: renaming across directories");
  const int node = find(from), replaced = find(to);
  const bool is_free =
      replaced < 0 || (!nodes_[replaced].is_directory && node >= 0 && !nodes_[node].is_directory);
  if (node < 0 || !is_free) fail(ExitCode::kWriteFailed, "rename to {}", to.string());
  change(from, {.from = from.filename(), .to = to.filename(), .node = node});
}

void SimVfs::remove_file(const Path& path) {
  operation();
  if (!exists(path) || is_directory(path)) fail(ExitCode::kWriteFailed, "remove {}", path.string());
  change(path, {.from = path.filename()});
}

void SimVfs::remove_directory(const Path& path) {
  operation();
  if (!is_directory(path) || !nodes_[find(path)].names.empty()) {
    fail(ExitCode::kWriteFailed, "remove directory {}", path.string());
  }
  change(path, {.from = path.filename()});
}

void SimVfs::sync_directory(const Path& path) {
  operation();
  if (is_forgotten_ && is_forgotten_(path)) return;
  if (!is_directory(path)) fail(ExitCode::kWriteFailed, "sync directory {}", path.string());
  Node& directory = nodes_[find(path)];
  directory.synced_names = directory.names;
  directory.changes.clear();
}

SimVfs SimVfs::after_power_loss(Survival survival, uint32_t seed) const {
  std::mt19937 random(seed);
  const int64_t journal_end =
      static_cast<int64_t>(random() % static_cast<uint32_t>(operations_ + 2));
  const auto survives = [&](const Change& change) {
    switch (survival) {
      case Survival::kNothing:
        return false;
      case Survival::kOrdered:
        return change.order <= journal_end;
      case Survival::kUnordered:
        return random() % 2 == 0;
      default:
        return true;
    }
  };
  SimVfs after;
  after.nodes_ = nodes_;
  for (Node& node : after.nodes_) {
    node.names = node.synced_names;
    for (const Change& change : node.changes) {
      if (survives(change)) apply(node.names, change.from, change.to, change.node);
    }
    const std::string tail = node.data.substr(node.synced_bytes);
    node.data.resize(node.synced_bytes);
    node.data += surviving(tail, survival, random);
    node.synced_names = node.names;
    node.synced_bytes = node.data.size();
    node.changes.clear();
  }
  return after;
}

}  // namespace bigbigan
