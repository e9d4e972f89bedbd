// SPDX-License-Identifier: Apache-2.0
#include "qwin/hub.h"

#include "hub/model_store.h"
#include "hub/pull.h"

namespace qwin {

std::string find_model(const std::string& model) { return resolve_model(model); }

std::string pull(const std::string& name, const std::function<void(uint64_t done, uint64_t total)>& progress) {
  PullOptions options;
  options.progress = progress;
  return pull_model(name, options).path;
}

}  // namespace qwin
