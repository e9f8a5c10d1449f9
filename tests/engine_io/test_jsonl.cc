#include <catch2/catch.hpp>

#include "engine/io/jsonl.h"
#include "tests/engine_io/scratch.h"

using namespace bigbigan;

namespace {

FlatJson line(int64_t step) { return {{"step", step}, {"loss", 0.5 * static_cast<double>(step)}}; }

std::string text_of(std::initializer_list<int64_t> steps) {
  std::string text;
  for (const int64_t step : steps) text += to_json(line(step)) + "\n";
  return text;
}

}  // namespace

TEST_CASE("jsonl: lines are appended and read back") {
  ScratchFolder scratch;
  PosixVfs vfs;
  {
    JsonlWriter writer(vfs, scratch / "s", 0);
    for (const int64_t step : {1, 2}) writer.write(line(step));
  }
  REQUIRE(read_raw(scratch / "s") == text_of({1, 2}));
  const auto objects = read_jsonl(vfs, scratch / "s");
  REQUIRE(objects.size() == 2);
  REQUIRE(objects[1] == line(2));
}

TEST_CASE("jsonl: a resumed run drops the lines it will write again") {
  ScratchFolder scratch;
  PosixVfs vfs;
  write_raw(scratch / "s", text_of({1, 2, 3, 4}));
  JsonlWriter writer(vfs, scratch / "s", 2);
  writer.write(line(3));
  REQUIRE(read_raw(scratch / "s") == text_of({1, 2, 3}));
  REQUIRE(scratch.entries() == 1);
}

TEST_CASE("jsonl: a torn last line is not read, and goes before the next one") {
  ScratchFolder scratch;
  PosixVfs vfs;
  const std::string whole = text_of({1, 2, 3});
  for (size_t keep = text_of({1, 2}).size(); keep < whole.size(); ++keep) {
    write_raw(scratch / "s", whole.substr(0, keep));
    REQUIRE(read_jsonl(vfs, scratch / "s").size() == 2);
    JsonlWriter(vfs, scratch / "s", 9).write(line(3));
    REQUIRE(read_raw(scratch / "s") == whole);
  }
}

TEST_CASE("jsonl: damage in the middle does not stop a run, but a reader says it") {
  ScratchFolder scratch;
  PosixVfs vfs;
  const std::string zeros(100, '\0');
  write_raw(scratch / "s", text_of({1}) + zeros + "\n{\"other\":1}\n[]\n" + text_of({2}));
  require_error([&] { read_jsonl(vfs, scratch / "s"); }, ExitCode::kBadData,
                {(scratch / "s").string()});
  const JsonlWriter writer(vfs, scratch / "s", 9);
  REQUIRE(read_raw(scratch / "s") == text_of({1, 2}));
}
