// SPDX-License-Identifier: Apache-2.0
#include "server/chat_store.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include <ctime>
#include <mutex>

#include "qwin/error.h"
#include "server/http_error.h"
#include "server/json.h"

namespace qwin::server {
namespace {

constexpr size_t kTitleBytes = 60;

constexpr const char* kSchema = R"(
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA foreign_keys = ON;
CREATE TABLE IF NOT EXISTS chats (
  id TEXT PRIMARY KEY, owner TEXT NOT NULL, title TEXT NOT NULL, system TEXT NOT NULL DEFAULT '',
  created INTEGER NOT NULL, updated INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS chats_by_owner ON chats (owner, updated);
CREATE TABLE IF NOT EXISTS messages (
  chat TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE, position INTEGER NOT NULL,
  role TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY (chat, position)) WITHOUT ROWID;
PRAGMA user_version = 1;
)";

[[noreturn]] void fail() { throw HttpError(500, "internal_error", "the conversations cannot be read or written"); }

// One statement, finalized when it goes.
class Statement {
 public:
  Statement(sqlite3* database, const char* sql) {
    if (sqlite3_prepare_v2(database, sql, -1, &statement_, nullptr) != SQLITE_OK) fail();
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(const std::string& text) {
    sqlite3_bind_text64(statement_, ++bound_, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
    return *this;
  }
  Statement& bind(int64_t number) {
    sqlite3_bind_int64(statement_, ++bound_, number);
    return *this;
  }
  // True with a row, false at the end.
  bool step() {
    const int result = sqlite3_step(statement_);
    if (result != SQLITE_ROW && result != SQLITE_DONE) fail();
    return result == SQLITE_ROW;
  }
  std::string text(int column) const {
    const unsigned char* bytes = sqlite3_column_text(statement_, column);
    const int size = sqlite3_column_bytes(statement_, column);
    return bytes ? std::string(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size)) : std::string();
  }
  int64_t number(int column) const { return sqlite3_column_int64(statement_, column); }

 private:
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0;
};

ChatSummary summary_of(const Statement& row) {
  return {row.text(0), row.text(1), row.number(2), row.number(3), row.number(4)};
}

// Columns of summary_of().
constexpr const char* kSummaries =
    "SELECT id, title, created, updated, (SELECT count(*) FROM messages WHERE chat = id) FROM chats ";

}  // namespace

struct ChatStore::Database {
  std::mutex mutex;
  sqlite3* handle = nullptr;

