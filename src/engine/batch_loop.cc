// SPDX-License-Identifier: Apache-2.0
#include "engine/batch_loop.h"

#include <algorithm>
#include <utility>

#include "sampling/logprobs.h"

namespace qwin {

namespace {

double milliseconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

TokenLogprobInfo logprob_of(std::span<const float> logits, int32_t token, int num_top) {
  const double sum = log_sum_exp(logits);
  const auto entry = [&](int32_t id) {
    return TokenProbability{id, static_cast<float>(logits[static_cast<size_t>(id)] - sum)};
  };
  Candidates scratch;
  std::vector<int32_t> best;
  top_ids(logits, static_cast<size_t>(std::max(num_top, 0)), &scratch, &best);
  TokenLogprobInfo info{.chosen = entry(token), .top = {}};
  for (const int32_t id : best) info.top.push_back(entry(id));
  return info;
}

// As many rows at a time as the runner takes.
template <typename Rows, typename Use>
void for_some_rows(const Rows& wanted, Use use) {
  std::vector<int32_t> rows;
  for (size_t first = 0; first < wanted.size(); first += rows.size()) {
    rows.clear();
    for (size_t i = first; i < wanted.size() && rows.size() < kMaxLogitRows; ++i) rows.push_back(wanted[i].row);
    use(std::span<const int32_t>(rows), first);
  }
}

std::string words_of(const std::exception_ptr& fault) {
  try {
    std::rethrow_exception(fault);
  } catch (const std::bad_alloc&) {
    return "out of memory";
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "unknown";
  }
}

}  // namespace

BatchLoop::BatchLoop(Runner& runner, const BatchLoopOptions& options, std::unique_ptr<DiskArchive> archive)
    : runner_(runner),
      options_(options),
      pool_(options.num_pages),
      cache_(pool_, options.scheduler.page_size),
      archive_(std::move(archive)),
      scheduler_(options.scheduler, pool_, cache_, archive_.get()),
      thread_([this] { work(); }) {}

BatchLoop::~BatchLoop() {
  {
    const std::lock_guard lock(mutex_);
    stops_ = has_changed_ = true;
  }
  changed_.notify_all();
  thread_.join();
  while (!active_.empty()) {
    active_.begin()->second->is_cancelled = true;
    tell(end(active_.begin()->first));
  }
}

RequestId BatchLoop::submit(Request request, const CachePlan& plan, std::unique_ptr<Generation> generation,
                            RequestEvents events, PromptReader reader) {
  RequestId id = 0;
  {
    const std::lock_guard lock(mutex_);
    if (!counts_.failure.empty()) throw Error(ErrorCode::broken, "the engine failed and has to be started anew");
    const int places = std::max(0, options_.scheduler.max_sequences - scheduler_.num_active());
    if (scheduler_.num_waiting() >= options_.max_queue_length + places) {
      throw Error(ErrorCode::queue_full,
                  std::to_string(scheduler_.num_waiting()) + " requests wait already; try again later");
    }
    id = ++last_id_;
    auto active = std::make_unique<Active>();
    const bool reads_cache = !reader && !request.prompt_logprobs;
    scheduler_.add({.id = id,
                    .prompt = request.prompt,
                    .client = request.client,
                    .priority = request.priority,
                    .plan = plan,
                    .reads_cache = reads_cache},
                   now());
    active->request = std::move(request);
    active->events = std::make_shared<const RequestEvents>(std::move(events));
    active->generation = std::move(generation);
    active->reader = std::move(reader);
    active->submitted = Clock::now();
    active_.emplace(id, std::move(active));
    has_changed_ = true;
  }
  changed_.notify_all();
  return id;
}

void BatchLoop::cancel(RequestId id) {
  std::optional<Ended> ended;
  {
    const std::lock_guard lock(mutex_);
    const auto found = active_.find(id);
    if (found == active_.end()) return;
    found->second->is_cancelled = true;
    if (!found->second->is_in_hand) ended = end(id);
    has_changed_ = true;
  }
  changed_.notify_all();
  if (ended) tell(std::move(*ended));
}

void BatchLoop::hold(RequestId id, bool held) {
  {
    const std::lock_guard lock(mutex_);
    if (!active_.contains(id)) return;
    scheduler_.hold(id, held);
    has_changed_ = true;
  }
  changed_.notify_all();
}

EngineStats BatchLoop::stats() const {
  const std::lock_guard lock(mutex_);
  EngineStats stats = counts_;
  if (!stats.failure.empty()) return stats;
  stats.requests_held = scheduler_.num_held();
  stats.requests_running = scheduler_.num_active();
  stats.requests_waiting =
      scheduler_.num_running() + scheduler_.num_waiting() - stats.requests_running - stats.requests_held;
  stats.kv_pages_total = pool_.num_pages();
  stats.kv_pages_used = pool_.num_used();
  stats.kv_pages_cached = pool_.num_cached();
  stats.kv_page_size = options_.scheduler.page_size;
  stats.preemptions = scheduler_.num_preemptions();
  if (archive_) {
    DiskArchiveStats disk = archive_->stats();
    stats.prefix_cache_disk_bytes = disk.bytes;
    stats.prefix_cache_write_errors = disk.write_errors;
    stats.prefix_cache_rejected = std::move(disk.rejected);
  }
  const int ahead = stats.requests_waiting + stats.requests_running - options_.scheduler.max_sequences;
  stats.waiting_seconds = ahead < 0 ? 0 : (ahead + 1) * seconds_a_request_;
  return stats;
}

void BatchLoop::work() {
  std::unique_lock lock(mutex_);
  try {
    while (!stops_) work_once(lock);
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    break_down(std::current_exception());
    lock.unlock();
    for (Ended& one : ended_) tell(std::move(one));
  }
}

void BatchLoop::work_once(std::unique_lock<std::mutex>& lock) {
  has_changed_ = false;
  end_overdue();
  const Step step = scheduler_.plan(now());
  if (!step.ranges.empty()) {
    prepare(step);
    lock.unlock();
    const double before = now();
    compute(step);
    lock.lock();
    settle(step, now() - before);
  } else {
    lock.unlock();
    runner_.trim_pages();  // after pages of the cache on disk
    lock.lock();
    if (ended_.empty()) wait(lock, step);
  }
  deliver(lock);
}

// Memory ran out in the middle of a step, say. What the step left half done nobody may build on: all requests end with
// the reason, and scheduler and pages are not touched again.
void BatchLoop::break_down(const std::exception_ptr& reason) {
  counts_.failure = words_of(reason);
  for (auto& [id, active] : active_) ended_.push_back({.events = active->events, .result = {}, .error = reason});
  active_.clear();
}

void BatchLoop::deliver(std::unique_lock<std::mutex>& lock) {
  if (brought_.empty() && ended_.empty()) return;
  lock.unlock();
  for (const Brought& one : brought_) {
    if (one.events->on_output) one.events->on_output(one.output);
  }
  for (Ended& one : ended_) tell(std::move(one));
  lock.lock();
  for (const Brought& one : brought_) {
    if (const auto active = active_.find(one.id); active != active_.end()) active->second->is_in_hand = false;
  }
  brought_.clear();
  ended_.clear();
}

void BatchLoop::wait(std::unique_lock<std::mutex>& lock, const Step& step) {
  std::optional<Clock::time_point> wake;
  const auto at = [&](Clock::time_point time) { wake = wake ? std::min(*wake, time) : time; };
  const auto seconds = [](double s) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(s));
  };
  if (step.wake_at) at(start_ + seconds(*step.wake_at));
  for (const auto& [id, active] : active_) {
    if (active->request.timeout_seconds > 0) at(active->submitted + seconds(active->request.timeout_seconds));
  }
  const auto is_awake = [&] { return has_changed_; };
  if (wake) {
    changed_.wait_until(lock, *wake, is_awake);
  } else {
    changed_.wait(lock, is_awake);
  }
}

