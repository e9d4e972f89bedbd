// SPDX-License-Identifier: Apache-2.0
// Hostile and unlucky clients, by raw sockets.
#include "server/server_fixture.h"

namespace qwin::server {
namespace {

using HttpTest = ServerTest;

TEST_F(HttpTest, AnswersPipelinedRequestsInOrder) {
  start();
  HttpClient client(port());
  std::string requests;
  for (int i = 0; i < 100; ++i) requests += get_request(i % 2 ? "/livez" : "/nothing");
  client.send(requests);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(client.read_reply().status, i % 2 ? 200 : 404) << i;
}

TEST_F(HttpTest, PipelinesBehindAStream) {
  start();
  HttpClient client(port());
  client.send(post_request("/v1/chat/completions", kStreamedChat) + get_request("/livez"));
  EXPECT_EQ(client.read_reply().events().back(), "[DONE]");
  EXPECT_EQ(client.read_reply().status, 200);
}

TEST_F(HttpTest, AnswersAClientThatShutDownItsSide) {
  start({.step = std::chrono::milliseconds(30)});
  for (const char* body : {kChat, kStreamedChat}) {
    HttpClient client(port());
    client.send(post_request("/v1/chat/completions", body));
    client.shut_down_writing();
    const Reply reply = client.read_reply();
    EXPECT_EQ(reply.status, 200);
    EXPECT_NE(reply.body.find("wörld"), std::string::npos);
    EXPECT_TRUE(client.closed_by_server());
  }
}

TEST_F(HttpTest, TellsSlowHeadsAndBodies) {
  options_.limits.header_seconds = 1;
  options_.limits.body_gap_seconds = 1;
  start();
  HttpClient head(port()), body(port()), silent(port());
  head.send("GET / HTTP/1.1\r\nHost: loc");
  body.send(
      "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{");
  EXPECT_EQ(head.read_reply().status, 408);
  EXPECT_EQ(body.read_reply().status, 408);
  EXPECT_TRUE(silent.closed_by_server());
}

TEST_F(HttpTest, ClosesABodyThatTricklesForLong) {
  options_.limits.body_gap_seconds = 1;
  options_.limits.body_bytes_per_second = 1000;
  start();
  HttpClient client(port());
  client.send(
      "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n{");
  bool open = true;
  for (int i = 0; i < 100 && open; ++i) {
    open = client.send(" ") && !client.receive(50);
  }
  EXPECT_EQ(client.read_reply().status, 408);
}

TEST_F(HttpTest, ClosesIdleConnections) {
  options_.limits.idle_seconds = 1;
  start();
  HttpClient client(port());
  client.send(get_request("/livez"));
  EXPECT_EQ(client.read_reply().status, 200);
  EXPECT_TRUE(client.closed_by_server());
}

TEST_F(HttpTest, RefusesALargeBodyBeforeItIsSent) {
  options_.limits.body_bytes = 1 << 20;
  start();
  HttpClient client(port());
  client.send(
      "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
      "1048577\r\n\r\n");
  const Reply reply = client.read_reply();
  EXPECT_EQ(reply.status, 413);
  EXPECT_EQ(reply.code(), "payload_too_large");
  EXPECT_TRUE(client.closed_by_server());
}

TEST_F(HttpTest, TellsAClientThatSendsOnAfterTheRefusal) {
  options_.limits.body_bytes = 1 << 16;
  start();
  HttpClient client(port());
  client.send(
      "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: "
      "chunked\r\n\r\n");
  const std::string chunk = "1000\r\n" + std::string(4096, 'x') + "\r\n";
  for (int i = 0; i < 64; ++i) {
    if (!client.send(chunk)) break;
  }
  EXPECT_EQ(client.read_reply().status, 413);
}

TEST_F(HttpTest, AllBodiesTogetherAreBounded) {
  options_.limits.bodies_bytes = 1000;
  start();
  HttpClient first(port());
  first.send(
      "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 990\r\n\r\n" +
      std::string(900, ' '));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const Reply second = post("/tokenize", R"({"text":")" + std::string(200, 'x') + "\"}");
  EXPECT_EQ(second.status, 503);
  EXPECT_EQ(second.code(), "out_of_memory");
  EXPECT_EQ(second.header("Retry-After"), "1");
  first.close();
  EXPECT_TRUE(
      eventually([&] { return post("/tokenize", R"({"text":")" + std::string(200, 'x') + "\"}").status == 200; }));
}

