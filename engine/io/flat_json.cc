#include "engine/io/flat_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "kernels/common/error.h"

namespace bigbigan {
namespace {

constexpr size_t kMaxKeys = 1000;  // each is compared with all others

class Reader : public nlohmann::json_sax<nlohmann::json> {
 public:
  Reader(const std::string& source, FlatJson& object) : source_(source), object_(object) {}

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(int64_t{value}); }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<uint64_t>(INT64_MAX)) return refuse("a number over 2^63");
    return add(static_cast<int64_t>(value));
  }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(value); }
  bool binary(binary_t&) override { return refuse("binary data"); }
  bool start_object(std::size_t) override { return open_++ == 0 || refuse("a nested object"); }
  bool end_object() override { return true; }
  bool start_array(std::size_t) override { return refuse("an array"); }
  bool end_array() override { return true; }
  bool key(string_t& value) override {
    if (object_.size() >= kMaxKeys) return refuse("more than 1000 keys");
    for (const auto& [known, old] : object_) {
      if (known == value) return refuse("a duplicate key");
    }
    key_ = value;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    fail(ExitCode::kBadData, "{}: not JSON at byte {}", source_, position);
  }

 private:
  bool add(JsonValue value) {
    if (open_ == 0) return refuse("a value without an object");
    object_.emplace_back(key_, std::move(value));
    return true;
  }
  bool refuse(const char* what) const {
    fail(ExitCode::kBadData, "{}: {} near key {} is not allowed", source_, what, key_);
  }

  const std::string& source_;
  FlatJson& object_;
  std::string key_;
  int open_ = 0;
};

}  // namespace

std::string to_json(const FlatJson& object) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto& [key, value] : object) {
    std::visit([&json, &name = key](const auto& v) { json[name] = v; },
               value);  // NaN and Inf dump as null
  }
  return json.dump();
}

FlatJson parse_flat_json(std::string_view text, const std::string& source) {
  if (text.find('\0') != std::string_view::npos) {  // the JSON library would take it for the end
    fail(ExitCode::kBadData, "{}: holds a zero byte", source);
  }
  FlatJson object;
  Reader reader(source, object);
  nlohmann::json::sax_parse(text.begin(), text.end(), &reader);
  return object;
}

const JsonValue* json_find(const FlatJson& object, std::string_view key) {
  const auto found = std::find_if(object.begin(), object.end(),
                                  [&](const auto& entry) { return entry.first == key; });
  return found == object.end() ? nullptr : &found->second;
}

template <class T>
T json_get(const FlatJson& object, std::string_view key, const std::string& source) {
  const JsonValue* found = json_find(object, key);
  if (found == nullptr) fail(ExitCode::kBadData, "{}: {} is missing", source, key);
  if constexpr (std::is_same_v<T, double>) {
    if (const auto* integer = std::get_if<int64_t>(found)) return static_cast<double>(*integer);
  }
  const T* value = std::get_if<T>(found);
  if (value == nullptr)
    fail(ExitCode::kBadData, "{}: {} has another type than expected", source, key);
  return *value;
}

template bool json_get<bool>(const FlatJson&, std::string_view, const std::string&);
template int64_t json_get<int64_t>(const FlatJson&, std::string_view, const std::string&);
template double json_get<double>(const FlatJson&, std::string_view, const std::string&);
template std::string json_get<std::string>(const FlatJson&, std::string_view, const std::string&);

}  // namespace bigbigan
