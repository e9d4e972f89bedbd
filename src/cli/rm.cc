// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "cli/cli.h"
#include "hub/model_store.h"

namespace qwin {

void register_rm(CLI::App& app) {
  CLI::App* command = app.add_subcommand("rm", "Delete a model from this machine, its partial downloads too");
  const auto name = std::make_shared<std::string>();
  command->add_option("NAME", *name, "A name as `qwin list` prints it")->required();
  command->callback([name] { remove_model(*name); });
}

}  // namespace qwin
