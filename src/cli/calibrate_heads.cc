// SPDX-License-Identifier: Apache-2.0
// `qwin calibrate-heads`: which KV heads need most of a long text, kept beside the model for --global-heads.
#include "compress/calibrate_heads.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <numeric>

#include "cli/cli.h"
#include "cli/progress_bar.h"
#include "cli/text_file.h"
#include "core/cpu_info.h"
#include "hub/interrupt.h"
#include "hub/model_store.h"
#include "io/json.h"

namespace qwin {
namespace {

struct Arguments {
  std::string model, text_file, output;
  HeadCalibrationOptions options;
  bool json = false;
};

void print_table(const HeadMeasurement& heads, size_t num_kv_heads, const std::string& file) {
  constexpr size_t kShown = 16;
  std::vector<size_t> order(heads.lost.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::greater<>(), [&](size_t head) { return heads.lost[head]; });
  std::printf("layer  KV head  attention lost\n");
  for (size_t i = 0; i < std::min(kShown, order.size()); ++i) {
    std::printf("%5zu  %7zu  %12.2f %%\n", order[i] / num_kv_heads, order[i] % num_kv_heads,
                100 * heads.lost[order[i]]);
  }
  const double mean = std::accumulate(heads.lost.begin(), heads.lost.end(), 0.0) / static_cast<double>(order.size());
  std::printf("%zu heads, mean %.2f %%; written to %s\n", order.size(), 100 * mean, file.c_str());
}

void calibrate(Arguments& arguments) {
  const std::string path = resolve_model(arguments.model), text = read_text(arguments.text_file);
  const ModelFiles files = open_model_files(path);
  const ModelConfig config = read_model_config(files);
  if (arguments.options.num_threads == 0) arguments.options.num_threads = default_num_threads();
  const std::string file = arguments.output.empty() ? heads_file(path) : arguments.output;
  const InterruptGuard guard;
  ProgressBar bar("reading", "tokens");
  const HeadMeasurement heads =
      calibrate_heads(files, config, text, arguments.options, [&](int64_t done, int64_t total) {
        throw_if_interrupted();
        bar.update(static_cast<uint64_t>(done), static_cast<uint64_t>(total));
      });
  bar.clear();
  write_heads(file, config, heads);
  if (!arguments.json) return print_table(heads, config.num_kv_heads, file);
  std::printf("%s\n", Json{{"path", file},
                           {"num_tokens", heads.num_tokens},
                           {"num_layers", config.num_layers},
                           {"num_kv_heads", config.num_kv_heads},
                           {"lost", heads.lost}}
                          .dump()
                          .c_str());
}

}  // namespace

void register_calibrate_heads(CLI::App& app) {
  const auto arguments = std::make_shared<Arguments>();
  HeadCalibrationOptions& options = arguments->options;
  options.num_threads = 0;
  CLI::App* command = app.add_subcommand("calibrate-heads", "Find out which heads need most of a long text");
  command->add_option("MODEL", arguments->model, "a model file, folder or name")->required();
  command->add_option("TEXT", arguments->text_file, "a long text of the kind that will be read")->required();
  add_option(*command, "--tokens", options.num_tokens, "of the text that are read")->check(CLI::Range(1024, 1 << 20));
  add_option(*command, "--window", options.window, "last tokens that are always seen");
  add_option(*command, "--sinks", options.num_sink_tokens, "first tokens that are always seen");
  add_option(*command, "--memory-top-k", options.memory_top_k, "pieces of 16 tokens that a token finds again");
  add_option(*command, "--output", arguments->output, "the file to write; empty: beside the model, where it is found");
  add_option(*command, "--threads", options.num_threads, "threads to compute with; 0: every physical core allowed");
  add_switch(*command, "--json", arguments->json, "print the result as JSON");
  command->callback([arguments] { calibrate(*arguments); });
}

}  // namespace qwin