void BatchLoop::prepare(const Step& step) {
  batch_.token_ids.clear();
  batch_.ranges.clear();
  logit_rows_.clear();
  hidden_rows_.clear();
  for (const StepRange& range : step.ranges) {
    const Sequence& sequence = scheduler_.sequence(range.id);
    Active& active = *active_.at(range.id);
    active.is_in_hand = true;
    active.next_token.reset();
    if (!active.started) start(active, sequence);
    const size_t first_row = batch_.token_ids.size();
    const auto begin = sequence.token_ids.begin() + range.first_position;
    batch_.token_ids.insert(batch_.token_ids.end(), begin, begin + range.count);
    batch_.ranges.push_back({.pages = sequence.pages.data(),
                             .first_position = range.first_position,
                             .first_row = first_row,
                             .num_tokens = static_cast<size_t>(range.count),
                             .window = sequence.request.plan.window,
                             .num_sinks = sequence.request.plan.num_sinks,
                             .memory = {.top_k = static_cast<int32_t>(sequence.request.plan.memory_top_k),
                                        .from = sequence.request.plan.hybrid_from},
                             .global_parts = sequence.request.plan.global_parts,
                             .global_heads = sequence.request.plan.global_heads});
    const int64_t end = range.first_position + range.count;
    // After a pre-emption the prompt is read again, but its logits have been handed out.
    const bool wants_all = active.reader || active.request.prompt_logprobs;
    const int64_t wanted_from = wants_all ? active.num_prompt_tokens_read : end;
    for (int64_t position = range.first_position; position < end; ++position) {
      const bool is_last = range.is_last && position + 1 == end;
      if (!is_last && position < wanted_from) continue;
      const auto row = static_cast<int32_t>(first_row) + static_cast<int32_t>(position - range.first_position);
      (active.reader.on_hidden_states ? hidden_rows_ : logit_rows_).push_back({row, &active, position, is_last});
    }
    const auto prompt_size = static_cast<int64_t>(active.request.prompt.size());
    active.num_prompt_tokens_read = std::max(active.num_prompt_tokens_read, std::min(end, prompt_size));
  }
}

