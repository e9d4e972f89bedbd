// SPDX-License-Identifier: Apache-2.0
#include "scheduler/client_shares.h"

#include <algorithm>

namespace qwin {

void ClientShares::enter(const std::string& client) {
  const auto known = clients_.find(client);
  if (known != clients_.end()) {
    ++known->second.requests;
    return;
  }
  int64_t least = 0;
  if (!clients_.empty()) {
    least =
        std::ranges::min_element(clients_, {}, [](const auto& entry) { return entry.second.served; })->second.served;
  }
  clients_[client] = {.served = least - 1, .requests = 1};
}

void ClientShares::leave(const std::string& client) {
  const auto known = clients_.find(client);
  if (--known->second.requests == 0) clients_.erase(known);
}

}  // namespace qwin
