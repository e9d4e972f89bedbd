// SPDX-License-Identifier: Apache-2.0
#include "cli/cli.h"

#include <cstdio>
#include <cstdlib>
#include <new>

#include "core/printable.h"
#include "qwin/error.h"
#include "qwin/version.h"

namespace qwin {

std::string environment_twin(const std::string& option_name) {
  std::string name = "QWIN_";
  for (char c : option_name.substr(option_name.rfind("--") + 2)) name += c == '-' ? '_' : static_cast<char>(std::toupper(c));
  return name;
}

CLI::Option* add_switch(CLI::App& command, const std::string& name, bool& value, const std::string& help) {
  return command.add_flag(name, value, help)->envname(environment_twin(name));
}

int run_cli(int argc, char** argv) {
  CLI::App app{"qwin: Qwen language models, fast on the machine you have", "qwin"};
  app.set_version_flag("--version", std::string("qwin ") + kVersion);
  app.require_subcommand(0, 1);
  app.add_subcommand("help", "Print this help")->silent();
  register_pull(app);
  register_list(app);
  register_show(app);
  register_rm(app);
  register_run(app);
  register_tokenize(app);
  register_detokenize(app);
  register_logits(app);
  register_eval(app);
  register_check(app);
  register_doctor(app);
  try {
    app.parse(argc, argv);
    if (app.get_subcommands().empty() || app.got_subcommand("help")) std::fputs(app.help().c_str(), stdout);
    return 0;
  } catch (const CLI::Success& success) {  // --help and --version
    return app.exit(success);
  } catch (const CLI::ParseError& usage) {
    app.exit(usage);
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
