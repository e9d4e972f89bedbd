// SPDX-License-Identifier: Apache-2.0
#include "cli/cli.h"

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <new>

#include "core/printable.h"
#include "qwin/error.h"
#include "qwin/version.h"

namespace qwin {

std::string environment_twin(const std::string& option_name) {
  std::string name = "QWIN_";
  for (char c : option_name.substr(option_name.rfind("--") + 2))
    name += c == '-' ? '_' : static_cast<char>(std::toupper(c));
  return name;
}

CLI::Option* add_switch(CLI::App& command, const std::string& name, bool& value, const std::string& help) {
  return command.add_flag(name, value, help)->envname(environment_twin(name));
}

namespace {

// The message of a faulty command line. The parser lists what is left over backwards, and an unknown command with it.
std::string usage_text(const CLI::App& app, const CLI::ParseError& usage) {
  std::string help = "`qwin help`", what = usage.what();
  if (!app.get_subcommands().empty()) help = "`qwin " + app.get_subcommands().front()->get_name() + " --help`";
  if (dynamic_cast<const CLI::ExtrasError*>(&usage) != nullptr) {
    const std::vector<std::string> extras = app.remaining(true);
    const bool no_command = app.get_subcommands().empty() && !extras.empty() && !extras.front().starts_with('-');
    what = no_command ? "there is no command " : "not expected:";
    if (no_command) return what + printable(extras.front()) + "; see " + help;
    for (const std::string& extra : extras) what += " " + printable(extra);
  }
  return what + "; see " + help;
}

// `qwin help` and `qwin help SUB`.
void print_help(const CLI::App& app, const std::string& command) {
  const CLI::App* shown = &app;
  if (!command.empty()) {
    const auto found = app.get_subcommands([&](const CLI::App* sub) { return sub->get_name() == command; });
    if (found.empty()) throw Error(ErrorCode::invalid_argument, "there is no command " + printable(command));
    shown = found.front();
  }
  const std::string name = command.empty() ? "qwin" : "qwin " + command;
  std::fputs(app.get_formatter()->make_help(shown, name, CLI::AppFormatMode::Normal).c_str(), stdout);
}

// A result that could not be written, to a full disk perhaps, is no success.
int flush_results() {
  const bool failed_before = std::ferror(stdout) != 0;
  if (std::fflush(stdout) == 0 && !failed_before && std::cout.flush()) return 0;
  std::fputs("error: io: the result cannot be written to stdout\n", stderr);
  return 1;
}

}  // namespace

int run_cli(int argc, char** argv) {
  CLI::App app{"qwin: Qwen language models, fast on the machine you have", "qwin"};
  app.set_version_flag("--version", std::string("qwin ") + kVersion);
  app.require_subcommand(0, 1);
  std::string help_command;
  CLI::App* help = app.add_subcommand("help", "Print this help, or that of one command");
  help->add_option("COMMAND", help_command, "a command of qwin");
  register_pull(app);
  register_list(app);
  register_show(app);
  register_rm(app);
  register_run(app);
  register_summarize(app);
  register_serve(app);
  register_tokenize(app);
  register_detokenize(app);
  register_logits(app);
  register_eval(app);
  register_bench(app);
  register_quantize(app);
  register_calibrate_heads(app);
  register_check(app);
  register_doctor(app);
  try {
    app.parse(argc, argv);
    if (app.get_subcommands().empty() || help->parsed()) print_help(app, help_command);
    return flush_results();
  } catch (const CLI::Success& success) {  // --help and --version
    app.exit(success);
    return flush_results();
  } catch (const CLI::RuntimeError& reported) {  // a command that has printed its own error
    return reported.get_exit_code();
  } catch (const CLI::ParseError& usage) {
    std::fprintf(stderr, "error: invalid_argument: %s\n", one_line(usage_text(app, usage)).c_str());
    return 2;
  } catch (const Error& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "error: %s: %s\n", error_code_name(error.code()), one_line(error.what()).c_str());
    return is_input_error(error.code()) ? 2 : 1;
  } catch (const std::bad_alloc&) {
    std::fputs("error: out_of_memory: the system refused an allocation\n", stderr);
    return 1;
  } catch (const std::exception& bug) {
    std::fprintf(stderr, "error: internal: %s\n", one_line(bug.what()).c_str());
    return 1;
  }
}

}  // namespace qwin
