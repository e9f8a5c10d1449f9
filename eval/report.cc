#include "eval/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/util/text.h"
#include "eval/chart.h"
#include "eval/html.h"
#include "eval/report_style.h"
#include "models/bigbigan/describe.h"

namespace bigbigan {
namespace {

// --- Summary ---

double median(std::vector<double> values) {
  if (values.empty()) return std::nan("");
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

std::vector<double> column(const std::vector<FlatJson>& lines, const std::string& key) {
  std::vector<double> values;
  values.reserve(lines.size());
  for (const FlatJson& line : lines) values.push_back(number_of(line, key));
  return values;
}

std::string tile(const std::string& value, const std::string& what) {
  return fmt::format("<div class=\"tile\"><b>{}</b><span>{}</span></div>\n", html_escape(value),
                     html_escape(what));
}

std::string count_text(double value) {
  return std::isfinite(value) ? format_count(static_cast<int64_t>(value)) : "–";
}

std::string millions(int64_t count) {
  return count >= 10'000'000 ? fmt::format("{:.1f} M", static_cast<double>(count) / 1e6)
                             : fmt::format("{:.2f} M", static_cast<double>(count) / 1e6);
}

std::string summary(const RunData& run) {
  const FlatJson last = run.stats.empty() ? FlatJson() : run.stats.back();
  const BigBiGAN model(run.model);
  int64_t parameters = 0, encoder = 0;
  for (const auto& [part, count] : parameter_counts(model)) {
    if (part == "total") parameters = count;
    if (part == "encoder") encoder = count;
  }
  const double seconds = number_of(last, "elapsed_s"), memory = number_of(last, "mem_bytes");
  // The log may end some steps before the last checkpoint.
  double steps = number_of(last, "step"), images = number_of(last, "images");
  if (!run.checkpoints.empty() && !(steps >= static_cast<double>(run.checkpoints.back()))) {
    steps = static_cast<double>(run.checkpoints.back());
    images = steps * static_cast<double>(run.batch * (run.d_steps + 1));
  }
  std::string text = "<div class=\"tiles\">\n";
  text += tile(count_text(steps), fmt::format("steps of batch {}", run.batch));
  text += tile(count_text(images), "images seen");
  text += tile(std::isfinite(seconds) ? format_duration(seconds) : "–", "of training");
  text += tile(count_text(median(column(run.stats, "img_per_s"))), "images/s (median)");
  text += tile(millions(parameters), fmt::format("parameters (E {})", millions(encoder)));
  text += tile(std::isfinite(memory) ? fmt::format("{:.2f} GiB", memory / (1 << 30)) : "–",
               "memory at most");
  return text + "</div>\n";
}

std::string header(const RunData& run) {
  return fmt::format(
      "<h1>BigBiGAN run <i>{}</i></h1>\n<p class=\"lead\">{}×{} images of {}. Latents of {} "
      "numbers, encoder {}, {} update{} of D for each of E and G. Learning rates: G {:g}, D {:g}, "
      "E {:g}; "
      "moving average {:g}; seed {}.</p>\n",
      html_escape(run.name), run.model.resolution, run.model.resolution, html_escape(run.data_path),
      run.model.z_dim, html_escape(run.model.encoder), run.d_steps, run.d_steps == 1 ? "" : "s",
      run.g_lr, run.d_lr, run.e_lr, run.ema_decay, run.seed);
}

// --- Metrics ---

// The last line for each combination of `keys`, in order of first appearance.
std::vector<FlatJson> latest(const std::vector<FlatJson>& lines,
                             const std::vector<std::string>& keys) {
  std::vector<FlatJson> rows;
  const auto same = [&](const FlatJson& a, const FlatJson& b) {
    return std::all_of(keys.begin(), keys.end(),
                       [&](const auto& key) { return text_of(a, key) == text_of(b, key); });
  };
  for (const FlatJson& line : lines) {
    const auto found = std::find_if(rows.begin(), rows.end(),
                                    [&](const FlatJson& row) { return same(row, line); });
    if (found == rows.end())
      rows.push_back(line);
    else
      *found = line;
  }
  return rows;
}

std::string percent(const FlatJson& row, const std::string& key) {
  const double value = number_of(row, key);
  return std::isfinite(value) ? fmt::format("{:.2f}", value) : "–";
}

std::string meter(double percent_value) {
  if (!std::isfinite(percent_value)) return "–";
  return fmt::format("<span class=\"meter\"><i style=\"width:{:.2f}%\"></i><b>{:.2f} %</b></span>",
                     std::clamp(percent_value, 0.0, 100.0), percent_value);
}

std::string protocols(const std::vector<FlatJson>& rows) {
  std::string text = "<details><summary>How each row was measured</summary><ul>\n";
  for (const FlatJson& row : rows)
    text += "<li>" + html_escape(text_of(row, "protocol")) + "</li>\n";
  return text + "</ul></details>\n";
}

std::string row_start(const FlatJson& row, bool is_best) {
  const bool has_step = text_of(row, "encoder") == "trained";
  return fmt::format(
      "<tr{}><td>{}</td><td>{}</td><td class=\"n\">{}</td><td>{}</td><td class=\"n\">{}</td>",
      is_best ? " class=\"best\"" : "", html_escape(text_of(row, "encoder")),
      html_escape(text_of(row, "feature")), text_of(row, "dims"),
      html_escape(text_of(row, "split")), has_step ? count_text(number_of(row, "step")) : "–");
}

constexpr const char* kRowHead =
    "<th>encoder</th><th>feature</th><th class=\"n\">dims</th><th>split</th>"
    "<th class=\"n\">step</th>";

// The row of the trained encoder with the largest value of `key`, or none.
const FlatJson* best_row(const std::vector<FlatJson>& rows, const std::string& key) {
  const FlatJson* best = nullptr;
  for (const FlatJson& row : rows) {
    if (text_of(row, "encoder") != "trained") continue;
    if (best == nullptr || number_of(row, key) > number_of(*best, key)) best = &row;
  }
  return best;
}

std::string probe_table(const RunData& run) {
  const std::vector<FlatJson> rows = latest(run.probe, {"encoder", "feature", "split"});
  if (rows.empty()) return "";
  const FlatJson* best = best_row(rows, "top1");
  std::string text =
      "<div class=\"card\"><figcaption><b>Linear probe</b>: multinomial logistic regression on "
      "frozen features</figcaption>\n<table><tr>";
  text += std::string(kRowHead) +
          "<th class=\"wide\">top-1</th><th class=\"n\">top-5 %</th><th class=\"n\">l2</th></tr>\n";
  for (const FlatJson& row : rows) {
    text += row_start(row, &row == best) +
            fmt::format(
                "<td class=\"wide\">{}</td><td class=\"n\">{}</td><td class=\"n\">{:g}</td></tr>\n",
                meter(number_of(row, "top1")), percent(row, "top5"), number_of(row, "l2"));
  }
  return text + "</table>\n" + protocols(rows) + "</div>\n";
}

std::string knn_table(const RunData& run) {
  const std::vector<FlatJson> rows = latest(run.knn, {"encoder", "feature", "split", "distance"});
  if (rows.empty()) return "";
  const FlatJson* best = best_row(rows, "top1_k25");
  std::string text =
      "<div class=\"card\"><figcaption><b>k nearest neighbours</b>: exact, on normalised "
      "features</figcaption>\n<table><tr>";
  text += std::string(kRowHead) +
          "<th>distance</th><th class=\"n\">k=1 %</th><th class=\"n\">k=5 %</th><th "
          "class=\"wide\">k=25</th><th "
          "class=\"n\">k=50 %</th></tr>\n";
  for (const FlatJson& row : rows) {
    text +=
        row_start(row, &row == best) +
        fmt::format(
            "<td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td "
            "class=\"wide\">{}</td><td class=\"n\">{}</td></tr>\n",
            html_escape(text_of(row, "distance")), percent(row, "top1_k1"), percent(row, "top1_k5"),
            meter(number_of(row, "top1_k25")), percent(row, "top1_k50"));
  }
  return text + "</table>\n" + protocols(rows) + "</div>\n";
}

// Probe accuracy of the trained encoder over steps, where several checkpoints were measured.
std::string probe_history(const RunData& run) {
  Chart chart{
      .title = "Linear probe of the trained encoder, top-1 %", .x_label = "step", .markers = true};
  bool has_history = false;
  for (const FlatJson& line : latest(run.probe, {"encoder", "feature", "split", "step"})) {
    if (text_of(line, "encoder") != "trained") continue;
    const std::string name = text_of(line, "feature") + ", " + text_of(line, "split");
    auto found = std::find_if(chart.series.begin(), chart.series.end(),
                              [&](const Series& s) { return s.name == name; });
    if (found == chart.series.end()) {
      const int color = static_cast<int>(chart.series.size()) % 5 + 1;
      found = chart.series.insert(chart.series.end(), {.name = name, .color = color});
    }
    found->x.push_back(number_of(line, "step"));
    found->y.push_back(number_of(line, "top1"));
    has_history = has_history || found->x.size() > 1;
  }
  return has_history ? "<div class=\"grid2\">" + chart_figure(chart) + "</div>\n" : "";
}

std::string metrics(const RunData& run) {
  const std::string tables = probe_table(run) + knn_table(run);
  if (tables.empty()) {
    return "<h2>Features</h2>\n<p class=\"lead\">Not measured yet: <code>bigbigan-eval probe RUN "
           "--baselines</code>.</p>\n";
  }
  return "<h2>Features</h2>\n<p class=\"lead\">How well frozen encoder features tell the classes "
         "apart, beside an encoder that was "
         "never trained and the raw pixels. The best row of the trained encoder is filled.</p>\n" +
         tables + probe_history(run);
}

// --- Pictures ---

std::string picture(Vfs& vfs, const Vfs::Path& path, const std::string& caption) {
  constexpr int64_t kMaxBytes = 64 << 20;
  const std::vector<std::byte> png = read_bytes(vfs, path, kMaxBytes);
  if (png.size() < 8 || std::memcmp(png.data(), "\x89PNG\r\n\x1a\n", 8) != 0) {
    fail(ExitCode::kBadData, "{}: not a PNG", path.string());
  }
  return fmt::format("<figure class=\"picture\"><figcaption>{}</figcaption>{}</figure>\n", caption,
                     inline_png(png, path.filename().string()));
}

std::string step_caption(const std::string& what, int64_t step) {
  return fmt::format("<b>{}</b> step {}", what, format_count(step));
}

// At most `count` of the pictures, the first and the last among them.
std::vector<RunPicture> spread(const std::vector<RunPicture>& all, size_t count) {
  if (all.size() <= count) return all;
  std::vector<RunPicture> chosen;
  for (size_t i = 0; i < count; ++i) chosen.push_back(all[i * (all.size() - 1) / (count - 1)]);
  return chosen;
}

std::string strip(Vfs& vfs, const std::vector<RunPicture>& pictures) {
  constexpr size_t kInStrip = 6;
  if (pictures.size() < 2) return "";
  std::string text = "<div class=\"strip\">\n";
  for (const RunPicture& p : spread(pictures, kInStrip))
    text += picture(vfs, p.path, fmt::format("step {}", format_count(p.step)));
  return text + "</div>\n";
}

std::string samples(Vfs& vfs, const RunData& run) {
  if (run.samples.empty()) return "";
  std::string text =
      "<h2>Samples</h2>\n<p class=\"lead\">G(z) with averaged weights; the latents are the same at "
      "every step.</p>\n<div class=\"grid2\">\n";
  if (run.reals) text += picture(vfs, *run.reals, "<b>Training images</b>");
  text += picture(vfs, run.samples.back().path, step_caption("Samples,", run.samples.back().step));
  return text + "</div>\n" + strip(vfs, run.samples);
}

std::string reconstructions(Vfs& vfs, const RunData& run) {
  if (run.reconstructions.empty()) return "";
  std::string text =
      "<h2>Reconstructions</h2>\n<p class=\"lead\">Held-out images x in the odd columns, G(E(x)) "
      "to the right of each.</p>\n<div class=\"grid2\">\n";
  const auto& all = run.reconstructions;
  for (const RunPicture& p : spread(all, 2)) {
    text += picture(vfs, p.path,
                    step_caption(p.step == 0 ? "Before training," : "Reconstructions,", p.step));
  }
  return text + "</div>\n" + strip(vfs, all);
}

// --- Curves ---

Series series_of(const RunData& run, const std::string& key, const std::string& name, int color,
                 bool dashed = false) {
  return {name, column(run.stats, "step"), column(run.stats, key), color, dashed};
}

// Whether any line has a number for the key: scores that are switched off have none, or zeros only.
bool has_values(const Series& series) {
  return std::any_of(series.y.begin(), series.y.end(),
                     [](double v) { return std::isfinite(v) && v != 0; });
}

std::string curve(Chart chart) {
  std::erase_if(chart.series, [](const Series& s) { return !has_values(s); });
  chart.x_label = "step";
  return chart.series.empty() ? "" : chart_figure(chart);
}

std::string score_chart(const RunData& run, const std::string& score, const std::string& title,
                        const std::string& note) {
  return curve({.title = title,
                .note = note,
                .series = {series_of(run, "score_" + score + "_real", "encoder pairs (x, E(x))", 1),
                           series_of(run, "score_" + score + "_fake", "generator pairs (G(z), z)",
                                     2, true)}});
}

std::string curves(const RunData& run) {
  if (run.stats.size() < 2) return "";
  std::string text =
      "<h2>Curves</h2>\n<p class=\"lead\">Faint: every logged value; strong: running median. Axes "
      "cover the medians and the middle "
      "98 % of the values.</p>\n<div class=\"grid2\">\n";
  text += curve(
      {.title = "Losses",
       .note = "Hinge loss of D; linear loss of E and G",
       .series = {series_of(run, "loss_d", "D", 1), series_of(run, "loss_eg", "E and G", 2)}});
  text += curve(
      {.title = "Terms of D's loss",
       .note = "2 each where D cannot tell the pairs apart",
       .series = {series_of(run, "loss_d_x", "image", 1), series_of(run, "loss_d_z", "latent", 3),
                  series_of(run, "loss_d_xz", "joint", 4)},
       .from_zero = true});
  text += score_chart(run, "x", "Image score", "D's mean score of images");
  text += score_chart(run, "z", "Latent score", "D's mean score of latents");
  text += score_chart(run, "xz", "Joint score", "D's mean score of pairs");
  text += curve(
      {.title = "Gradient norms",
       .note = "Logarithmic",
       .series = {series_of(run, "grad_norm_d", "D", 1), series_of(run, "grad_norm_g", "G", 2),
                  series_of(run, "grad_norm_e", "E", 3)},
       .log_scale = true});
  text += curve({.title = "Images per second",
                 .series = {series_of(run, "img_per_s", "images per second", 5)},
                 .from_zero = true});
  return text + "</div>\n";
}

std::string configuration(const RunData& run) {
  std::string checkpoints;
  for (const int64_t step : run.checkpoints)
    checkpoints += (checkpoints.empty() ? "" : ", ") + format_count(step);
  return fmt::format(
      "<h2>Configuration</h2>\n<div class=\"card\"><p class=\"note\">Checkpoints at steps: {}</p>"
      "<details><summary>config.toml</summary><pre>{}</pre></details></div>\n",
      checkpoints.empty() ? "none" : checkpoints, html_escape(run.config));
}

}  // namespace

std::string report_html(Vfs& vfs, const RunData& run) {
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
         "<meta name=\"viewport\" content=\"width=device-width, "
         "initial-scale=1\"/>\n<title>BigBiGAN run " +
         html_escape(run.name) + "</title>\n<style>" + kReportStyle +
         "</style>\n</head>\n<body>\n<main>\n" + header(run) + summary(run) + metrics(run) +
         samples(vfs, run) + reconstructions(vfs, run) + curves(run) + configuration(run) +
         "<footer>Written by bigbigan-eval report. Everything shown is in this "
         "file.</footer>\n</main>\n</body>\n</html>\n";
}

}  // namespace bigbigan
