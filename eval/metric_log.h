// Results of probe, knn and features: as a table, as JSON, and appended to the run's
// metric-<name>.jsonl.
#pragma once

#include <string>
#include <vector>

#include "engine/io/flat_json.h"
#include "eval/session.h"

namespace bigbigan {

// One measured row; keys are those of metric-<name>.jsonl.
using MetricRow = FlatJson;

// Appends the rows to RUN/metric-<metric>.jsonl, each with metric, its own keys, checkpoint, step
// and timestamp. Does nothing where MODEL is not a run directory.
void log_metric(const Session& session, const std::string& metric,
                const std::vector<MetricRow>& rows);

struct TableColumn {
  std::string key, title;
  std::string format = "{}";  // of numbers
};
// Aligned columns, a title line first; texts to the left, numbers to the right.
std::string table_text(const std::vector<MetricRow>& rows, const std::vector<TableColumn>& columns);

// {"metric": ..., "rows": [...]}
std::string json_text(const std::string& metric, const std::vector<MetricRow>& rows);

}  // namespace bigbigan
