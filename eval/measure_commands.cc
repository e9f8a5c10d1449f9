// bigbigan-eval probe, knn and features: how good are the features?
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>

#include "engine/util/cli.h"
#include "engine/util/text.h"
#include "eval/commands.h"
#include "eval/compare.h"
#include "eval/knn.h"
#include "eval/metric_log.h"
#include "eval/probe.h"

namespace bigbigan {
namespace {

struct MeasureArguments {
  ModelOptions model;
  CompareOptions compare;
  std::string features = std::string(kAvePool) + "," + kBnCRelu;
  std::string train_features, test_features;
  std::string metrics;  // of knn
  bool json = false;
};

void add_measure_options(CLI::App& app, MeasureArguments& args) {
  add_model_options(app, args.model);
  app.get_option("model")->required(false);
  app.add_option("--data", args.compare.data, "labelled images [the run's]")->type_name("PATH");
  add_choice(
      app, "--split", args.compare.split,
      "test; or val: score the training images that the run holds out, and train on the others",
      {"test", "val"});
  app.add_option("--feature", args.features, "features to measure")->capture_default_str();
  app.add_flag("--baselines", args.compare.baselines, "also the untrained encoder, and raw pixels");
  app.add_option("--train-features", args.train_features,
                 "instead of MODEL: folder of bigbigan-extract")
      ->type_name("DIR");
  app.add_option("--test-features", args.test_features, "and its counterpart for the test images")
      ->type_name("DIR");
  app.add_flag("--json", args.json, "print results as JSON");
}

MetricRow row_start(const FeatureSet& set, const MeasureArguments& args) {
  const bool from_files = set.encoder == "files";
  return {{"encoder", set.encoder},
          {"feature", set.feature},
          {"split", from_files ? "files" : args.compare.split},
          {"train_images", set.train.x.rows},
          {"test_images", set.test.x.rows},
          {"dims", set.train.x.columns}};
}

std::string sizes_text(const FeatureSet& set) {
  return fmt::format("{} {} {}-d: {} test images, {} training images, {}", set.encoder, set.feature,
                     set.train.x.columns, format_count(set.test.x.rows),
                     format_count(set.train.x.rows), set.protocol);
}

// Where a measurement runs: what stays on the host, and what a device takes over.
struct Places {
  CpuExec host;
  Context device;
};

MetricRow probe_row(const Places& at, FeatureSet set, int64_t classes,
                    const MeasureArguments& args) {
  MetricRow row = row_start(set, args);
  const std::string sizes = sizes_text(set);
  const ProbeResult result =
      probe(at.host, at.device, std::move(set.train), std::move(set.test), classes);
  row.emplace_back("top1", 100 * result.accuracy.top1);
  row.emplace_back("top5", 100 * result.accuracy.top5);
  row.emplace_back("l2", result.l2);
  row.emplace_back("iterations", int64_t{result.iterations});
  row.emplace_back(
      "protocol",
      fmt::format(
          "{}; multinomial logistic regression on standardised features, L-BFGS {} iterations, "
          "l2 {:g} chosen on {} held-out training images",
          sizes, result.iterations, result.l2, format_count(result.selection_rows)));
  return row;
}

constexpr int64_t kNeighbours[] = {1, 5, 25, 50};

Metric metric_of(const std::string& name) {
  return name == "l1" ? Metric::kL1 : name == "l2" ? Metric::kL2 : Metric::kCosine;
}

std::vector<MetricRow> knn_rows(const Places& at, const FeatureSet& set, int64_t classes,
                                const std::vector<std::string>& metrics,
                                const MeasureArguments& args) {
  std::vector<MetricRow> rows;
  std::map<Metric, std::vector<double>> measured;
  const bool cosine_is_l2 = l2_ranks_as_cosine(set.train.x);
  for (const std::string& name : metrics) {
    MetricRow row = row_start(set, args);
    row.emplace_back("distance", name);
    Metric metric = metric_of(name);
    if (metric == Metric::kCosine && cosine_is_l2) metric = Metric::kL2;
    std::vector<double>& accuracy = measured[metric];
    if (accuracy.empty()) {
      accuracy =
          knn_accuracy(at.host, at.device, set.train, set.test, classes, metric, kNeighbours);
    }
    for (size_t i = 0; i < accuracy.size(); ++i) {
      row.emplace_back(fmt::format("top1_k{}", kNeighbours[i]), 100 * accuracy[i]);
    }
    row.emplace_back(
        "protocol",
        fmt::format(
            "{}; exact k-NN, {} on features of unit {} norm, equal votes, ties to the nearer class",
            sizes_text(set), name, name == "l1" ? "l1" : "l2"));
    rows.push_back(row);
  }
  return rows;
}

std::vector<std::string> metrics_of(const MeasureArguments& args) {
  return split_choices(args.metrics, "--metric", {"l1", "l2", "cosine"});
}

template <class T>
std::vector<T> joined(std::vector<T> first, const std::vector<T>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

// What a command measures of every feature set: rows of metric-probe.jsonl and metric-knn.jsonl.
struct Measured {
  std::vector<MetricRow> probe, knn;
};
using MeasureSet = std::function<void(const Places&, FeatureSet, int64_t classes, Measured&)>;

// Of MODEL, or of two folders of features; results of a run are logged to it.
Measured measure(Vfs& vfs, MeasureArguments& args, const std::string& command,
                 const MeasureSet& body) {
  const bool from_files = !args.train_features.empty() || !args.test_features.empty();
  if (from_files
          ? args.train_features.empty() || args.test_features.empty() || !args.model.model.empty()
          : args.model.model.empty()) {
    fail(ExitCode::kUsage, "{}: give either MODEL, or both --train-features and --test-features",
         command);
  }
  args.compare.features = split_choices(args.features, "--feature", {kAvePool, kBnCRelu});
  Measured measured;
  const auto collect = [&](const Places& at) {
    return
        [&, at](FeatureSet set, int64_t classes) { body(at, std::move(set), classes, measured); };
  };
  if (from_files) {
    Device device(args.model.device, thread_count(args.model.threads));
    const Context ctx{.exec = device.exec(), .allocator = &device.allocator()};
    compare_files(vfs, args.train_features, args.test_features, collect({device.cpu(), ctx}));
  } else {
    const Session session(vfs, args.model);
    compare_features(session, args.compare, collect({session.exec(), session.context()}));
    if (!measured.probe.empty()) log_metric(session, "probe", measured.probe);
    if (!measured.knn.empty()) log_metric(session, "knn", measured.knn);
  }
  return measured;
}

// A table and the protocol of each row, or JSON.
int print_rows(const MeasureArguments& args, const std::string& metric,
               const std::vector<MetricRow>& rows, const std::vector<TableColumn>& columns) {
  if (args.json) {
    fmt::print("{}", json_text(metric, rows));
    return 0;
  }
  fmt::print("{}\n", table_text(rows, columns));
  for (const MetricRow& row : rows) {
    fmt::print("{}\n", json_get<std::string>(row, "protocol", metric));
  }
  return 0;
}

std::vector<TableColumn> columns_after_set(std::initializer_list<TableColumn> more) {
  std::vector<TableColumn> columns = {
      {"encoder", "encoder"}, {"feature", "feature"}, {"dims", "dims"}};
  columns.insert(columns.end(), more);
  return columns;
}

std::vector<TableColumn> neighbour_columns(const std::string& key, const std::string& title) {
  std::vector<TableColumn> columns;
  for (const int64_t k : kNeighbours) {
    columns.push_back({fmt::format("{}_k{}", key, k), fmt::format("{}k={} %", title, k), "{:.2f}"});
  }
  return columns;
}

int run_probe(Vfs& vfs, MeasureArguments& args) {
  const Measured measured = measure(
      vfs, args, "probe", [&](const Places& at, FeatureSet set, int64_t classes, Measured& out) {
        out.probe.push_back(probe_row(at, std::move(set), classes, args));
      });
  return print_rows(args, "probe", measured.probe,
                    columns_after_set({{"top1", "top-1 %", "{:.2f}"},
                                       {"top5", "top-5 %", "{:.2f}"},
                                       {"l2", "l2", "{:g}"},
                                       {"iterations", "iterations"}}));
}

int run_knn(Vfs& vfs, MeasureArguments& args) {
  const std::vector<std::string> metrics = metrics_of(args);
  const Measured measured =
      measure(vfs, args, "knn",
              [&](const Places& at, const FeatureSet& set, int64_t classes, Measured& out) {
                out.knn = joined(out.knn, knn_rows(at, set, classes, metrics, args));
              });
  std::vector<TableColumn> columns = columns_after_set({{"distance", "distance"}});
  return print_rows(args, "knn", measured.knn, joined(columns, neighbour_columns("top1", "")));
}

// One row per feature set, with the accuracies of both.
int run_features(Vfs& vfs, MeasureArguments& args) {
  const std::vector<std::string> metrics = metrics_of(args);
  std::vector<MetricRow> both;
  measure(vfs, args, "features",
          [&](const Places& at, FeatureSet set, int64_t classes, Measured& out) {
            const std::vector<MetricRow> knn = knn_rows(at, set, classes, metrics, args);
            out.knn = joined(out.knn, knn);
            out.probe.push_back(probe_row(at, std::move(set), classes, args));
            MetricRow row = out.probe.back();
            for (size_t i = 0; i < metrics.size(); ++i) {
              for (const int64_t k : kNeighbours) {
                row.emplace_back(fmt::format("knn_{}_k{}", metrics[i], k),
                                 json_get<double>(knn[i], fmt::format("top1_k{}", k), "knn"));
              }
            }
            both.push_back(row);
          });
  std::vector<TableColumn> columns = columns_after_set({{"top1", "probe %", "{:.2f}"}});
  for (const std::string& metric : metrics) {
    columns = joined(columns, neighbour_columns("knn_" + metric, "kNN " + metric + " "));
  }
  return print_rows(args, "features", both, columns);
}

using RunMeasure = int (*)(Vfs&, MeasureArguments&);

// Declares a subcommand; `metrics`: the default distances of k-NN, where it searches neighbours.
void add_measure_command(CLI::App& app, Command& chosen, const std::string& name,
                         const std::string& help, const char* metrics, RunMeasure run) {
  const auto args = std::make_shared<MeasureArguments>();
  CLI::App* sub = app.add_subcommand(name, help);
  add_measure_options(*sub, *args);
  if (metrics != nullptr) {
    args->metrics = metrics;
    sub->add_option("--metric", args->metrics, "distances of k-NN: l1, l2, cosine")
        ->capture_default_str();
  }
  sub->callback(
      [args, run, &chosen] { chosen = [args, run](Vfs& vfs) { return run(vfs, *args); }; });
}

}  // namespace

void add_probe_command(CLI::App& app, Command& chosen) {
  add_measure_command(
      app, chosen, "probe",
      "Linear probe: multinomial logistic regression on frozen features.\n\nExamples:\n"
      "  bigbigan-eval probe runs/first --baselines\n"
      "  bigbigan-eval probe runs/first --split val --feature bn_crelu_feat --json\n"
      "  bigbigan-eval probe --train-features features/train --test-features features/test\n\n"
      "Appends to RUN/metric-probe.jsonl when MODEL is a run directory.",
      nullptr, run_probe);
}

void add_knn_command(CLI::App& app, Command& chosen) {
  add_measure_command(
      app, chosen, "knn",
      "Exact k-nearest-neighbour classification of features, k = 1, 5, 25, 50.\n\nExamples:\n"
      "  bigbigan-eval knn runs/first\n"
      "  bigbigan-eval knn runs/first --metric cosine --baselines\n"
      "  bigbigan-eval knn --train-features features/train --test-features features/test\n\n"
      "Features are divided by their norm first; l2 then ranks as cosine does.\n"
      "Appends to RUN/metric-knn.jsonl when MODEL is a run directory.",
      "l1,l2,cosine", run_knn);
}

void add_features_command(CLI::App& app, Command& chosen) {
  add_measure_command(
      app, chosen, "features",
      "Linear probe and k-NN of the same features in one table.\n\nExamples:\n"
      "  bigbigan-eval features runs/first --baselines\n"
      "  bigbigan-eval features runs/first --split val --metric l1,l2\n\n"
      "Appends to RUN/metric-probe.jsonl and RUN/metric-knn.jsonl when MODEL is a run directory.",
      "l2", run_features);
}

}  // namespace bigbigan
