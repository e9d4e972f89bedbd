// SPDX-License-Identifier: Apache-2.0
// An engine that writes a scripted answer, one piece a step, on a thread of its own: the server's tests see every
// request that reaches it and decide when it may go on. A byte of text is a token; added tokens begin at 256.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "qwin/engine.h"

namespace qwin::server {

class FakeEngine final : public Engine {
 public:
  struct Script {
    std::vector<std::string> pieces = {"Hel", "lo, ", "wörld"};
    std::string thoughts = {};  // before the first piece, where they are asked for
    bool endless = false;       // the last piece again and again
    std::chrono::milliseconds step{1};
    int max_running = 4, max_waiting = 8;
    int64_t context_length = 4096;
    std::string fail_with_numerical_after = {};  // this piece
  };

  explicit FakeEngine(Script script) : script_(std::move(script)), thread_([this] { run(); }) {
    info_.model_name = "fake";
    info_.architecture = "qwen2";
    info_.isa = "none";
    info_.vocab_size = 300;
    info_.context_length = script_.context_length;
  }
  ~FakeEngine() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
    for (auto& [id, entry] : entries_) end(entry, FinishReason::cancelled);
  }

  // No step is done while closed.
  void close_gate() { gate_open_ = false; }
  void open_gate() { gate_open_ = true; }

  std::vector<Request> requests() const {
    std::lock_guard lock(mutex_);
    return seen_;
  }
  int num_held() const {
    std::lock_guard lock(mutex_);
    return static_cast<int>(
        std::count_if(entries_.begin(), entries_.end(), [](const auto& e) { return e.second.held; }));
  }
  int num_open() const {
    std::lock_guard lock(mutex_);
    return static_cast<int>(entries_.size());
  }
  int num_cancelled() const { return num_cancelled_; }

  const EngineInfo& info() const override { return info_; }
  EngineStats stats() const override {
    std::lock_guard lock(mutex_);
    EngineStats stats;
    for (const auto& [id, entry] : entries_) ++(entry.running ? stats.requests_running : stats.requests_waiting);
    stats.requests_cancelled = static_cast<uint64_t>(num_cancelled_.load());
    stats.waiting_seconds = waiting_seconds;
    if (has_failed) stats.failure = "out of memory";
    return stats;
  }
  SamplingParams default_sampling() const override { return {.temperature = 0.5f}; }

  std::vector<int32_t> tokenize(std::string_view text, bool parse_special) const override {
    std::vector<int32_t> ids;
    for (size_t i = 0; i < text.size(); ++i) {
      for (size_t s = 0; parse_special && s < std::size(kAdded); ++s) {
        if (!text.substr(i).starts_with(kAdded[s])) continue;
        ids.push_back(static_cast<int32_t>(256 + s));
        i += kAdded[s].size();
        s = static_cast<size_t>(-1);
      }
      if (i < text.size()) ids.push_back(static_cast<unsigned char>(text[i]));
    }
    return ids;
  }
  std::string detokenize(std::span<const int32_t> ids) const override {
    std::string text;
    for (const int32_t id : ids) {
      if (id < 128) text += static_cast<char>(id);
      if (id >= 128 && id < 256) text += "\uFFFD";
      if (id >= 256 && id < 256 + static_cast<int32_t>(std::size(kAdded)))
        text += kAdded[static_cast<size_t>(id - 256)];
    }
    return text;
  }
  std::vector<int32_t> tokenize_chat(std::string_view messages_json) const override {
    if (messages_json.find("\"wizard\"") != std::string_view::npos) {
      throw Error(ErrorCode::invalid_argument, "messages[0].role: unknown role wizard");
    }
    last_chat_ = std::string(messages_json);
    return tokenize(messages_json, false);
  }
  std::vector<int32_t> tokenize_prompt(std::string_view text) const override { return tokenize(text, false); }

  RequestId submit(Request request, RequestEvents events) override {
    std::lock_guard lock(mutex_);
    if (static_cast<int64_t>(request.prompt.size()) >= info_.context_length) {
      throw Error(ErrorCode::context_length_exceeded, "the prompt has too many tokens");
    }
    const auto open = static_cast<int>(entries_.size());
    if (open >= script_.max_running + script_.max_waiting) throw Error(queue_full_code, "the queue is full");
    seen_.push_back(request);
    entries_[++last_id_] = {
        .request = std::move(request), .events = std::move(events), .running = open < script_.max_running};
    changed_.notify_all();
    return last_id_;
  }
  void cancel(RequestId id) override {
    Entry entry;
    {
      std::lock_guard lock(mutex_);
      const auto found = entries_.find(id);
      if (found == entries_.end()) return;
      entry = std::move(found->second);
      entries_.erase(found);
      ++num_cancelled_;
    }
    end(entry, FinishReason::cancelled);
  }
  void hold(RequestId id, bool held) override {
    std::lock_guard lock(mutex_);
    if (const auto found = entries_.find(id); found != entries_.end()) found->second.held = held;
  }
  void prompt_logits(std::span<const int32_t>, const OnLogits&) override {}
  void hidden_states(std::span<const int32_t>, const OnHiddenStates&) override {}

