// bigbigan-eval report.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "engine/io/flat_json.h"
#include "eval/commands.h"
#include "eval/report.h"

namespace bigbigan {
namespace {

struct ReportArguments {
  std::string run, out;
  bool json = false;
};

int write_report(Vfs& vfs, const ReportArguments& args) {
  const Vfs::Path out =
      args.out.empty() ? Vfs::Path(args.run) / "report.html" : Vfs::Path(args.out);
  const std::string html = report_html(vfs, read_run(vfs, args.run));
  make_directories(vfs, out.parent_path());
  write_file_atomic(vfs, out, html);
  if (args.json) {
    fmt::print("{}\n",
               to_json({{"report", out.string()}, {"bytes", static_cast<int64_t>(html.size())}}));
  } else {
    fmt::print("report: {} ({} KiB)\n", out.string(), html.size() / 1024);
  }
  return 0;
}

}  // namespace

void add_report_command(CLI::App& app, Command& chosen) {
  const auto args = std::make_shared<ReportArguments>();
  CLI::App* sub =
      app.add_subcommand("report",
                         "One HTML file about a run: metrics, pictures, curves.\n\nExamples:\n"
                         "  bigbigan-eval report runs/first\n"
                         "  bigbigan-eval report runs/first --out first.html");
  sub->add_option("run", args->run, "run directory")->required()->type_name("RUN");
  sub->add_option("-o,--out", args->out, "file to write [RUN/report.html]")->type_name("FILE.html");
  sub->add_flag("--json", args->json, "print what was written as JSON");
  sub->callback(
      [args, &chosen] { chosen = [args](Vfs& vfs) { return write_report(vfs, *args); }; });
}

}  // namespace bigbigan
