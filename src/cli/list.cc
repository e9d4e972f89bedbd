// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <memory>

#include "cli/cli.h"
#include "cli/progress_bar.h"
#include "hub/model_store.h"
#include "io/json.h"

namespace qwin {
namespace {

void print_json(const std::vector<LocalModel>& models) {
  Json json = Json::array();
  for (const LocalModel& model : models) {
    json.push_back({{"name", model.name}, {"path", model.path}, {"bytes", model.bytes}, {"format", model.format}});
  }
  std::printf("%s\n", json.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
}

void print_table(const std::vector<LocalModel>& models) {
  if (models.empty()) {
    std::fputs("no local models; get one with: qwin pull qwen2.5-coder-0.5b\n", stderr);
    return;
  }
  size_t width = 4;
  for (const LocalModel& model : models) width = std::max(width, model.name.size());
  const int column = static_cast<int>(width);
  std::printf("%-*s  %10s  %-11s  %s\n", column, "NAME", "SIZE", "FORMAT", "PATH");
  for (const LocalModel& model : models) {
    std::printf("%-*s  %10s  %-11s  %s\n", column, model.name.c_str(), bytes_text(model.bytes).c_str(),
                model.format.c_str(), model.path.c_str());
  }
}

}  // namespace

void register_list(CLI::App& app) {
  CLI::App* command = app.add_subcommand("list", "List the models on this machine");
  const auto json = std::make_shared<bool>(false);
  add_switch(*command, "--json", *json, "Print an array of objects");
  command->callback([json] { *json ? print_json(list_models()) : print_table(list_models()); });
}

}  // namespace qwin
