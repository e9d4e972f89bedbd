// SPDX-License-Identifier: Apache-2.0
// Who has had how much: the virtual token counter of Sheng et al. (arXiv 2401.00588). The client served least goes
// first; one that comes new or back starts just below the least served of those who are there: its turn is next.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace qwin {

class ClientShares {
 public:
  void enter(const std::string& client);
  void leave(const std::string& client);
  // Requires: the client has entered.
  void serve(const std::string& client, int64_t tokens) { clients_.at(client).served += tokens; }
  int64_t served(const std::string& client) const { return clients_.at(client).served; }
  size_t num_clients() const { return clients_.size(); }

 private:
  struct Client {
    int64_t served = 0;    // tokens
    int64_t requests = 0;  // waiting or running
  };
  std::map<std::string, Client> clients_;
};

}  // namespace qwin
