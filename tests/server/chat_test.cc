// SPDX-License-Identifier: Apache-2.0
// POST /chat, its conversations, and the drain.
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "server/chat_store.h"
#include "server/server_fixture.h"

namespace qwin::server {
namespace {

namespace fs = std::filesystem;
using ChatTest = ServerTest;

constexpr const char* kKeyA = "Authorization: Bearer key-of-a-person\r\n";
constexpr const char* kKeyB = "Authorization: Bearer key-of-another\r\n";

Json last_event(const Reply& reply) {
  const std::vector<std::string> events = reply.events();
  EXPECT_EQ(events.back(), "[DONE]");
  return Json::parse(events[events.size() - 2]);
}

TEST_F(ChatTest, StreamsByDefaultAndKeepsTheConversation) {
  start();
  const Reply first = post("/chat", R"({"prompt":"Hi"})");
  std::string text;
  const std::vector<std::string> events = first.events();
  for (size_t i = 0; i + 2 < events.size(); ++i) text += Json::parse(events[i])["text"];
  EXPECT_EQ(text, "Hello, wörld");
  const Json last = last_event(first);
  EXPECT_EQ(last["finish_reason"], "stop");
  EXPECT_EQ(last["usage"]["completion_tokens"], 3);
  const std::string id = last["session"];
  const Json second = post("/chat", Json{{"prompt", "More"}, {"session", id}, {"stream", false}}.dump()).json();
  EXPECT_EQ(second["response"], "Hello, wörld");
  EXPECT_EQ(second["session"], id);
  const Json expected = Json::parse(R"([{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello, wörld"},
                                        {"role":"user","content":"More"}])");
  EXPECT_EQ(Json::parse(engine_->last_chat()), expected);
  const Json list = get("/chat/sessions").json()["sessions"];
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0]["title"], "Hi");
  EXPECT_EQ(list[0]["num_messages"], 4);
  EXPECT_EQ(get("/chat/sessions/" + id).json()["messages"][3]["content"], "Hello, wörld");
}

TEST_F(ChatTest, KeepsThoughtsAsTemplatesKnowThem) {
  start({.thoughts = "Hm."});
  const Json answer = post("/chat", R"({"prompt":"Hi","stream":false})").json();
  EXPECT_EQ(answer["response"], "Hello, wörld");
  EXPECT_EQ(answer["reasoning"], "Hm.");
  const std::string id = answer["session"];
  const std::string first = post("/chat", Json{{"prompt", "More"}, {"session", id}}.dump()).events()[1];
  EXPECT_EQ(Json::parse(first), (Json{{"text", "Hel"}, {"reasoning", "Hm."}}));
  EXPECT_EQ(Json::parse(engine_->last_chat())[1]["content"], "<think>\nHm.\n</think>\n\nHello, wörld");
}

