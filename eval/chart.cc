#include "eval/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "eval/html.h"

namespace bigbigan {
namespace {

constexpr double kWidth = 560, kHeight = 270;
constexpr double kLeft = 52, kRight = 14, kTop = 10, kBottom = 40;
constexpr size_t kMostPoints = 400;

struct Points {
  std::vector<double> x, y;
};

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// At most kMostPoints points: means of equal runs.
Points thinned(const std::vector<double>& x, const std::vector<double>& y) {
  const size_t run = (x.size() + kMostPoints - 1) / kMostPoints;
  Points out;
  for (size_t begin = 0; run > 0 && begin < x.size(); begin += run) {
    const size_t end = std::min(x.size(), begin + run);
    const auto mean = [&](const std::vector<double>& v) {
      return mean_of({v.begin() + begin, v.begin() + end});
    };
    out.x.push_back(mean(x));
    out.y.push_back(mean(y));
  }
  return out;
}

double quantile(std::vector<double> values, double q) {
  const int64_t at = std::lround(q * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[at];
}

// reduce(values) over a window of a twentieth of the points around each, of those that are finite.
template <class Reduce>
std::vector<double> windowed(const std::vector<double>& y, const Reduce& reduce) {
  const auto n = static_cast<int64_t>(y.size()), reach = std::max<int64_t>(1, n / 40);
  std::vector<double> out;
  for (int64_t i = 0; i < n; ++i) {
    std::vector<double> window;
    for (int64_t j = std::max<int64_t>(0, i - reach); j <= std::min(n - 1, i + reach); ++j) {
      if (std::isfinite(y[j])) window.push_back(y[j]);
    }
    out.push_back(window.empty() ? std::numeric_limits<double>::quiet_NaN() : reduce(window));
  }
  return out;
}

// Running medians, which a spike does not move, and the running mean of those, for a smooth line.
std::vector<double> smoothed(const std::vector<double>& y) {
  const auto median = [](const std::vector<double>& values) { return quantile(values, 0.5); };
  return windowed(windowed(y, median), mean_of);
}

struct Range {
  double low = 0, high = 1;
  [[nodiscard]] double share(double value) const { return (value - low) / (high - low); }
};

// A series as it is drawn: y in axis units (log10 where the scale is logarithmic).
struct Drawn {
  const Series* series = nullptr;
  Points points;
  std::vector<double> smooth;
};

Drawn drawn(const Chart& chart, const Series& series) {
  Drawn d{&series, thinned(series.x, series.y), {}};
  if (chart.log_scale) {
    for (double& y : d.points.y)
      y = y > 0 ? std::log10(y) : std::numeric_limits<double>::quiet_NaN();
  }
  d.smooth = chart.markers ? d.points.y : smoothed(d.points.y);
  return d;
}

Range y_range(const Chart& chart, const std::vector<Drawn>& all) {
  std::vector<double> values;
  Range range{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
  const auto include = [&](double v) {
    range.low = std::min(range.low, v);
    range.high = std::max(range.high, v);
  };
  for (const Drawn& d : all) {
    for (const double v : d.points.y) {
      if (std::isfinite(v)) values.push_back(v);
    }
    for (const double v : d.smooth) {
      if (std::isfinite(v)) include(v);
    }
  }
  if (values.empty()) return {};
  include(quantile(values, 0.01));
  include(quantile(values, 0.99));
  if (chart.from_zero) include(0);
  const double pad = range.high > range.low ? 0.05 * (range.high - range.low)
                                            : std::max(1e-9, std::abs(range.high) * 0.1);
  range.high += pad;
  if (!chart.from_zero || range.low < 0) range.low -= pad;
  return range;
}

Range x_range(const std::vector<Drawn>& all) {
  Range range{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
  for (const Drawn& d : all) {
    for (const double x : d.points.x) {
      range.low = std::min(range.low, x);
      range.high = std::max(range.high, x);
    }
  }
  if (range.low > range.high) return {};
  if (range.low == range.high) return {range.low - 1, range.high + 1};
  return range;
}

struct Frame {
  Range x, y;
  [[nodiscard]] double px(double v) const { return kLeft + x.share(v) * (kWidth - kLeft - kRight); }
  [[nodiscard]] double py(double v) const {
    return kHeight - kBottom - y.share(v) * (kHeight - kTop - kBottom);
  }
};

std::string path(const Frame& frame, const std::vector<double>& x, const std::vector<double>& y,
                 const std::string& classes) {
  std::string d;
  bool pen_down = false;
  for (size_t i = 0; i < x.size(); ++i) {
    if (!std::isfinite(y[i])) {
      pen_down = false;
      continue;
    }
    d += fmt::format("{}{:.1f} {:.1f}", pen_down ? "L" : "M", frame.px(x[i]), frame.py(y[i]));
    pen_down = true;
  }
  return d.empty() ? "" : fmt::format("<path class=\"{}\" d=\"{}\"/>\n", classes, d);
}

std::string dots(const Frame& frame, const Drawn& d) {
  std::string text;
  for (size_t i = 0; i < d.points.x.size(); ++i) {
    if (!std::isfinite(d.points.y[i])) continue;
    text += fmt::format("<circle class=\"f{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\"/>\n",
                        d.series->color, frame.px(d.points.x[i]), frame.py(d.points.y[i]));
  }
  return text;
}

// Exponents of ten: of 1, 2 and 5 in each decade, of 1 alone over many decades.
std::vector<double> log_ticks(const Range& range) {
  constexpr double kManyDecades = 2.5;
  std::vector<double> ticks;
  for (double decade = std::floor(range.low); decade <= range.high; ++decade) {
    for (const double lead : {1.0, 2.0, 5.0}) {
      const double tick = decade + std::log10(lead);
      const bool is_wanted = lead == 1 || range.high - range.low < kManyDecades;
      if (is_wanted && tick >= range.low && tick <= range.high) ticks.push_back(tick);
    }
  }
  return ticks;
}

// Grid lines and numbers.
std::string axes(const Frame& frame, const Chart& chart) {
  std::string text;
  for (const double tick :
       chart.log_scale ? log_ticks(frame.y) : round_ticks(frame.y.low, frame.y.high, 5)) {
    const double y = frame.py(tick);
    text += fmt::format(
        "<line class=\"grid\" x1=\"{:.0f}\" x2=\"{:.0f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>"
        "<text class=\"tick end\" x=\"{:.0f}\" y=\"{:.1f}\">{}</text>\n",
        kLeft, kWidth - kRight, y, y, kLeft - 7, y + 4,
        tick_text(chart.log_scale ? std::pow(10.0, tick) : tick));
  }
  for (const double tick : round_ticks(frame.x.low, frame.x.high, 6)) {
    const double x = frame.px(tick);
    text += fmt::format(
        "<line class=\"axis\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.0f}\" y2=\"{:.0f}\"/>"
        "<text class=\"tick mid\" x=\"{:.1f}\" y=\"{:.0f}\">{}</text>\n",
        x, x, kHeight - kBottom, kHeight - kBottom + 4, x, kHeight - kBottom + 17, tick_text(tick));
  }
  text += fmt::format(
      "<line class=\"axis\" x1=\"{:.0f}\" x2=\"{:.0f}\" y1=\"{:.0f}\" y2=\"{:.0f}\"/>"
      "<text class=\"tick mid\" x=\"{:.0f}\" y=\"{:.0f}\">{}</text>\n",
      kLeft, kWidth - kRight, kHeight - kBottom, kHeight - kBottom, (kLeft + kWidth - kRight) / 2,
      kHeight - 6, html_escape(chart.x_label));
  return text;
}

std::string legend(const Chart& chart) {
  std::string text = "<ul class=\"legend\">";
  for (const Series& s : chart.series) {
    text += fmt::format(
        "<li><svg viewBox=\"0 0 22 8\" width=\"22\" height=\"8\"><path class=\"line s{}{}\" d=\"M1 "
        "4L21 4\"/></svg>{}</li>",
        s.color, s.dashed ? " dash" : "", html_escape(s.name));
  }
  return text + "</ul>\n";
}

}  // namespace

std::vector<double> round_ticks(double low, double high, int count) {
  const double rough = (high - low) / count;
  if (!(rough > 0) || !std::isfinite(rough)) return {low};
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  const double lead = rough / power;
  const double step = power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
  std::vector<double> ticks;
  for (double i = std::ceil(low / step); i * step <= high; ++i) ticks.push_back(i * step);
  return ticks;
}

std::string tick_text(double value) {
  const double size = std::abs(value);
  if (size < 1e-12) return "0";
  if (size >= 1e6) return fmt::format("{:.4g}M", value / 1e6);
  if (size >= 1e3) return fmt::format("{:.4g}k", value / 1e3);
  return fmt::format("{:.3g}", value);
}

std::string chart_figure(const Chart& chart) {
  std::vector<Drawn> all;
  for (const Series& series : chart.series) all.push_back(drawn(chart, series));
  const Frame frame{x_range(all), y_range(chart, all)};
  std::string lines;
  for (const Drawn& d : all) {
    const std::string color =
        fmt::format("s{}{}", d.series->color, d.series->dashed ? " dash" : "");
    if (!chart.markers)
      lines += path(frame, d.points.x, d.points.y, fmt::format("faint s{}", d.series->color));
    lines += path(frame, d.points.x, d.smooth, "line " + color);
    if (chart.markers) lines += dots(frame, d);
  }
  const std::string note =
      chart.note.empty() ? "" : fmt::format("<p class=\"note\">{}</p>\n", html_escape(chart.note));
  // A nested <svg> clips what lies outside the axes.
  return fmt::format(
      "<figure class=\"chart\"><figcaption>{}</figcaption>\n{}{}"
      "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n{}"
      "<svg x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" viewBox=\"{} {} {} "
      "{}\">\n{}</svg>\n</svg></figure>\n",
      html_escape(chart.title), note, legend(chart), kWidth, kHeight, html_escape(chart.title),
      axes(frame, chart), kLeft, kTop, kWidth - kLeft - kRight, kHeight - kTop - kBottom, kLeft,
      kTop, kWidth - kLeft - kRight, kHeight - kTop - kBottom, lines);
}

}  // namespace bigbigan
