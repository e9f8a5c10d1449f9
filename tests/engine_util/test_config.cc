#include <catch2/catch.hpp>
#include <random>

#include "engine/util/config.h"
#include "tests/engine_io/scratch.h"
#include "tests/engine_util/settings.h"

using namespace bigbigan;

namespace {

void apply(const std::string& text) {
  Settings settings;
  apply_toml(settings.fields(), text, "a.toml");
}

void apply_argument(const std::string& text) {
  Settings settings;
  apply_override(settings.fields(), text);
}

std::string repeated(const std::string& part, int times) {
  std::string text;
  for (int i = 0; i < times; ++i) text += part;
  return text;
}

}  // namespace

TEST_CASE("config: a file sets what it names and leaves the rest") {
  Settings s;
  apply_toml(s.fields(),
             "# comment\n[train]\nbatch = 1_000\nrate = 1\n[data]\nflip = false\npath = 'C:\\x'\n"
             "[model]\nchannels = [\n  1,\n  100,\n]\n",
             "a.toml");
  REQUIRE(s.batch == 1000);
  REQUIRE(s.rate == 1.0);
  REQUIRE_FALSE(s.flip);
  REQUIRE(s.path == "C:\\x");
  REQUIRE(s.kind == "basic");
  REQUIRE(s.channels == std::vector<int64_t>{1, 100});
  apply_toml(s.fields(), "train.batch = 7\nmodel = {kind = \"deep\", channels = []}", "b.toml");
  REQUIRE(s.batch == 7);
  REQUIRE(s.kind == "deep");
  REQUIRE(s.channels.empty());
  REQUIRE_NOTHROW(apply(""));
  REQUIRE_NOTHROW(apply("[train]\n[data]\n"));
}

TEST_CASE("config: every wrong value names line, key, value and what was expected") {
  const std::pair<std::string, std::string> cases[] = {
      {"[train]\nbatch = 0", "line 2: train.batch is 0, expected a number in [1, 1000]"},
      {"train.batch = 1001", "train.batch is 1001, expected a number in [1, 1000]"},
      {"train.batch = 64.0", "train.batch is 64.0, expected an integer"},
      {"train.batch = '64'", "train.batch is '64', expected an integer"},
      {"train.batch = true", "train.batch is true, expected an integer"},
      {"train.batch = 1979-05-27", "train.batch is 1979-05-27, expected an integer"},
      {"train.rate = nan", "train.rate is nan, expected a number in [0, 1]"},
      {"train.rate = -inf", "train.rate is -inf, expected a number in [0, 1]"},
      {"train.rate = 1.0000001", "expected a number in [0, 1]"},
      {"train.rate = '1'", "train.rate is '1', expected a number"},
      {"data.flip = 1", "data.flip is 1, expected true or false"},
      {"data.path = 1", "data.path is 1, expected a string in quotes"},
      {"model.kind = 'basics'", "model.kind is 'basics', expected one of basic, deep"},
      {"model.channels = 8", "model.channels is 8, expected a list of integers"},
      {"model.channels = [8, 0]", "expected a list with elements of a number in [1, 100]"},
      {"model.channels = [8, 1.5]", "expected a list of integers"},
      {"model.channels = [[8]]", "expected a list of integers"},
  };
  for (const auto& [text, part] : cases) {
    INFO(text);
    require_error([&, t = text] { apply(t); }, ExitCode::kConfig, {"configuration a.toml", part});
  }
}

TEST_CASE("config: unknown keys and sections are refused with the nearest name") {
  const std::pair<std::string, std::string> cases[] = {
      {"[train]\nbacth = 1", "line 2: unknown key train.bacth; did you mean train.batch?"},
      {"[trian]\nbatch = 1", "unknown key trian.batch; did you mean train.batch?"},
      {"something_else_entirely = 1", "unknown key something_else_entirely\n"},
      {"[nothing]", "line 1: unknown key nothing"},
      {"[train.batch]", "unknown key train.batch"},
      {"[train.batch]\nx = 1", "unknown key train.batch.x"},
      {"train = 1", "unknown key train"},
      {"[[train]]\nbatch = 1", "unknown key train"},
      {"\"train.batch\" = 1", "unknown key train.batch"},
      {"'' = 1", "unknown key"},
  };
  for (const auto& [text, part] : cases) {
    INFO(text);
    require_error([&, t = text] { apply(t + "\n"); }, ExitCode::kConfig, {"a.toml"});
    const std::string what = error_of([&, t = text] { apply(t); })->what();
    REQUIRE_THAT(what + "\n", Catch::Contains(part));
  }
}

TEST_CASE("config: another reader may ignore keys it does not know, not bad values") {
  Settings s;
  apply_toml(s.fields(), "[other]\nx = 1\n[train]\nbatch = 3\n[empty]\n", "a.toml",
             UnknownKeys::kIgnore);
  REQUIRE(s.batch == 3);
  require_error(
      [&] { apply_toml(s.fields(), "other = 1\ntrain.batch = 0", "a.toml", UnknownKeys::kIgnore); },
      ExitCode::kConfig, {"train.batch is 0"});
}

TEST_CASE("config: duplicates and what is not TOML name the line") {
  for (const char* text :
       {"[train]\nbatch = 1\nbatch = 2", "[train]\nbatch = 1\n[train]",
        "[train]\nbatch =", "train.batch = 1\n[train]\nrate = 1\n", "\n\nbatch", "\n[train",
        "\nx = 1e400", "\ntrain.batch = 9223372036854775808", "\nx = \"\xff\"", "\nx = 'a\nb'"}) {
    INFO(text);
    require_error([&] { apply(text); }, ExitCode::kConfig, {"a.toml", "line "});
  }
}