void BatchLoop::start(Active& active, const Sequence& sequence) {
  active.started = Clock::now();
  active.num_cached = sequence.first_num_cached;
  if (!sequence.request.reads_cache) return;
  counts_.prefix_cache_queried_tokens += active.request.prompt.size();
  counts_.prefix_cache_hit_tokens += static_cast<uint64_t>(active.num_cached);
}

void BatchLoop::compute(const Step& step) {
  for (const PageCopy& copy : step.copies) runner_.copy_page(copy.from, copy.to);
  runner_.run(batch_);
  for_some_rows(logit_rows_, [&](std::span<const int32_t> rows, size_t first) {
    const Matrix logits = runner_.logits(rows);
    const std::span<const WantedRow> wanted = std::span(logit_rows_).subspan(first, rows.size());
    read_prompt_logprobs(wanted, logits);
    for (size_t i = 0; i < rows.size(); ++i) use_logits(wanted[i], {logits.row(i), logits.columns});
  });
  for_some_rows(hidden_rows_, [&](std::span<const int32_t> rows, size_t first) {
    const Matrix hidden = runner_.hidden_states(rows);
    for (size_t i = 0; i < rows.size(); ++i)
      use_hidden_states(hidden_rows_[first + i], {hidden.row(i), hidden.columns});
  });
}

// Each is a pass over the vocabulary and there may be thousands: all threads share them.
void BatchLoop::read_prompt_logprobs(std::span<const WantedRow> rows, const Matrix& logits) {
  std::vector<PromptLogprob> found(rows.size());
  runner_.for_each(rows.size(), [&](size_t i) {
    const Request& request = rows[i].active->request;
    const auto next = static_cast<size_t>(rows[i].position) + 1;
    if (!request.prompt_logprobs || next >= request.prompt.size()) return;
    try {
      const std::span<const float> row(logits.row(i), logits.columns);
      if (!all_finite(row)) throw Error(ErrorCode::numerical, "the model's logits are not finite");
      found[i].logprob = logprob_of(row, request.prompt[next], request.sampling.logprobs);
    } catch (...) {
      found[i].error = std::current_exception();
    }
  });
  for (size_t i = 0; i < rows.size(); ++i) {
    Active& active = *rows[i].active;
    if (found[i].error && !active.error) active.error = found[i].error;
    if (found[i].logprob) active.prompt_logprobs.push_back(std::move(*found[i].logprob));
  }
}

void BatchLoop::use_hidden_states(const WantedRow& row, std::span<const float> hidden_states) {
  Active& active = *row.active;
  if (active.error) return;
  try {
    active.reader.on_hidden_states(row.position, hidden_states);
  } catch (...) {
    active.error = std::current_exception();
  }
}

