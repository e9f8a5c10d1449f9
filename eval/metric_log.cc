#include "eval/metric_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "engine/io/jsonl.h"
#include "engine/util/clock.h"

namespace bigbigan {
namespace {

std::string cell_text(const JsonValue* value, const std::string& format) {
  if (value == nullptr) return "-";
  if (const auto* text = std::get_if<std::string>(value)) return *text;
  if (const auto* integer = std::get_if<int64_t>(value)) return fmt::format("{}", *integer);
  if (const auto* number = std::get_if<double>(value))
    return fmt::format(fmt::runtime(format), *number);
  return "-";
}

}  // namespace

void log_metric(const Session& session, const std::string& metric,
                const std::vector<MetricRow>& rows) {
  const Vfs::Path run = session.run_directory();
  if (run.empty()) return;
  JsonlWriter log(session.vfs(), run / ("metric-" + metric + ".jsonl"),
                  std::numeric_limits<int64_t>::max());
  for (const MetricRow& row : rows) {
    MetricRow line = {{"metric", metric}};
    line.insert(line.end(), row.begin(), row.end());
    line.emplace_back("checkpoint", session.loaded().source.filename().string());
    line.emplace_back("step", session.loaded().step);
    line.emplace_back("timestamp", unix_seconds());
    log.write(line);
  }
}

std::string table_text(const std::vector<MetricRow>& rows,
                       const std::vector<TableColumn>& columns) {
  std::vector<std::string> lines(rows.size() + 1);
  for (const TableColumn& column : columns) {
    std::vector<std::string> cells = {column.title};
    for (const MetricRow& row : rows)
      cells.push_back(cell_text(json_find(row, column.key), column.format));
    size_t width = 0;
    for (const std::string& cell : cells) width = std::max(width, cell.size());
    const JsonValue* first = rows.empty() ? nullptr : json_find(rows[0], column.key);
    const bool is_text = first != nullptr && std::holds_alternative<std::string>(*first);
    for (size_t i = 0; i < lines.size(); ++i) {
      lines[i] += is_text ? fmt::format("{:<{}}  ", cells[i], width)
                          : fmt::format("{:>{}}  ", cells[i], width);
    }
  }
  std::string text;
  for (const std::string& line : lines)
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  return text;
}

std::string json_text(const std::string& metric, const std::vector<MetricRow>& rows) {
  std::string text = "{\"metric\": \"" + metric + "\", \"rows\": [";
  const char* separator = "";
  for (const MetricRow& row : rows) {
    text += separator + to_json(row);
    separator = ",\n  ";
  }
  return text + "]}\n";
}

}  // namespace bigbigan
