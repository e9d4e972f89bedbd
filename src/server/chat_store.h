// SPDX-License-Identifier: Apache-2.0
// The conversations of /chat in SQLite. Each belongs to the key that began it; nobody else finds it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace qwin::server {

struct ChatMessage {
  std::string role, content;
};

struct ChatSummary {
  std::string id, title;
  int64_t created = 0, updated = 0;  // seconds since 1970
  int64_t num_messages = 0;
};

struct StoredChat {
  ChatSummary summary;
  std::string system;                 // empty: none
  std::vector<ChatMessage> messages;  // user and assistant in turn
};

// One turn to be kept.
struct ChatTurn {
  std::string owner, id;
  std::optional<std::string> system = {};    // absent: as it was
  std::optional<int64_t> replace_from = {};  // messages from this one on are forgotten first
  std::string prompt, response = {};
};

// Thread-safe. Methods throw HttpError 500 when the database fails.
class ChatStore {
 public:
  // `path`: a file, made when absent, for the owner's eyes only; empty: memory. Throws Error(io).
  ChatStore(const std::string& path, int64_t max_sessions);
  ~ChatStore();

  std::optional<StoredChat> load(const std::string& owner, const std::string& id);
  // The newest first.
  std::vector<ChatSummary> list(const std::string& owner, int64_t max_count);
  bool remove(const std::string& owner, const std::string& id);
  // Makes the conversation when it is new; its title comes from the first prompt. Beyond max_sessions of an owner the
  // one that rested longest goes.
  void add_turn(const ChatTurn& turn);

 private:
  struct Database;
  std::unique_ptr<Database> database_;
  int64_t max_sessions_;
};

// The first line of a prompt, at most 60 characters.
std::string chat_title(std::string_view prompt);

}  // namespace qwin::server