TEST_CASE("config: all problems of a file come together, up to fifty") {
  require_error(
      [] {
        apply("[train]\nbatch = 0\nbath = 3\n[data]\nflip = 'yes'\npath = 3\n[mode]\nkind = 1");
      },
      ExitCode::kConfig,
      {"train.batch is 0", "train.bath", "data.flip is 'yes'", "data.path is 3", "mode.kind"});
  std::string many;
  for (int i = 0; i < 60; ++i) many += "x" + std::to_string(i) + " = 1\n";
  require_error([&] { apply(many); }, ExitCode::kConfig, {"and 10 more"});
}

TEST_CASE("config: hostile texts end with an error, not with the stack or the memory") {
  const std::pair<std::string, std::string> cases[] = {
      {repeated("a.", 150000) + "a = 1", "more than 64 dots"},
      {"[" + repeated("a.", 65) + "a]", "more than 64 dots"},
      {repeated("\"=\".", 40) + repeated("a.", 40) + "a = 1", "more than 64 dots"},
      {"x = " + repeated("[", 17) + repeated("]", 17), "line 1"},
      {"x = " + repeated("{a=", 17) + "1" + repeated("}", 17), "line 1"},
      {"x = " + repeated("[", 100000), "line 1"},
      {"[#", "not TOML"},
      {"train\u00e9batch = 1", "line 1"},
      {"train.batch \u4e00 = 1", "line 1"},
      {"[ # ] = 1", "not TOML"},
      {std::string((1 << 20) + 1, '#'), "expected at most 1048576"},
  };
  for (const auto& [text, part] : cases) {
    INFO(text.substr(0, 60));
    require_error([&, t = text] { apply(t); }, ExitCode::kConfig, {part});
  }
  // A long value is shown in part.
  const std::string what =
      error_of([] { apply("data.flip = '" + std::string(100000, 'x') + "'"); })->what();
  REQUIRE(what.size() < 500);
}

TEST_CASE("config: an argument sets one value") {
  Settings s;
  const auto fields = s.fields();
  for (const char* text : {"train.batch=7", "train.rate=1e-3", "data.flip=false", "model.kind=deep",
                           "model.channels=[1, 2]", "data.path=/some where/x=y"}) {
    apply_override(fields, text);
  }
  REQUIRE(s.batch == 7);
  REQUIRE(s.rate == 1e-3);
  REQUIRE_FALSE(s.flip);
  REQUIRE(s.kind == "deep");
  REQUIRE(s.channels == std::vector<int64_t>{1, 2});
  REQUIRE(s.path == "/some where/x=y");
  apply_override(fields, "data.path=");
  REQUIRE(s.path.empty());
  apply_override(fields, "data.path=\"a\\tb\"");
  REQUIRE(s.path == "a\tb");
}

TEST_CASE("config: a wrong argument is quoted with what was expected") {
  const std::pair<std::string, std::string> cases[] = {
      {"train.batch", "expected key=value"},
      {"", "expected key=value"},
      {"train.bath=1", "unknown key train.bath; did you mean train.batch?"},
      {"=1", "unknown key"},
      {"train=1", "unknown key train"},
      {"train.batch=", "line 1"},
      {"train.batch= ", "line 1"},
      {"train.batch=0", "train.batch expects a number in [1, 1000]"},
      {"train.batch=1.0", "expects an integer"},
      {"train.batch=0x", "line 1"},
      {"train.batch=9223372036854775808", "line 1"},
      {"train.batch=1\n[x]", "not one value"},
      {"train.batch=1\ny=2", "not one value"},
      {"train.rate=nan", "expects a number in [0, 1]"},
      {"train.rate=1e400", "line 1"},
      {"data.flip=yes", "line 1"},
      {"data.path=\xff", "line 1"},
      {"model.kind=other", "expects one of basic, deep"},
      {"model.channels=1,2", "line 1"},
      {"train.batch=" + repeated("[", 1000), "line 1"},
      {"train.batch=" + repeated("1.", 1000), "64 dots"},
  };
  for (const auto& [text, part] : cases) {
    INFO(text.substr(0, 60));
    require_error([&, t = text] { apply_argument(t); }, ExitCode::kConfig,
                  {"argument " + text.substr(0, 20), part});
  }
}

TEST_CASE("config: what is written reads back the same") {
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    Settings s;
    s.batch = 1 + static_cast<int64_t>(random() % 1000);
    s.rate = std::ldexp(static_cast<double>(random()), -32) * std::pow(10, -double(random() % 300));
    s.flip = random() % 2 == 0;
    s.path.clear();
    for (uint32_t i = random() % 20; i > 0; --i) s.path += static_cast<char>(random() % 128);
    if (round % 2 == 0) s.path += "é'\"\\\n";
    s.channels.assign(random() % 4, 99);
    Settings back;
    apply_toml(back.fields(), to_toml(s.fields()), "round trip");
    REQUIRE(differences(s.fields(), back.fields()).empty());
    REQUIRE(back.path == s.path);
    REQUIRE(back.rate == s.rate);
  }
}

TEST_CASE("config: differences name key and both values") {
  Settings a, b;
  b.rate = 1;
  b.kind = "deep";
  REQUIRE(differences(a.fields(), a.fields()).empty());
  REQUIRE(
      differences(a.fields(), b.fields()) ==
      std::vector<std::string>{"train.rate: 0.5 and 1.0", "model.kind: \"basic\" and \"deep\""});
}