TEST_F(ChatTest, AnswersTheShortForm) {
  start();
  const Reply reply = ask("POST /chat?prompt=Hi%20there HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(reply.json()["response"], "Hello, wörld");
  EXPECT_EQ(get("/chat?prompt=Hi").status, 405);
  EXPECT_EQ(ask("POST /chat?prompt=Hi&x=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").param(), "x");
  EXPECT_EQ(ask("POST /chat?prompt=%ff HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").status, 200);
}

TEST_F(ChatTest, ReplacesMessagesAndTheSystemPrompt) {
  start();
  const std::string id = post("/chat", R"({"prompt":"one","stream":false,"system":"Be brief."})").json()["session"];
  post("/chat", Json{{"prompt", "two"}, {"session", id}}.dump());
  post("/chat", Json{{"prompt", "deux"}, {"session", id}, {"replace_from", 2}}.dump());
  const Json chat = get("/chat/sessions/" + id).json();
  EXPECT_EQ(chat["system"], "Be brief.");
  ASSERT_EQ(chat["messages"].size(), 4u);
  EXPECT_EQ(chat["messages"][2]["content"], "deux");
  EXPECT_EQ(Json::parse(engine_->last_chat())[0]["content"], "Be brief.");
  for (const int index : {1, 6}) {
    EXPECT_EQ(post("/chat", Json{{"prompt", "x"}, {"session", id}, {"replace_from", index}}.dump()).param(),
              "replace_from");
  }
}

TEST_F(ChatTest, ASessionBelongsToItsKey) {
  const fs::path file = fs::temp_directory_path() / ("qwin_keys_" + std::to_string(::getpid()));
  std::ofstream(file) << "# people\nkey-of-a-person\n\nkey-of-another\n";
  options_.api_key_file = file.string();
  start();
  const std::string id = post("/chat", R"({"prompt":"Hi","stream":false})", kKeyA).json()["session"];
  EXPECT_EQ(get("/chat/sessions/" + id, kKeyA).status, 200);
  EXPECT_EQ(get("/chat/sessions/" + id, kKeyB).status, 404);
  EXPECT_EQ(post("/chat", Json{{"prompt", "x"}, {"session", id}}.dump(), kKeyB).status, 404);
  EXPECT_TRUE(get("/chat/sessions", kKeyB).json()["sessions"].empty());
  EXPECT_EQ(ask("DELETE /chat/sessions/" + id + " HTTP/1.1\r\nHost: localhost\r\n" + kKeyB + "\r\n").status, 404);
  EXPECT_EQ(ask("DELETE /chat/sessions/" + id + " HTTP/1.1\r\nHost: localhost\r\n" + kKeyA + "\r\n").json()["deleted"],
            true);
  EXPECT_EQ(get("/chat/sessions/" + id, kKeyA).status, 404);
  fs::remove(file);
}

TEST_F(ChatTest, KeepsWhatWasWrittenWhenTheReaderStops) {
  start({.endless = true});
  HttpClient client(port());
  client.send(post_request("/chat", R"({"prompt":"Hi"})"));
  while (client.input().find("lo, ") == std::string::npos) ASSERT_TRUE(client.receive());
  client.close();
  EXPECT_TRUE(eventually([&] { return !get("/chat/sessions").json()["sessions"].empty(); }));
  const std::string id = get("/chat/sessions").json()["sessions"][0]["id"];
  EXPECT_TRUE(std::string(get("/chat/sessions/" + id).json()["messages"][1]["content"]).starts_with("Hello"));
}

TEST(ChatStoreTest, SurvivesARestartForTheOwnersEyesOnly) {
  const fs::path folder = fs::temp_directory_path() / ("qwin_chats_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  const std::string path = (folder / "chats.sqlite").string();
  ChatStore(path, 10).add_turn({.owner = "o", .id = "1", .prompt = "p", .response = "r"});
  struct stat info{};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 077, 0u);
  ChatStore again(path, 10);
  EXPECT_EQ(again.load("o", "1")->messages[1].content, "r");
  EXPECT_FALSE(again.load("x", "1"));
  fs::remove_all(folder);
}

TEST(ChatStoreTest, DropsTheOldestBeyondTheLimit) {
  ChatStore store("", 2);
  for (const char* id : {"1", "2", "3"}) store.add_turn({.owner = "o", .id = id, .prompt = "p", .response = "r"});
  store.add_turn({.owner = "other", .id = "4", .prompt = "p", .response = "r"});
  ASSERT_EQ(store.list("o", 10).size(), 2u);
  EXPECT_EQ(store.list("o", 10)[0].id, "3");
  EXPECT_FALSE(store.load("o", "1"));
  EXPECT_TRUE(store.load("other", "4"));
}

TEST(ChatStoreTest, TitlesAreTheFirstLine) {
  EXPECT_EQ(chat_title("  Hello\nworld"), "Hello");
  EXPECT_EQ(chat_title("\n"), "…");
  EXPECT_EQ(chat_title(std::string(59, 'x') + "é"), std::string(59, 'x') + "…");
}

TEST_F(ChatTest, DrainEndsWhatRunsAndRefusesTheRest) {
  start({.pieces = std::vector<std::string>(60, "x"),
         .step = std::chrono::milliseconds(10),
         .max_running = 1,
         .max_waiting = 5});
  HttpClient running(port()), queued(port()), idle(port());
  running.send(post_request("/v1/chat/completions", kStreamedChat));
  while (running.input().empty()) ASSERT_TRUE(running.receive());
  queued.send(post_request("/v1/chat/completions", kStreamedChat));
  ASSERT_TRUE(eventually([&] { return engine_->num_open() == 2; }));
  idle.send(get_request("/livez"));
  EXPECT_EQ(idle.read_reply().status, 200);
  server_->stop();
  const Reply refused = queued.read_reply();
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.code(), "draining");
  idle.send(get_request("/readyz"));
  EXPECT_EQ(idle.read_reply().code(), "draining");
  EXPECT_EQ(post("/v1/chat/completions", kChat).status, 503);
  EXPECT_EQ(running.read_reply().events().back(), "[DONE]");
  server_->wait();
}

TEST_F(ChatTest, TheDrainLimitEndsStreamsWithAnErrorEvent) {
  options_.limits.drain_seconds = 0;
  start({.endless = true});
  HttpClient client(port()), whole(port());
  client.send(post_request("/v1/chat/completions", kStreamedChat));
  whole.send(post_request("/v1/chat/completions", kChat));
  while (client.input().empty()) ASSERT_TRUE(client.receive());
  ASSERT_TRUE(eventually([&] { return engine_->num_open() == 2; }));
  const auto begin = std::chrono::steady_clock::now();
  server_->stop();
  EXPECT_EQ(Json::parse(client.read_reply().events().back())["error"]["code"], "draining");
  EXPECT_EQ(whole.read_reply().status, 503);
  server_->wait();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

}  // namespace
}  // namespace qwin::server
