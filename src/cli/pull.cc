// SPDX-License-Identifier: Apache-2.0
#include "hub/pull.h"

#include <cstdio>
#include <memory>

#include "cli/cli.h"
#include "cli/progress_bar.h"
#include "io/json.h"

namespace qwin {
namespace {

struct PullArguments {
  std::string name;
  PullOptions options;
  bool json = false;
};

void pull(PullArguments& arguments) {
  ProgressBar bar(arguments.name);
  arguments.options.progress = [&](uint64_t done, uint64_t total) { bar.update(done, total); };
  arguments.options.notice = [&](const std::string& line) {
    bar.clear();
    std::fprintf(stderr, "%s\n", line.c_str());
  };
  const PullResult result = pull_model(arguments.name, arguments.options);
  bar.clear();
  if (arguments.json) {
    const Json json = {
        {"name", result.name}, {"path", result.path}, {"bytes", result.bytes}, {"sha256", result.sha256}};
    std::printf("%s\n", json.dump().c_str());
  } else {
    std::printf("%s\n", result.path.c_str());
  }
}

}  // namespace

void register_pull(CLI::App& app) {
  CLI::App* command = app.add_subcommand("pull", "Fetch a model into $QWIN_HOME (default ~/.cache/qwin)");
  const auto arguments = std::make_shared<PullArguments>();
  command
      ->add_option("NAME", arguments->name,
                   "qwen2.5-coder-0.5b, qwen2.5-coder-1.5b, or [hf:]owner/name[@revision][:file] on the hub")
      ->required();
  add_switch(*command, "--verify", arguments->options.verify, "Check the SHA-256 of what is already there");
  FetchOptions& fetch = arguments->options.fetch;
  add_option(*command, "--connections", fetch.connections, "Parallel connections")->check(CLI::Range(1, 16));
  add_option(*command, "--connect-timeout", fetch.connect_timeout, "Seconds to wait for a host")
      ->check(CLI::Range(1, 600));
  add_option(*command, "--stall-timeout", fetch.stall_timeout, "Seconds of silence before a connection is given up")
      ->check(CLI::Range(1, 600));
  add_option(*command, "--retries", fetch.retries, "Attempts in a row without progress before a source is given up")
      ->check(CLI::Range(0, 100));
  add_switch(*command, "--json", arguments->json, "Print an object instead of the path");
  command->callback([arguments] { pull(*arguments); });
}

}  // namespace qwin