  std::string last_chat() const { return last_chat_; }
  std::atomic<double> waiting_seconds{0};
  std::atomic<bool> has_failed{false};
  ErrorCode queue_full_code = ErrorCode::queue_full;

 private:
  static constexpr std::string_view kAdded[] = {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|im_start|>"};

  struct Entry {
    Request request;
    RequestEvents events;
    bool running = false, held = false;
    size_t position = 0;
    GenerationResult result = {};
  };

  static TokenLogprobInfo logprob_of(int32_t id) {
    return {.chosen = {id, -0.5f}, .top = {{id, -0.5f}, {id + 1, -1.5f}}};
  }
  static void end(Entry& entry, FinishReason reason) {
    entry.result.finish_reason = reason;
    entry.events.on_end(std::move(entry.result), nullptr);
  }

  // One piece for a request; true at its end.
  bool step(Entry& entry) {
    GenerationResult& result = entry.result;
    result.prompt_tokens = static_cast<int64_t>(entry.request.prompt.size());
    result.cached_tokens = 1;
    const std::string& piece = script_.pieces[std::min(entry.position, script_.pieces.size() - 1)];
    ++entry.position;
    if (!piece.empty() && piece == script_.fail_with_numerical_after)
      throw Error(ErrorCode::numerical, "NaN in /secret/path");
    Output output{.num_prompt_tokens_read = result.prompt_tokens,
                  .text = piece,
                  .token_ids = {static_cast<int32_t>(piece[0] & 127)}};
    const bool logprobs = entry.request.sampling.logprobs >= 0;
    if (logprobs) output.logprobs = {logprob_of(output.token_ids[0])};
    if (entry.position == 1 && entry.request.splits_reasoning) output.reasoning = result.reasoning = script_.thoughts;
    result.text += piece;
    result.token_ids.push_back(output.token_ids[0]);
    if (logprobs) result.logprobs.push_back(output.logprobs[0]);
    if (result.prompt_logprobs.empty() && entry.request.prompt_logprobs) {
      for (size_t i = 1; i < entry.request.prompt.size(); ++i)
        result.prompt_logprobs.push_back(logprob_of(entry.request.prompt[i]));
    }
    entry.events.on_output(output);
    const bool full = static_cast<int>(result.token_ids.size()) >= entry.request.sampling.max_tokens;
    if (full) result.finish_reason = FinishReason::length;
    return full || (!script_.endless && entry.position >= script_.pieces.size());
  }

  void run() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      changed_.wait_for(lock, script_.step);
      if (!gate_open_) continue;
      std::vector<RequestId> ids;
      for (const auto& [id, entry] : entries_) ids.push_back(id);
      for (const RequestId id : ids) advance(lock, id);
    }
  }
  // Events are given out without the lock, as the server may call back.
  void advance(std::unique_lock<std::mutex>& lock, RequestId id) {
    const auto found = entries_.find(id);
    if (found == entries_.end() || !found->second.running || found->second.held) return;
    Entry entry = found->second;
    lock.unlock();
    std::exception_ptr error;
    bool over = false;
    try {
      over = step(entry);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    const auto again = entries_.find(id);
    if (again == entries_.end()) return;  // cancelled meanwhile
    const bool held = again->second.held;
    again->second = entry;
    again->second.held = held;
    if (!over && !error) return;
    entries_.erase(again);
    for (auto& [other, waiting] : entries_) {
      if (waiting.running) continue;
      waiting.running = true;
      break;
    }
    lock.unlock();
    entry.events.on_end(std::move(entry.result), error);
    lock.lock();
  }

  Script script_;
  EngineInfo info_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<RequestId, Entry> entries_;
  std::vector<Request> seen_;
  mutable std::string last_chat_;
  RequestId last_id_ = 0;
  std::atomic<int> num_cancelled_{0};
  std::atomic<bool> gate_open_{true};
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace qwin::server
