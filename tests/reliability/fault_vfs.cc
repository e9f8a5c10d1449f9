#include "tests/reliability/fault_vfs.h"

#include "kernels/common/error.h"

namespace bigbigan {

template <class Action, class Partly>
void FaultVfs::operation(const char* what, const Path& path, const Action& action,
                         const Partly& partly) {
  ++operations_;
  const bool fails =
      plan_.at > 0 && (plan_.persists ? operations_ >= plan_.at : operations_ == plan_.at);
  if (!fails) return action();
  if (plan_.is_done_anyway) {
    action();
  } else {
    partly();
  }
  failed_.push_back(path.string());
  fail(ExitCode::kWriteFailed, "{} {}: {}", what, path.string(), plan_.reason);
}

template <class Action>
void FaultVfs::operation(const char* what, const Path& path, const Action& action) {
  operation(what, path, action, [] {});
}

class FaultFile final : public WritableFile {
 public:
  FaultFile(FaultVfs& vfs, std::unique_ptr<WritableFile> base, Vfs::Path path)
      : vfs_(vfs), base_(std::move(base)), path_(std::move(path)) {}
  void write(std::span<const std::byte> bytes) override {
    vfs_.operation(
        "write", path_, [&] { base_->write(bytes); },
        [&] { base_->write(bytes.first(bytes.size() / 2)); });
  }
  void sync() override {
    vfs_.operation("sync", path_, [&] { base_->sync(); });
  }
  void close() override {
    vfs_.operation("close", path_, [&] { base_->close(); });
  }

 private:
  FaultVfs& vfs_;
  std::unique_ptr<WritableFile> base_;
  Vfs::Path path_;
};

std::unique_ptr<WritableFile> FaultVfs::create(const Path& path) {
  std::unique_ptr<WritableFile> file;
  operation("create", path, [&] { file = base_.create(path); });
  return std::make_unique<FaultFile>(*this, std::move(file), path);
}

std::unique_ptr<WritableFile> FaultVfs::append(const Path& path) {
  std::unique_ptr<WritableFile> file;
  operation("create", path, [&] { file = base_.append(path); });
  return std::make_unique<FaultFile>(*this, std::move(file), path);
}

void FaultVfs::make_directory(const Path& path) {
  operation("create directory", path, [&] { base_.make_directory(path); });
}

void FaultVfs::rename(const Path& from, const Path& to) {
  operation("rename to", to, [&] { base_.rename(from, to); });
}

void FaultVfs::remove_file(const Path& path) {
  operation("remove", path, [&] { base_.remove_file(path); });
}

void FaultVfs::remove_directory(const Path& path) {
  operation("remove directory", path, [&] { base_.remove_directory(path); });
}

void FaultVfs::sync_directory(const Path& path) {
  operation("sync directory", path, [&] { base_.sync_directory(path); });
}

}  // namespace bigbigan
