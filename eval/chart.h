// Line charts as SVG, drawn with the style sheet of the report.
#pragma once

#include <string>
#include <vector>

namespace bigbigan {

struct Series {
  std::string name;
  std::vector<double> x, y;  // y may hold NaN: a gap
  int color = 1;             // 1 to 5
  bool dashed = false;
};

struct Chart {
  std::string title, note;
  std::string x_label;
  std::vector<Series> series;
  bool log_scale = false;  // of y; values <= 0 are gaps
  bool from_zero = false;  // the y axis includes 0
  bool markers = false;    // a dot for each value instead of a running median over faint values
};

// <figure> with title, legend and drawing. A faint line shows all values, a strong one their
// running median; the y axis spans the running medians and the middle 98 % of all values.
std::string chart_figure(const Chart& chart);

// Round values that divide [low, high] into about `count` steps of 1, 2 or 5 times a power of ten.
std::vector<double> round_ticks(double low, double high, int count);
// "12k", "0.05", "1.5M"
std::string tick_text(double value);

}  // namespace bigbigan
