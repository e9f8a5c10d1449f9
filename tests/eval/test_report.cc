#include <cmath>

#include "engine/io/jsonl.h"
#include "engine/io/png.h"
#include "eval/chart.h"
#include "eval/html.h"
#include "eval/metric_log.h"
#include "eval/report.h"
#include "tests/eval/fixture.h"

namespace bigbigan {
namespace {

// The first thing wrong with the nesting of tags, or "". Void elements end in "/>" here.
std::string nesting_problem(const std::string& html) {
  std::vector<std::string> open;
  for (size_t at = html.find('<'); at != std::string::npos; at = html.find('<', at + 1)) {
    const size_t end = html.find('>', at);
    if (end == std::string::npos) return "a tag does not end";
    std::string tag = html.substr(at + 1, end - at - 1);
    if (tag.starts_with("!")) continue;
    const bool closes = tag.starts_with("/"), is_void = tag.ends_with("/");
    if (closes) tag = tag.substr(1);
    const std::string name = tag.substr(0, tag.find_first_of(" \n/"));
    if (is_void) continue;
    if (!closes) {
      open.push_back(name);
    } else if (open.empty() || open.back() != name) {
      return "</" + name + "> closes " + (open.empty() ? "nothing" : open.back());
    } else {
      open.pop_back();
    }
  }
  return open.empty() ? "" : open.back() + " stays open";
}

void write_stats_lines(TinyRun& tiny) {
  JsonlWriter stats(tiny.vfs, tiny.run() / "stats.jsonl", 0);
  for (int64_t step = 1; step <= 50; ++step) {
    stats.write({{"step", step},
                 {"images", step * 8},
                 {"elapsed_s", 2.0 * double(step)},
                 {"img_per_s", 123.0},
                 {"loss_d", 3.0 + std::sin(double(step))},
                 {"loss_eg", step == 20 ? std::nan("") : -1.0},
                 {"loss_d_x", 1.5},
                 {"score_x_real", 0.5},
                 {"score_x_fake", -0.5},
                 {"grad_norm_d", 20.0},
                 {"mem_bytes", int64_t{1} << 30}});
  }
}

Image gray(uint8_t value) { return {4, 4, 1, std::vector<uint8_t>(16, value)}; }

}  // namespace

TEST_CASE("base64 agrees with RFC 4648", "[eval][report]") {
  const auto encode = [](const std::string& text) {
    return base64(std::as_bytes(std::span(text)));
  };
  REQUIRE(encode("").empty());
  REQUIRE(encode("f") == "Zg==");
  REQUIRE(encode("fo") == "Zm8=");
  REQUIRE(encode("foo") == "Zm9v");
  REQUIRE(encode("foob") == "Zm9vYg==");
  REQUIRE(encode("\xff\xfe\xfd") == "//79");
}

TEST_CASE("text cannot become markup", "[eval][report]") {
  REQUIRE(html_escape("<a href=\"x\">&\x01") == "&lt;a href=&quot;x&quot;&gt;&amp;&#xfffd;");
}

TEST_CASE("ticks are round and inside", "[eval][report]") {
  REQUIRE(round_ticks(0, 10, 5) == std::vector<double>{0, 2, 4, 6, 8, 10});
  REQUIRE(round_ticks(-0.3, 0.9, 3) == std::vector<double>{0, 0.5});
  REQUIRE(round_ticks(5, 5, 4) == std::vector<double>{5});
  REQUIRE(tick_text(0) == "0");
  REQUIRE(tick_text(0.05) == "0.05");
  REQUIRE(tick_text(250000) == "250k");
  REQUIRE(tick_text(1500000) == "1.5M");
}

TEST_CASE("charts leave gaps for what is not finite", "[eval][report]") {
  const double nan = std::nan("");
  Chart chart{.title = "t & u",
              .x_label = "step",
              .series = {{.name = "a", .x = {1, 2, 3, 4}, .y = {1, nan, 2, 3}}},
              .markers = true};
  const std::string text = chart_figure(chart);
  REQUIRE(nesting_problem(text).empty());
  REQUIRE_THAT(text, Catch::Contains("t &amp; u"));
  REQUIRE_THAT(text, !Catch::Contains("nan"));
  const size_t path = text.find("<path class=\"line s1\" d=\"",
                                text.find("<circle") > text.size() ? 0 : text.find("viewBox=\"52"));
  const std::string d = text.substr(path, text.find('>', path) - path);
  REQUIRE(std::count(d.begin(), d.end(), 'M') == 2);  // two strokes
  for (const auto& y : {std::vector<double>{nan, nan}, {5, 5}, {-1, 0}}) {
    for (const bool log_scale : {false, true}) {
      const std::string odd = chart_figure(
          {.title = "t", .series = {{.name = "a", .x = {1, 2}, .y = y}}, .log_scale = log_scale});
      REQUIRE(nesting_problem(odd).empty());
      REQUIRE_THAT(odd, !Catch::Contains("nan") && !Catch::Contains("inf"));
    }
  }
  REQUIRE(nesting_problem(chart_figure({.title = "empty"})).empty());
}

TEST_CASE("the report is well-formed, complete, and needs no other file", "[eval][report]") {
  TinyRun tiny;
  write_stats_lines(tiny);
  write_png(tiny.vfs, tiny.run() / "reals.png", gray(7));
  for (const int64_t step : {0, 20, 50}) {
    write_png(tiny.vfs, tiny.run() / fmt::format("fakes-{:08}.png", step),
              gray(static_cast<uint8_t>(step)));
    write_png(tiny.vfs, tiny.run() / fmt::format("recon-{:08}.png", step),
              gray(static_cast<uint8_t>(100 + step)));
  }
  const Session session = tiny.session();
  log_metric(
      session, "probe",
      {{{"encoder", "trained"},
        {"feature", "avepool_feat"},
        {"split", "test"},
        {"dims", int64_t{12}},
        {"top1", 81.25},
        {"top5", 99.5},
        {"l2", 0.001},
        {"protocol", "measured <so>"}},
       {{"encoder", "pixels"}, {"feature", "raw_pixels"}, {"split", "test"}, {"top1", 64.5}}});
  log_metric(session, "knn",
             {{{"encoder", "trained"},
               {"feature", "avepool_feat"},
               {"distance", "l1"},
               {"top1_k25", 77.75}}});

  const std::string html = report_html(tiny.vfs, read_run(tiny.vfs, tiny.run()));
  REQUIRE(nesting_problem(html).empty());
  for (const char* part : {"81.25 %", "64.50 %", "77.75 %", "measured &lt;so&gt;", "Losses",
                           "Gradient norms", "step 50", "g_channels = [8, 8, 8, 8]", "1m40s",
                           "1.00 GiB", "prefers-color-scheme: dark"}) {
    INFO(part);
    REQUIRE_THAT(html, Catch::Contains(part));
  }
  for (const uint8_t value : {7, 0, 20, 50, 100, 120, 150}) {
    REQUIRE_THAT(html, Catch::Contains("base64," + base64(encode_png(gray(value)))));
  }
  for (const char* outside : {"http:", "https:", "src=\"/", "url(", "@import", "<script", "<link"})
    REQUIRE_THAT(html, !Catch::Contains(outside));
}

TEST_CASE("a run without logs, metrics and pictures still has a report", "[eval][report]") {
  TinyRun tiny;
  const std::string html = report_html(tiny.vfs, read_run(tiny.vfs, tiny.run()));
  REQUIRE(nesting_problem(html).empty());
  REQUIRE_THAT(html, Catch::Contains("Not measured yet"));
  // The checkpoint's steps, of two updates of D and one of E and G.
  REQUIRE_THAT(html, Catch::Contains("<b>7</b><span>steps") && Catch::Contains("<b>84</b>"));
  require_error([&] { read_run(tiny.vfs, tiny.data()); }, ExitCode::kNoInput, {"config.toml"});
  write_raw(tiny.run() / "fakes-00000001.png", "not a picture");
  require_error([&] { report_html(tiny.vfs, read_run(tiny.vfs, tiny.run())); }, ExitCode::kBadData,
                {"fakes-00000001.png"});
}

TEST_CASE("metrics are appended to the run, and to nothing else", "[eval][report]") {
  TinyRun tiny;
  const MetricRow row = {{"encoder", "trained"}, {"top1", 50.5}};
  log_metric(tiny.session(), "probe", {row});
  log_metric(tiny.session(), "probe", {row, row});
  const std::vector<FlatJson> lines = read_jsonl(tiny.vfs, tiny.run() / "metric-probe.jsonl");
  REQUIRE(lines.size() == 3);
  REQUIRE(text_of(lines[2], "metric") == "probe");
  REQUIRE(number_of(lines[2], "top1") == 50.5);
  REQUIRE(number_of(lines[2], "step") == 7);
  REQUIRE(text_of(lines[2], "checkpoint") == "step-00000007");
  REQUIRE(number_of(lines[2], "timestamp") > 1.6e9);
  ModelOptions options{.model = (tiny.run() / "step-00000007").string()};
  log_metric(Session(tiny.vfs, options), "knn", {row});
  REQUIRE_FALSE(tiny.vfs.exists(tiny.run() / "metric-knn.jsonl"));
}

TEST_CASE("tables are aligned", "[eval][report]") {
  const std::vector<MetricRow> rows = {
      {{"name", "a"}, {"value", 1.5}}, {{"name", "longer"}, {"value", 22.25}}, {{"name", "none"}}};
  REQUIRE(table_text(rows, {{"name", "name"}, {"value", "value", "{:.2f}"}}) ==
          "name    value\n"
          "a        1.50\n"
          "longer  22.25\n"
          "none        -\n");
}

}  // namespace bigbigan
