// emu_selftest ROW bug|good: runs one seeded bug or its twin. emu_selftest --list: the rows.
#include <cstring>
#include <exception>

#include "tests/emu/selftest/rows.h"

using namespace selftest;

int main(int argc, char** argv) {
  std::vector<Row> rows;
  for (const auto* part : {&kSharedMemoryRows, &kCollectiveRows, &kBlockRows, &kAddressRows,
                           &kHostRows, &kCaptureRows}) {
    rows.insert(rows.end(), part->begin(), part->end());
  }
  if (argc == 2 && std::strcmp(argv[1], "--list") == 0) {
    for (const Row& row : rows) std::puts(row.name);
    return 0;
  }
  for (const Row& row : rows) {
    if (argc != 3 || std::strcmp(argv[1], row.name) != 0) continue;
    try {
      row.run(std::strcmp(argv[2], "bug") == 0);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "error: %s\n", error.what());
      return 1;
    }
    return 0;
  }
  std::fprintf(stderr, "usage: emu_selftest ROW bug|good, or --list\n");
  return 64;
}
