// SPDX-License-Identifier: Apache-2.0
// What the endpoints accept, refuse and answer.
#include "server/limits.h"
#include "server/server_fixture.h"

namespace qwin::server {
namespace {

using ApiTest = ServerTest;

TEST_F(ApiTest, AnswersAChat) {
  start();
  const Reply reply = post("/v1/chat/completions", kChat);
  ASSERT_EQ(reply.status, 200) << reply.body;
  const Json body = reply.json();
  EXPECT_EQ(body["object"], "chat.completion");
  EXPECT_EQ(body["model"], "fake");
  EXPECT_EQ(body["choices"][0]["message"]["content"], "Hello, wörld");
  EXPECT_EQ(body["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(body["usage"]["completion_tokens"], 3);
  EXPECT_EQ(body["usage"]["prompt_tokens_details"]["cached_tokens"], 1);
  EXPECT_EQ(body["timings"]["predicted_n"], 3);
  EXPECT_FLOAT_EQ(engine_->requests()[0].sampling.temperature, 0.5f);  // the model's default
}

TEST_F(ApiTest, StreamsByTheGrammarOfEvents) {
  start();
  for (const bool usage : {false, true}) {
    Json body = chat_with({{"stream", true}, {"n", 2}});
    if (usage) body["stream_options"] = {{"include_usage", true}};
    const Reply reply = post("/v1/chat/completions", body.dump());
    EXPECT_TRUE(reply.header("Content-Type").starts_with("text/event-stream"));
    std::vector<std::string> events = reply.events();
    ASSERT_EQ(events.back(), "[DONE]");
    events.pop_back();
    std::string texts[2];
    int ends[2] = {0, 0}, usages = 0;
    for (const std::string& event : events) {
      const Json chunk = Json::parse(event);
      EXPECT_EQ(chunk["object"], "chat.completion.chunk");
      EXPECT_EQ(chunk.contains("usage"), usage);
      if (chunk["choices"].empty()) {
        ++usages;
        EXPECT_EQ(chunk["usage"]["completion_tokens"], 6);
        continue;
      }
      const Json& choice = chunk["choices"][0];
      const size_t index = choice["index"];
      texts[index] += choice["delta"].value("content", "");
      if (!choice["finish_reason"].is_null()) ++ends[index];
    }
    EXPECT_EQ(usages, usage ? 1 : 0);
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(texts[i], "Hello, wörld");
      EXPECT_EQ(ends[i], 1);
    }
  }
}

TEST_F(ApiTest, TellsThoughtsApart) {
  start({.thoughts = "Hm."});
  const Json message = post("/v1/chat/completions", kChat).json()["choices"][0]["message"];
  EXPECT_EQ(message["reasoning_content"], "Hm.");
  EXPECT_EQ(message["content"], "Hello, wörld");
  std::string thoughts, text;
  for (const std::string& event : post("/v1/chat/completions", kStreamedChat).events()) {
    if (event == "[DONE]") break;
    const Json delta = Json::parse(event)["choices"][0]["delta"];
    EXPECT_FALSE(!thoughts.empty() && delta.contains("reasoning_content")) << "they came in one piece";
    thoughts += delta.value("reasoning_content", "");
    text += delta.value("content", "");
  }
  EXPECT_EQ(thoughts, "Hm.");
  EXPECT_EQ(text, "Hello, wörld");
  EXPECT_FALSE(post("/v1/completions", R"({"prompt":"a"})").json()["choices"][0].contains("reasoning_content"));
}

TEST_F(ApiTest, RefusesBodiesThatAreNoObjects) {
  start();
  for (const char* path : {"/v1/chat/completions", "/v1/completions", "/chat", "/tokenize", "/detokenize"}) {
    for (const char* body : {"[]", "1", "\"x\"", "null", "", "{}"})
      EXPECT_EQ(post(path, body).status, 400) << path << body;
  }
}

TEST_F(ApiTest, NamesTheFieldItRefuses) {
  start();
  const std::pair<const char*, Json> bad[] = {{"max_tokens", 0},
                                              {"max_tokens", -1},
                                              {"max_tokens", 2147483648},
                                              {"max_tokens", 1.5},
                                              {"max_tokens", "5"},
                                              {"temperature", -1},
                                              {"temperature", 1e9},
                                              {"top_p", 0},
                                              {"top_p", 1.1},
                                              {"top_k", -2},
                                              {"min_p", 2},
                                              {"presence_penalty", 1e9},
                                              {"frequency_penalty", -1e9},
                                              {"repetition_penalty", 0},
                                              {"n", 0},
                                              {"n", 9},
                                              {"n", 16384},
                                              {"logit_bias", {{"-1", 1}}},
                                              {"logit_bias", {{"300", 1}}},
                                              {"logit_bias", {{"abc", 1}}},
                                              {"logit_bias", {{"1", 101}}},
                                              {"logit_bias", Json::array()},
                                              {"stop", Json::array({""})},
                                              {"stop", Json::array({1})},
                                              {"stop", std::string(257, 'x')},
                                              {"stop", Json(std::vector<std::string>(17, "x"))},
                                              {"stop_token_ids", Json::array({300})},
                                              {"stop_token_ids", Json::array({-1})},
                                              {"stop_token_ids", 5},
                                              {"top_logprobs", 21},
                                              {"top_logprobs", 1},
                                              {"logprobs", 1},
                                              {"stream", "yes"},
                                              {"stream_options", {{"include_usage", true}}},
                                              {"seed", 1e30},
                                              {"window", -1},
                                              {"min_tokens", -1},
                                              {"messages", Json::array()},
                                              {"messages", "hi"},
                                              {"tools", Json::array()},
                                              {"tool_choice", "auto"},
                                              {"response_format", {{"type", "json_object"}}},
                                              {"functions", Json::array()},
                                              {"nonsense", 1},
                                              {"cache_salt", 5},
                                              {"user", std::string(257, 'u')},
                                              {"ignore_eos", 0}};
  for (const auto& [name, value] : bad) {
    const Reply reply = post("/v1/chat/completions", chat_with({{name, value}}).dump());
    EXPECT_EQ(reply.status, 400) << name << value;
    EXPECT_EQ(reply.param(), name) << reply.body;
  }
  EXPECT_EQ(post("/v1/chat/completions", R"({"messages":[{"role":"wizard","content":"x"}]})").param(), "messages");
  EXPECT_TRUE(engine_->requests().empty());
}

TEST_F(ApiTest, NamesTheFieldOfAttentionItRefuses) {
  start();
  const std::pair<const char*, Json> bad[] = {{"attention_type", "sparse"},
                                              {"attention_type", 5},
                                              {"memory_top_k", 4097},
                                              {"num_sink_tokens", -1},
                                              {"overflow_policy", "cut"}};
  for (const auto& [name, value] : bad) {
    EXPECT_EQ(post("/v1/chat/completions", chat_with({{name, value}}).dump()).param(), name) << value;
  }
  EXPECT_TRUE(engine_->requests().empty());
}

TEST_F(ApiTest, TakesEveryField) {
  start();
  const Json body = chat_with({{"model", "fake"},
                               {"max_completion_tokens", 2},
                               {"temperature", 1},
                               {"top_p", 0.5},
                               {"top_k", 7},
                               {"min_p", 0.1},
                               {"repetition_penalty", 1.5},
                               {"presence_penalty", 0.5},
                               {"frequency_penalty", -0.5},
                               {"logit_bias", {{"5", -100}}},
                               {"seed", 42},
                               {"min_tokens", 1},
                               {"stop", "END"},
                               {"stop_token_ids", {9}},
                               {"ignore_eos", true},
                               {"window", 512},
                               {"attention_type", "hybrid"},
                               {"num_sink_tokens", 4},
                               {"memory_top_k", 32},
                               {"overflow_policy", "window"},
                               {"cache_salt", "s"},
                               {"user", "u"},
                               {"logprobs", true},
                               {"top_logprobs", 2},
                               {"n", 2},
                               {"return_token_ids", true},
                               {"stream", false},
                               {"response_format", {{"type", "text"}}},
                               {"stream_options", nullptr}});
  const Reply reply = post("/v1/chat/completions", body.dump());
  ASSERT_EQ(reply.status, 200) << reply.body;
  const std::vector<Request> requests = engine_->requests();
  ASSERT_EQ(requests.size(), 2u);
  const SamplingParams& s = requests[1].sampling;
  EXPECT_EQ(s.max_tokens, 2);
  EXPECT_EQ(s.top_k, 7);
  EXPECT_FLOAT_EQ(s.repetition_penalty, 1.5f);
  EXPECT_EQ(s.seed, 43u);
  EXPECT_EQ(s.stop, std::vector<std::string>{"END"});
  EXPECT_EQ(s.stop_token_ids, std::vector<int32_t>{9});
  EXPECT_EQ(s.logprobs, 2);
  EXPECT_TRUE(s.ignore_eos);
  EXPECT_EQ(requests[0].window, 512);
  EXPECT_EQ(requests[0].attention_type, AttentionType::hybrid);
  EXPECT_EQ(requests[0].num_sink_tokens, 4);
  EXPECT_EQ(requests[0].memory_top_k, 32);
  EXPECT_EQ(requests[0].overflow_policy, OverflowPolicy::window);
  EXPECT_EQ(requests[0].cache_salt, "s");
  EXPECT_TRUE(requests[0].client.ends_with("/u"));
  const Json choice = reply.json()["choices"][1];
  EXPECT_EQ(choice["logprobs"]["content"][0]["top_logprobs"].size(), 2u);
  EXPECT_EQ(choice["token_ids"].size(), 2u);
  EXPECT_EQ(choice["finish_reason"], "length");
}

TEST_F(ApiTest, KnowsItsModelAlone) {
  options_.model_name = "shown/name";
  start();
  EXPECT_EQ(post("/v1/chat/completions", chat_with({{"model", "gpt-4"}}).dump()).code(), "model_not_found");
  for (const char* name : {"shown/name", "fake"}) {
    EXPECT_EQ(post("/v1/chat/completions", chat_with({{"model", name}}).dump()).json()["model"], "shown/name");
    EXPECT_EQ(get(std::string("/v1/models/") + name).json()["id"], name);
  }
  EXPECT_EQ(get("/v1/models").json()["data"][0]["id"], "shown/name");
  EXPECT_EQ(get("/v1/models/../../x").code(), "model_not_found");
}

TEST_F(ApiTest, TellsErrorsAsTheirStatusBeforeAStreamBegins) {
  start({.context_length = 20, .fail_with_numerical_after = ""});
  const Reply reply = post("/v1/chat/completions", kStreamedChat);
  EXPECT_EQ(reply.status, 400);
  EXPECT_EQ(reply.code(), "context_length_exceeded");
}

TEST_F(ApiTest, EndsAFailedStreamWithAnErrorEvent) {
  start({.fail_with_numerical_after = "lo, "});
  HttpClient client(port());
  client.send(post_request("/v1/chat/completions", kStreamedChat));
  const std::vector<std::string> events = client.read_reply().events();
  const auto has_text = [](const std::string& event) { return event.find("Hel") != std::string::npos; };
  EXPECT_TRUE(std::ranges::any_of(events, has_text));  // written before the error, though they may be seen together
  const Json last = Json::parse(events.back());
  EXPECT_EQ(last["error"]["code"], "numerical_error");
  EXPECT_EQ(events.back().find("secret"), std::string::npos);
  EXPECT_TRUE(client.closed_by_server());
  const Reply whole = post("/v1/chat/completions", kChat);
  EXPECT_EQ(whole.status, 500);
  EXPECT_EQ(whole.code(), "numerical_error");
}

TEST_F(ApiTest, RefusesWhenTheQueueIsFullOrTheWaitTooLong) {
  start({.endless = true, .max_running = 1, .max_waiting = 1});
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 2; ++i) {
    clients.push_back(std::make_unique<HttpClient>(port()));
    clients.back()->send(post_request("/v1/chat/completions", kStreamedChat));
    ASSERT_TRUE(eventually([&] { return engine_->num_open() == i + 1; }));
  }
  const Reply full = post("/v1/chat/completions", kChat);
  EXPECT_EQ(full.status, 429);
  EXPECT_EQ(full.code(), "queue_full");
  EXPECT_NE(full.header("Retry-After"), "");
  clients.clear();
  ASSERT_TRUE(eventually([&] { return engine_->num_open() == 0; }));
  engine_->waiting_seconds = 700;
  EXPECT_EQ(post("/v1/chat/completions", kChat).header("Retry-After"), "60");
}

TEST_F(ApiTest, BoundsTheRequestsOfAClient) {
  options_.limits.requests_per_minute = 2;
  start();
  for (int i = 0; i < 2; ++i) EXPECT_EQ(post("/v1/chat/completions", kChat).status, 200);
  const Reply refused = post("/v1/chat/completions", kChat);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.code(), "rate_limit_error");
  EXPECT_NE(refused.header("Retry-After"), "");
  EXPECT_EQ(get("/v1/models").status, 200);
}

TEST_F(ApiTest, CancelsTheOthersWhenOneOfNCannotBeQueued) {
  start({.endless = true, .max_running = 1, .max_waiting = 1});
  EXPECT_EQ(post("/v1/chat/completions", chat_with({{"n", 3}}).dump()).status, 429);
  EXPECT_EQ(engine_->num_open(), 0);
}

TEST_F(ApiTest, CompletesTexts) {
  start();
  const Json body = post("/v1/completions", R"({"prompt":["ab","c"],"n":2})").json();
  ASSERT_EQ(body["choices"].size(), 4u);
  EXPECT_EQ(body["choices"][3]["text"], "Hello, wörld");
  EXPECT_EQ(body["choices"][3]["index"], 3);
  EXPECT_EQ(body["usage"]["prompt_tokens"], 3);
  EXPECT_EQ(engine_->requests()[0].sampling.max_tokens, 16);
  post("/v1/completions", R"({"prompt":[104,105]})");
  post("/v1/completions", R"({"prompt":"<|im_start|>","parse_special":true})");
  post("/v1/completions", R"({"prompt":"<|im_start|>"})");
  EXPECT_EQ(engine_->requests()[4].prompt, (std::vector<int32_t>{104, 105}));
  EXPECT_EQ(engine_->requests()[5].prompt, std::vector<int32_t>{259});
  EXPECT_EQ(engine_->requests()[6].prompt.size(), 12u);
}

TEST_F(ApiTest, RefusesBadPrompts) {
  start();
  for (const char* prompt : {"[-1]", "[300]", "[9223372036854775808]", "[]", "[[]]", "\"\"", "1", "null", "[1.5]",
                             "[\"a\",1]", "[[1],2]", "[[[1]]]", "{}"}) {
    const Reply reply = post("/v1/completions", std::string("{\"prompt\":") + prompt + "}");
    EXPECT_EQ(reply.status, 400) << prompt;
    EXPECT_EQ(reply.param(), "prompt") << prompt;
  }
}

TEST_F(ApiTest, EchoesThePromptWithItsLogprobs) {
  start();
  const Json body = post("/v1/completions", R"({"prompt":"abc","echo":true,"logprobs":1,"max_tokens":0})").json();
  const Json& choice = body["choices"][0];
  EXPECT_EQ(choice["text"], "abc");
  EXPECT_EQ(choice["logprobs"]["tokens"], Json::array({"a", "b", "c"}));
  EXPECT_TRUE(choice["logprobs"]["token_logprobs"][0].is_null());
  EXPECT_EQ(choice["logprobs"]["text_offset"], Json::array({0, 1, 2}));
  EXPECT_EQ(body["usage"]["completion_tokens"], 0);
  EXPECT_EQ(post("/v1/completions", R"({"prompt":"abc","echo":true})").json()["choices"][0]["text"], "abcHello, wörld");
  EXPECT_EQ(post("/v1/completions", R"({"prompt":"abc","echo":true,"logprobs":1,"stream":true})").param(), "echo");
  const Reply streamed = post("/v1/completions", R"({"prompt":"abc","echo":true,"stream":true})");
  std::string text;
  std::vector<std::string> events = streamed.events();
  events.pop_back();
  for (const std::string& event : events) text += Json::parse(event)["choices"][0]["text"];
  EXPECT_EQ(text, "abcHello, wörld");
}

TEST_F(ApiTest, FillsInTheMiddle) {
  start();
  EXPECT_EQ(post("/v1/completions", R"({"prompt":"a","suffix":"b"})").status, 200);
  const Request request = engine_->requests()[0];
  EXPECT_EQ(request.prompt, (std::vector<int32_t>{256, 'a', 257, 'b', 258}));
  EXPECT_EQ(request.sampling.stop_token_ids, (std::vector<int32_t>{256, 257, 258}));
  EXPECT_EQ(post("/v1/completions", R"({"prompt":[1],"suffix":"b"})").param(), "prompt");
}

TEST_F(ApiTest, TurnsTextIntoTokensAndBack) {
  start();
  EXPECT_EQ(post("/tokenize", R"({"text":"ab"})").json()["token_ids"], Json::array({97, 98}));
  EXPECT_EQ(post("/tokenize", R"({"content":"ab"})").json()["count"], 2);
  EXPECT_EQ(post("/tokenize", R"({"text":"a","content":"b"})").param(), "content");
  EXPECT_GT(post("/tokenize", kChat).json()["count"], 20);
  EXPECT_EQ(post("/detokenize", R"({"token_ids":[97,98]})").json()["text"], "ab");
  EXPECT_EQ(post("/detokenize", R"({"token_ids":[300]})").param(), "token_ids");
}

TEST_F(ApiTest, TellsWhereAndHow) {
  start();
  EXPECT_EQ(get("/nothing").code(), "not_found");
  EXPECT_EQ(get("/..%2f..%2fetc/passwd").status, 404);
  const Reply wrong = get("/v1/chat/completions");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.header("Allow"), "POST");
  for (const char* type : {"Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n", "",
                           "Content-Type: application/json\r\nContent-Encoding: gzip\r\n"}) {
    const std::string body = kChat;
    EXPECT_EQ(ask("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n" + std::string(type) +
                  "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body)
                  .status,
              415)
        << type;
  }
  EXPECT_EQ(post("/v1/chat/completions", "{\"messages\":" + std::string(70, '[') + std::string(70, ']') + "}").code(),
            "json_too_deep");
}

TEST_F(ApiTest, SaysThatItIsLoading) {
  server_ = std::make_unique<Server>(options_);
  EXPECT_EQ(get("/livez").status, 200);
  for (const char* path : {"/readyz", "/health", "/v1/models"}) {
    const Reply reply = get(path);
    EXPECT_EQ(reply.status, 503);
    EXPECT_EQ(reply.code(), "loading");
    EXPECT_NE(reply.header("Retry-After"), "");
  }
  EXPECT_EQ(post("/v1/chat/completions", kChat).code(), "loading");
}

TEST_F(ApiTest, SaysThatItIsBrokenAndEnds) {
  start();
  EXPECT_EQ(get("/readyz").status, 200);
  engine_->has_failed = true;
  const Reply reply = get("/readyz");
  EXPECT_EQ(reply.status, 503);
  EXPECT_EQ(reply.code(), "broken");
  EXPECT_NE(reply.header("Retry-After"), "");
  EXPECT_EQ(get("/livez").status, 200);
  server_->wait();
  EXPECT_TRUE(server_->failed());
}

TEST_F(ApiTest, KeepsPagesOfOthersAway) {
  start();
  EXPECT_EQ(ask("GET /livez HTTP/1.1\r\nHost: evil.example\r\n\r\n").code(), "forbidden_origin");
  EXPECT_EQ(ask("GET /livez HTTP/1.1\r\nHost: [::1]:99\r\n\r\n").status, 200);
  EXPECT_EQ(ask("GET /livez HTTP/1.1\r\nHost: 127.0.0.1:99\r\n\r\n").status, 200);
  EXPECT_EQ(post("/v1/chat/completions", kChat, "Origin: http://evil.example\r\n").status, 403);
  EXPECT_EQ(post("/v1/chat/completions", kChat, "Origin: null\r\n").status, 403);
  EXPECT_EQ(post("/v1/chat/completions", kChat, "Origin: http://localhost\r\n").status, 200);
  EXPECT_EQ(post("/v1/chat/completions", kChat, "Sec-Fetch-Site: cross-site\r\n").status, 403);
  EXPECT_EQ(get("/livez").header("X-Content-Type-Options"), "nosniff");
}

TEST_F(ApiTest, LetsAllowedOriginsIn) {
  options_.allowed_origins = {"https://app.example"};
  start();
  const Reply reply = post("/v1/chat/completions", kChat, "Origin: https://app.example\r\n");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.header("Access-Control-Allow-Origin"), "https://app.example");
  const Reply preflight =
      ask("OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nOrigin: https://app.example\r\n\r\n");
  EXPECT_EQ(preflight.status, 204);
  EXPECT_NE(preflight.header("Access-Control-Allow-Headers").find("Authorization"), std::string::npos);
}

