// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <memory>

#include "cli/cli.h"
#include "hub/model_store.h"
#include "io/json.h"

namespace qwin {

void register_rm(CLI::App& app) {
  CLI::App* command = app.add_subcommand("rm", "Delete a model from this machine, its partial downloads too");
  const auto name = std::make_shared<std::string>();
  command->add_option("NAME", *name, "A name as `qwin list` prints it")->required();
  const auto json = std::make_shared<bool>(false);
  add_switch(*command, "--json", *json, "Print an object");
  command->callback([name, json] {
    remove_model(*name);
    if (*json) std::printf("%s\n", Json{{"name", *name}, {"removed", true}}.dump().c_str());
  });
}

}  // namespace qwin
