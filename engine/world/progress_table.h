// Where every rank is, in one small file per rank of a shared folder.
//
// A rank that is stopped or lost cannot be asked; what it wrote last can be read. Files serve ranks
// on one host and on many, over any transport. They are written in place, outside the Vfs: a record
// that is lost with the power is of no use to anyone.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace bigbigan {

struct RankProgress {
  int64_t collective = 0;   // number of the last one that the rank came to, from 1
  bool is_waiting = false;  // in it still
  std::string name;         // of the collective
  int64_t bytes = 0;
  int64_t step = 0;
  std::string phase;
  std::string process;         // "pid 12 on host"
  double written_seconds = 0;  // since 1970
};

class ProgressTable {
 public:
  // Creates this rank's file in `folder`, which exists. Throws Error{kCannotCreate}.
  ProgressTable(std::filesystem::path folder, int rank);
  ~ProgressTable();
  ProgressTable(const ProgressTable&) = delete;
  ProgressTable& operator=(const ProgressTable&) = delete;

  // Failures are ignored: the run is worth more than its table.
  void write(const RankProgress& progress) const;
  // Nothing where the rank has not written, or what is there cannot be read.
  [[nodiscard]] std::optional<RankProgress> read(int rank) const;

 private:
  [[nodiscard]] std::filesystem::path file_of(int rank) const;

  std::filesystem::path folder_;
  int fd_;
};

}  // namespace bigbigan
