// SPDX-License-Identifier: Apache-2.0
// The thread on which requests go forward together: takes them in, asks the scheduler for the next step, lets the
// runner compute it, chooses tokens, hands out what came.
#pragma once

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "engine/generation.h"
#include "kv_store/disk_archive.h"
#include "qwin/engine.h"
#include "runner/runner.h"
#include "scheduler/scheduler.h"

namespace qwin {

// What is wanted of every position of a prompt; at most one is set.
struct PromptReader {
  OnLogits on_logits = {};
  OnHiddenStates on_hidden_states = {};

  explicit operator bool() const { return on_logits || on_hidden_states; }
};

struct BatchLoopOptions {
  SchedulerOptions scheduler;
  int max_queue_length = 256;
  int64_t context_length = 0;  // of exact attention
  int32_t num_pages = 0;
};

// Thread-safe. `mutex_` guards requests and scheduler; it is not held while a step computes or while events are handed
// out. The runner belongs to the loop's thread.
class BatchLoop {
 public:
  // `archive` may be null.
  BatchLoop(Runner& runner, const BatchLoopOptions& options, std::unique_ptr<DiskArchive> archive);
  // Cancels what is left.
  ~BatchLoop();
  BatchLoop(const BatchLoop&) = delete;
  BatchLoop& operator=(const BatchLoop&) = delete;

  // `generation` is null when the prompt is only read. Throws Error(queue_full).
  RequestId submit(Request request, const CachePlan& plan, std::unique_ptr<Generation> generation, RequestEvents events,
                   PromptReader reader = {});
  void cancel(RequestId id);
  void hold(RequestId id, bool held);
  EngineStats stats() const;

 private:
  using Clock = std::chrono::steady_clock;

  // A request between submit() and its end. While the loop's thread has it in hand (in a step, or handing out what the
  // step brought), that thread alone touches all but `is_cancelled`.
  struct Active {
    Request request;
    std::shared_ptr<const RequestEvents> events;
    std::unique_ptr<Generation> generation;
    PromptReader reader;
    bool is_in_hand = false;
    bool is_cancelled = false;
    std::exception_ptr error;
    std::optional<int32_t> next_token;
    std::vector<TokenLogprobInfo> prompt_logprobs;
    Clock::time_point submitted;
    std::optional<Clock::time_point> started, first_token;
    int64_t num_cached = 0;
    int64_t num_prompt_tokens_read = 0;
  };
  struct Brought {
    RequestId id = 0;
    std::shared_ptr<const RequestEvents> events;
    Output output;
  };
  struct Ended {
    std::shared_ptr<const RequestEvents> events;
    GenerationResult result;
    std::exception_ptr error;
  };
  // A row of the batch whose logits (or hidden states) are wanted, and for whom.
  struct WantedRow {
    int32_t row = 0;
    Active* active = nullptr;
    int64_t position = 0;
    bool is_last = false;
  };

  void work();
  void work_once(std::unique_lock<std::mutex>& lock);
  void break_down(const std::exception_ptr& reason);
  // What the runner needs, copied while the mutex is held.
  void prepare(const Step& step);
  void start(Active& active, const Sequence& sequence);
  void compute(const Step& step);
  struct PromptLogprob {
    std::optional<TokenLogprobInfo> logprob;
    std::exception_ptr error;
  };
  // `logits`: [rows.size(), vocab_size]
  void read_prompt_logprobs(std::span<const WantedRow> rows, const Matrix& logits);
  void use_logits(const WantedRow& row, std::span<float> logits);
  static void use_hidden_states(const WantedRow& row, std::span<const float> hidden_states);
  void settle(const Step& step, double seconds);
  // True when the sequence goes on.
  bool advance(const StepRange& range, Active& active);
  void deliver(std::unique_lock<std::mutex>& lock);
  // Ends what was cancelled while in hand, and what is too late.
  void end_overdue();
  // Requires: the request is not in hand.
  Ended end(RequestId id);
  static void tell(Ended ended);
  void wait(std::unique_lock<std::mutex>& lock, const Step& step);
  double now() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

  Runner& runner_;
  const BatchLoopOptions options_;
  const Clock::time_point start_ = Clock::now();

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stops_ = false;
  bool has_changed_ = false;
  PagePool pool_;
  PrefixCache cache_;
  const std::unique_ptr<DiskArchive> archive_;
  Scheduler scheduler_;
  std::map<RequestId, std::unique_ptr<Active>> active_;
  RequestId last_id_ = 0;
  EngineStats counts_;
  double seconds_a_request_ = 0;  // between the ends of two requests, smoothed
  double last_end_ = 0;

  // The step under way.
  Batch batch_;
  std::vector<WantedRow> logit_rows_, hidden_rows_;
  // What is to be told when the mutex is free.
  std::vector<Brought> brought_;
  std::vector<Ended> ended_;

  std::thread thread_;
};

}  // namespace qwin