TEST_F(ApiTest, AsksForAKey) {
  options_.api_key = "correct-horse";
  start();
  for (const char* path : {"/livez", "/readyz", "/health"}) EXPECT_EQ(get(path).status, 200) << path;
  for (const char* path :
       {"/metrics", "/openapi.json", "/v1/models", "/chat/sessions", "/nothing", "/v1/models/fake"}) {
    for (const char* headers :
         {"", "Authorization: Bearer wrong-horse\r\n", "Authorization: correct-horse\r\n", "X-API-Key: x\r\n"}) {
      EXPECT_EQ(get(path, headers).code(), "authentication_error") << path << headers;
    }
    EXPECT_EQ(ask("OPTIONS " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 204);
  }
  EXPECT_EQ(get("/v1/models", "Authorization: Bearer correct-horse\r\n").status, 200);
  EXPECT_EQ(get("/v1/models", "X-API-Key: correct-horse\r\n").status, 200);
  EXPECT_EQ(post("/v1/chat/completions", kChat, "Authorization: Bearer correct-horse\r\n").status, 200);
  const Request request = engine_->requests()[0];
  EXPECT_TRUE(request.cache_salt.starts_with(request.client + ":"));
  EXPECT_EQ(request.client.find("horse"), std::string::npos);
}

TEST_F(ApiTest, OtherHostsNeedAKey) {
  options_.host = "0.0.0.0";
  EXPECT_THROW(Server{options_}, Error);
  options_.allow_no_auth = true;
  start();
  EXPECT_EQ(ask("GET /livez HTTP/1.1\r\nHost: any.example\r\n\r\n").status, 200);
}

TEST_F(ApiTest, MetricsHaveTheirNames) {
  start();
  post("/v1/chat/completions", kChat);
  const Reply reply = get("/metrics");
  for (const char* name :
       {"requests_running", "requests_waiting", "kv_pages_total", "kv_pages_used", "kv_pages_cached", "kv_page_size",
        "requests_cancelled_total", "streams_stalled_total", "time_to_first_token_seconds_count",
        "time_per_output_token_seconds_bucket", "prompt_tokens_total", "generation_tokens_total", "prefix_cache_hits",
        "prefix_cache_queries", "prefix_cache_disk_bytes", "prefix_cache_write_errors_total",
        "prefix_cache_rejected_total{reason=\"payload\"}"}) {
    EXPECT_NE(reply.body.find(std::string("\nqwin_") + name), std::string::npos) << name;
  }
}

TEST_F(ApiTest, DescribesItself) {
  start();
  const Json document = get("/openapi.json").json();
  EXPECT_EQ(document["openapi"], "3.1.0");
  const Json& schema =
      document["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"];
  EXPECT_EQ(schema["properties"]["temperature"]["maximum"], 100);
  EXPECT_EQ(schema["required"], Json::array({"messages"}));
}

TEST(LimitsTest, FlagsAreUniqueAndDefaultsInRange) {
  std::vector<std::string> flags;
  for (const LimitRow& row : limit_rows()) {
    EXPECT_GE(Limits{}.*row.value, row.low) << row.flag;
    EXPECT_LE(Limits{}.*row.value, row.high) << row.flag;
    flags.push_back(row.flag);
  }
  std::sort(flags.begin(), flags.end());
  EXPECT_EQ(std::adjacent_find(flags.begin(), flags.end()), flags.end());
}

}  // namespace
}  // namespace qwin::server