TEST_F(HttpTest, ContinuesWhenAskedTo) {
  start();
  HttpClient client(port());
  client.send(
      "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 12\r\n"
      "Expect: 100-continue\r\n\r\n");
  ASSERT_TRUE(client.receive());
  EXPECT_EQ(client.input(), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send(R"({"text":"a"})");
  EXPECT_EQ(client.read_reply().status, 200);
}

TEST_F(HttpTest, RefusesConnectionsBeyondTheLimitAndRecovers) {
  options_.limits.connections = 3;
  start();
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<HttpClient>(port()));
    clients.back()->send(get_request("/livez"));
    EXPECT_EQ(clients.back()->read_reply().status, 200);
  }
  HttpClient refused(port());
  const Reply reply = refused.read_reply();
  EXPECT_EQ(reply.status, 503);
  EXPECT_NE(reply.header("Retry-After"), "");
  clients.clear();
  EXPECT_TRUE(eventually([&] {
    HttpClient again(port());
    return again.send(get_request("/livez")) && again.read_reply().status == 200;
  }));
}

TEST_F(HttpTest, KnowsOldClients) {
  start();
  HttpClient client(port());
  client.send("GET /livez HTTP/1.0\r\n\r\n");
  EXPECT_EQ(client.read_reply().header("Connection"), "close");
  EXPECT_TRUE(client.closed_by_server());
  HttpClient stream(port());
  stream.send("POST /v1/chat/completions HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: " +
              std::to_string(std::string_view(kStreamedChat).size()) + "\r\n\r\n" + kStreamedChat);
  const Reply reply = stream.read_reply();
  EXPECT_EQ(reply.header("Transfer-Encoding"), "");
  EXPECT_EQ(reply.events().back(), "[DONE]");
}

TEST_F(HttpTest, AnswersHeadWithoutABody) {
  start();
  HttpClient client(port());
  client.send("HEAD /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" + get_request("/livez"));
  EXPECT_EQ(client.read_reply(true).header("Content-Length"), "15");
  EXPECT_EQ(client.read_reply().body, R"({"status":"ok"})");
}

TEST_F(HttpTest, CancelsWhenTheClientLeaves) {
  start({.endless = true});
  for (const char* body : {kChat, kStreamedChat}) {
    HttpClient client(port());
    client.send(post_request("/v1/chat/completions", body));
    ASSERT_TRUE(eventually([&] { return engine_->num_open() == 1; }));
    const int before = engine_->num_cancelled();
    client.close();
    EXPECT_TRUE(eventually([&] { return engine_->num_cancelled() == before + 1; })) << body;
  }
}

TEST_F(HttpTest, CancelsAQueuedRequestWhoseClientLeaves) {
  start();
  engine_->close_gate();
  for (const char* body : {kChat, kStreamedChat}) {
    HttpClient client(port());
    client.send(post_request("/v1/chat/completions", body));
    ASSERT_TRUE(eventually([&] { return engine_->num_open() == 1; }));
    client.close();
    EXPECT_TRUE(eventually([&] { return engine_->num_open() == 0; })) << body;
  }
}

TEST_F(HttpTest, HoldsAStreamWhoseReaderIsSlowAndGoesOn) {
  options_.limits.stream_buffer_bytes = 16 << 10;
  options_.limits.socket_buffer_bytes = 8 << 10;
  start({.pieces = {std::string(2000, 'x')}, .endless = true});
  HttpClient client(port(), 4096);
  client.send(post_request("/v1/chat/completions",
                           R"({"messages":[{"role":"user","content":"Hi"}],"stream":true,"max_tokens":100})"));
  ASSERT_TRUE(eventually([&] { return engine_->num_held() == 1; }));
  const Reply reply = client.read_reply();
  EXPECT_EQ(reply.events().back(), "[DONE]");
  EXPECT_GT(reply.body.size(), 200000u);
  EXPECT_EQ(engine_->num_open(), 0);
}

TEST_F(HttpTest, ClosesAStalledReader) {
  options_.limits.stream_buffer_bytes = 16 << 10;
  options_.limits.socket_buffer_bytes = 8 << 10;
  options_.limits.stall_seconds = 1;
  start({.pieces = {std::string(2000, 'x')}, .endless = true});
  HttpClient client(port(), 4096);
  client.send(post_request("/v1/chat/completions", kStreamedChat));
  ASSERT_TRUE(eventually([&] { return engine_->num_open() == 1; }));
  EXPECT_TRUE(eventually([&] { return engine_->num_open() == 0; }));
  EXPECT_NE(get("/metrics").body.find("qwin_streams_stalled_total 1"), std::string::npos);
}

TEST_F(HttpTest, SendsPingsInSilence) {
  options_.limits.ping_seconds = 1;
  start();
  engine_->close_gate();
  HttpClient client(port());
  client.send(post_request("/v1/chat/completions", kStreamedChat));
  while (client.input().find(": ping\n\n") == std::string::npos) ASSERT_TRUE(client.receive());
  engine_->open_gate();
  EXPECT_EQ(client.read_reply().events().back(), "[DONE]");
}

}  // namespace
}  // namespace qwin::server