  ~Database() { sqlite3_close(handle); }
  void run(const char* sql) {
    if (sqlite3_exec(handle, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail();
  }
};

namespace {

// Rolled back unless committed.
class Transaction {
 public:
  explicit Transaction(sqlite3* handle) : handle_(handle) { run("BEGIN IMMEDIATE"); }
  ~Transaction() {
    if (handle_) sqlite3_exec(handle_, "ROLLBACK", nullptr, nullptr, nullptr);
  }
  void commit() {
    run("COMMIT");
    handle_ = nullptr;
  }

 private:
  void run(const char* sql) {
    if (sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail();
  }
  sqlite3* handle_;
};

}  // namespace

ChatStore::ChatStore(const std::string& path, int64_t max_sessions)
    : database_(std::make_unique<Database>()), max_sessions_(max_sessions) {
  const mode_t mask = ::umask(077);
  const int opened = sqlite3_open(path.empty() ? ":memory:" : path.c_str(), &database_->handle);
  ::umask(mask);
  sqlite3_busy_timeout(database_->handle, 2000);
  if (opened != SQLITE_OK || sqlite3_exec(database_->handle, kSchema, nullptr, nullptr, nullptr) != SQLITE_OK) {
    throw Error(ErrorCode::io, "the conversations in " + path + " cannot be opened; give another --chat-db");
  }
}

ChatStore::~ChatStore() = default;

std::optional<StoredChat> ChatStore::load(const std::string& owner, const std::string& id) {
  std::lock_guard lock(database_->mutex);
  StoredChat chat;
  Statement found(database_->handle, (std::string(kSummaries) + "WHERE id = ? AND owner = ?").c_str());
  if (!found.bind(id).bind(owner).step()) return std::nullopt;
  chat.summary = summary_of(found);
  Statement system(database_->handle, "SELECT system FROM chats WHERE id = ?");
  if (system.bind(id).step()) chat.system = system.text(0);
  Statement rows(database_->handle, "SELECT role, content FROM messages WHERE chat = ? ORDER BY position");
  rows.bind(id);
  while (rows.step()) chat.messages.push_back({rows.text(0), rows.text(1)});
  return chat;
}

std::vector<ChatSummary> ChatStore::list(const std::string& owner, int64_t max_count) {
  std::lock_guard lock(database_->mutex);
  std::vector<ChatSummary> chats;
  Statement rows(database_->handle,
                 (std::string(kSummaries) + "WHERE owner = ? ORDER BY updated DESC, rowid DESC LIMIT ?").c_str());
  rows.bind(owner).bind(max_count);
  while (rows.step()) chats.push_back(summary_of(rows));
  return chats;
}

bool ChatStore::remove(const std::string& owner, const std::string& id) {
  std::lock_guard lock(database_->mutex);
  Statement(database_->handle, "DELETE FROM chats WHERE id = ? AND owner = ?").bind(id).bind(owner).step();
  return sqlite3_changes(database_->handle) > 0;
}

void ChatStore::add_turn(const ChatTurn& turn) {
  std::lock_guard lock(database_->mutex);
  sqlite3* handle = database_->handle;
  Transaction transaction(handle);
  const int64_t now = std::time(nullptr);
  Statement(handle,
            "INSERT INTO chats (id, owner, title, created, updated) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET updated = excluded.updated")
      .bind(turn.id)
      .bind(turn.owner)
      .bind(chat_title(turn.prompt))
      .bind(now)
      .bind(now)
      .step();
  if (turn.system)
    Statement(handle, "UPDATE chats SET system = ? WHERE id = ?").bind(*turn.system).bind(turn.id).step();
  if (turn.replace_from) {
    Statement(handle, "DELETE FROM messages WHERE chat = ? AND position >= ?")
        .bind(turn.id)
        .bind(*turn.replace_from)
        .step();
    if (*turn.replace_from == 0) {
      Statement(handle, "UPDATE chats SET title = ? WHERE id = ?").bind(chat_title(turn.prompt)).bind(turn.id).step();
    }
  }
  Statement next(handle, "SELECT coalesce(max(position) + 1, 0) FROM messages WHERE chat = ?");
  next.bind(turn.id).step();
  const int64_t position = next.number(0);
  constexpr const char* kInsert = "INSERT INTO messages (chat, position, role, content) VALUES (?, ?, ?, ?)";
  Statement(handle, kInsert).bind(turn.id).bind(position).bind("user").bind(turn.prompt).step();
  Statement(handle, kInsert).bind(turn.id).bind(position + 1).bind("assistant").bind(turn.response).step();
  Statement(handle,
            "DELETE FROM chats WHERE owner = ?1 AND id IN (SELECT id FROM chats WHERE owner = ?1 "
            "ORDER BY updated DESC, rowid DESC LIMIT -1 OFFSET ?2)")
      .bind(turn.owner)
      .bind(max_sessions_)
      .step();
  transaction.commit();
}

std::string chat_title(std::string_view prompt) {
  prompt.remove_prefix(std::min(prompt.find_first_not_of(" \t\r\n"), prompt.size()));
  const std::string_view line = prompt.substr(0, prompt.find_first_of("\r\n"));
  const std::string_view cut = cut_utf8(line, kTitleBytes);
  if (cut.empty()) return "…";
  return std::string(cut) + (cut.size() < line.size() ? "…" : "");
}

}  // namespace qwin::server