// A fault ends this request alone.
void BatchLoop::use_logits(const WantedRow& row, std::span<float> logits) {
  Active& active = *row.active;
  if (active.error) return;
  try {
    if (active.reader.on_logits) active.reader.on_logits(row.position, logits);
    if (!row.is_last || !active.generation) return;
    active.next_token = active.generation->take(logits);
    if (!active.first_token) active.first_token = Clock::now();
  } catch (...) {
    active.error = std::current_exception();
  }
}

void BatchLoop::settle(const Step& step, double seconds) {
  scheduler_.complete(step, seconds);
  ++counts_.steps;
  for (const StepRange& range : step.ranges) {
    Active& active = *active_.at(range.id);
    const bool goes_on = !active.is_cancelled && !active.error && advance(range, active);
    Output output = active.generation ? active.generation->take_output() : Output{};
    output.num_prompt_tokens_read = active.num_prompt_tokens_read;
    counts_.generated_tokens += output.token_ids.size();
    brought_.push_back({range.id, active.events, std::move(output)});
    if (!goes_on) ended_.emplace_back() = end(range.id);
  }
}

bool BatchLoop::advance(const StepRange& range, Active& active) {
  const Sequence& sequence = scheduler_.sequence(range.id);
  const bool is_prompt = range.first_position < static_cast<int64_t>(active.request.prompt.size());
  if (is_prompt) counts_.prompt_tokens += static_cast<uint64_t>(range.count);
  if (!range.is_last) return true;
  if (!active.next_token) return false;
  scheduler_.append(range.id, *active.next_token);
  if (sequence.request.plan.forgets() || sequence.size() < options_.context_length) return true;
  active.generation->result().context_full = true;
  active.generation->end(FinishReason::length);
  return false;
}

BatchLoop::Ended BatchLoop::end(RequestId id) {
  scheduler_.finish(id);
  const auto node = active_.extract(id);
  Active& active = *node.mapped();
  Ended ended{.events = active.events, .result = {}, .error = active.error};
  if (active.generation) ended.result = std::move(active.generation->result());
  if (active.is_cancelled) {
    ended.result.finish_reason = FinishReason::cancelled;
    ++counts_.requests_cancelled;
  }
  ended.result.cached_tokens = active.num_cached;
  ended.result.prompt_logprobs = std::move(active.prompt_logprobs);

  const auto time = Clock::now();
  GenerationTimings& timings = ended.result.timings;
  timings.queue_ms = milliseconds(active.started.value_or(time) - active.submitted);
  if (active.first_token) {
    timings.ttft_ms = milliseconds(*active.first_token - active.submitted);
    const auto read = static_cast<double>(static_cast<int64_t>(active.request.prompt.size()) - active.num_cached);
    timings.prefill_tokens_per_second = 1e3 * read / milliseconds(*active.first_token - *active.started);
    const auto steps = static_cast<double>(ended.result.token_ids.size()) - 1;
    const double decode_ms = milliseconds(time - *active.first_token);
    if (steps > 0 && decode_ms > 0) timings.decode_tokens_per_second = 1e3 * steps / decode_ms;
  }
  const double end_time = now(), since = end_time - std::exchange(last_end_, end_time);
  seconds_a_request_ = seconds_a_request_ == 0 ? since : 0.8 * seconds_a_request_ + 0.2 * since;
  return ended;
}

void BatchLoop::end_overdue() {
  const auto time = Clock::now();
  for (auto it = active_.begin(); it != active_.end();) {
    Active& active = *it->second;
    const RequestId id = (it++)->first;
    const double timeout = active.request.timeout_seconds;
    const bool is_late = timeout > 0 && milliseconds(time - active.submitted) >= 1e3 * timeout;
    if (is_late && !active.is_cancelled) {
      active.error = std::make_exception_ptr(
          Error(ErrorCode::timed_out, "the request was not done within its " + std::to_string(timeout) + " seconds"));
    }
    if (is_late || active.is_cancelled) ended_.emplace_back() = end(id);
  }
}

void BatchLoop::tell(Ended ended) {
  if (ended.events && ended.events->on_end) ended.events->on_end(std::move(ended.result), ended.error);
}

}  // namespace qwin
