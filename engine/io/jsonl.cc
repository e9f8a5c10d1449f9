#include "engine/io/jsonl.h"

#include "kernels/common/error.h"

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

// Whether a line is whole and belongs to the steps up to `last_step`.
bool is_kept(const std::string& line, int64_t last_step, const std::string& source) {
  try {
    return json_get<int64_t>(parse_flat_json(line, source), "step", source) <= last_step;
  } catch (const Error&) {  // a power cut can leave zeros; a log never stops a run
    return false;
  }
}

}  // namespace

JsonlWriter::JsonlWriter(Vfs& vfs, const Vfs::Path& path, int64_t last_step) {
  if (vfs.exists(path)) {
    const std::string text = read_text(vfs, path, kMaxBytes);
    std::string kept;
    for_lines(text, [&](const std::string& line) {
      if (is_kept(line, last_step, path.string())) kept += line + "\n";
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
  for_lines(read_text(vfs, path, kMaxBytes), [&](const std::string& line) {
    objects.push_back(parse_flat_json(line, path.string()));
  });
  return objects;
}

}  // namespace bigbigan
