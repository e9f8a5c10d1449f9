#include "engine/io/jsonl.h"

#include <algorithm>

namespace bigbigan {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 30;

// Calls body(line) for every line that ends.
template <class Body>
void for_lines(const std::string& text, const Body& body) {
  size_t begin = 0;
  for (size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
    body(text.substr(begin, end - begin));
    begin = end + 1;
  }
}

}  // namespace

JsonlWriter::JsonlWriter(Vfs& vfs, const Vfs::Path& path, int64_t last_step) {
  if (vfs.exists(path)) {
    const std::string text = read_text(vfs, path, kMaxBytes);
    std::string kept;
    for_lines(text, [&](const std::string& line) {
      const FlatJson object = parse_flat_json(line, path.string());
      if (json_get<int64_t>(object, "step", path.string()) <= last_step) kept += line + "\n";
    });
    if (kept != text) write_file_atomic(vfs, path, kept);
  }
  file_ = vfs.append(path);
}

void JsonlWriter::write(const FlatJson& object) {
  const std::string line = to_json(object) + "\n";
  file_->write(std::as_bytes(std::span(line)));
}

std::vector<FlatJson> read_jsonl(Vfs& vfs, const Vfs::Path& path) {
  std::vector<FlatJson> objects;
  for_lines(read_text(vfs, path, kMaxBytes),
            [&](const std::string& line) { objects.push_back(parse_flat_json(line, path.string())); });
  return objects;
}

}  // namespace bigbigan
