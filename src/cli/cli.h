// SPDX-License-Identifier: Apache-2.0
// The `qwin` command: one file a subcommand, each registered here. Results go to stdout, all else to stderr.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace qwin {

// Parses the command line, runs the subcommand, and turns every Error into `error: CLASS: detail` and an exit code:
// 0 done, 1 failed at run time, 2 bad input or usage.
int run_cli(int argc, char** argv);

// Adds an option or flag with its environment twin: "--max-tokens" reads QWIN_MAX_TOKENS.
template <typename T>
CLI::Option* add_option(CLI::App& command, const std::string& name, T& value, const std::string& help);
CLI::Option* add_switch(CLI::App& command, const std::string& name, bool& value, const std::string& help);
// "--max-tokens" -> "QWIN_MAX_TOKENS"
std::string environment_twin(const std::string& option_name);

// One a subcommand, in the order `qwin help` lists them.
void register_pull(CLI::App& app);
void register_list(CLI::App& app);
void register_show(CLI::App& app);
void register_rm(CLI::App& app);
void register_run(CLI::App& app);
void register_summarize(CLI::App& app);
void register_serve(CLI::App& app);
void register_tokenize(CLI::App& app);
void register_detokenize(CLI::App& app);
void register_logits(CLI::App& app);
void register_eval(CLI::App& app);
void register_bench(CLI::App& app);
void register_quantize(CLI::App& app);
void register_calibrate_heads(CLI::App& app);
void register_check(CLI::App& app);
void register_doctor(CLI::App& app);

template <typename T>
CLI::Option* add_option(CLI::App& command, const std::string& name, T& value, const std::string& help) {
  return command.add_option(name, value, help)->envname(environment_twin(name))->capture_default_str();
}

}  // namespace qwin
