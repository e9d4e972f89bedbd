// SPDX-License-Identifier: Apache-2.0
// A document in rounds: one request a segment, then one a group of answers, until one answer is left.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <filesystem>
#include <mutex>
#include <utility>

#include "core/json.h"
#include "document/journal.h"
#include "document/prompts.h"
#include "document/sentences.h"
#include "qwin/document.h"
#include "tokenizer/unicode.h"

namespace qwin {

namespace {

using Clock = std::chrono::steady_clock;

// Answers that are put together at a time, in segments: a model keeps more of few long texts than of many rounds.
constexpr int64_t kGroupSegments = 4;

struct Event {
  size_t item = 0;
  std::string text = {};     // new text of the last answer
  bool prompt_read = false;  // for the first time
  bool is_end = false;
  GenerationResult result = {};
  std::exception_ptr error = {};
};

// Filled on the engine's thread, emptied by the one that drives the run.
struct Mailbox {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Event> events;
  std::function<void()> wake;

  void put(Event event) {
    const std::lock_guard lock(mutex);
    events.push_back(std::move(event));
    changed.notify_all();
    if (wake) wake();
  }
};

// What decides the answers over segments, as a name.
std::string journal_key(const Engine& engine, std::string_view text, const DocumentOptions& options,
                        const DocumentPrompts& prompts) {
  const SamplingParams& s = options.request.sampling;
  const Request& r = options.request;
  const EngineInfo& info = engine.info();
  Json key{{"model", {info.model_name, info.path, info.num_parameters, info.weight_bytes, info.kv_type}},
           {"text", sha256_of_text(text)},
           {"asked", {prompts.segment_instruction(), options.system, options.raw}},
           {"segments", {options.segment_tokens, options.overlap}},
           {"attention",
            {attention_type_name(r.attention_type.value_or(info.attention.type)), r.window.value_or(-1),
             r.num_sink_tokens.value_or(-1), r.memory_top_k.value_or(-1)}},
           {"sampling",
            {s.temperature, s.top_k, s.top_p, s.min_p, s.repetition_penalty, s.presence_penalty, s.frequency_penalty,
             s.logit_bias, s.seed.value_or(0), s.max_tokens, s.min_tokens, s.stop, s.stop_token_ids, s.ignore_eos}}};
  return sha256_of_text(key.dump(-1, ' ', false, Json::error_handler_t::replace));
}

// Half a sentence is taken for a statement by who reads it next. A single one stays.
void cut_to_sentences(std::string& text) {
  const std::vector<size_t> ends = sentence_ends(text);
  if (ends.size() > 1) text.resize(ends[ends.size() - 2]);
}

}  // namespace

const char* document_method_name(DocumentMethod method) {
  return method == DocumentMethod::one_pass ? "one_pass" : "segments";
}

DocumentMethod document_method_of(const std::string& name) {
  if (name == "segments") return DocumentMethod::segments;
  if (name == "one_pass") return DocumentMethod::one_pass;
  throw Error(ErrorCode::invalid_argument, "method must be segments or one_pass, not " + name.substr(0, 64));
}

// One round's requests are items 0 … prompts.size() - 1:
//   [0, next)   submitted or answered before
//   answers     those that have ended
struct DocumentRun::State {
  State(Engine& engine_in, std::string text_in, DocumentOptions options_in, DocumentEvents events_in);
  ~State();

  bool advance();
  void take(Event event);
  void end(size_t item, GenerationResult result);
  void submit_more();
  bool submit(size_t item);
  bool is_last_round() const { return answers.size() == 1; }
  bool round_is_over() const { return num_answered == answers.size(); }
  void begin_round(std::vector<std::vector<int32_t>> round);
  void begin_reduce();
  void finish();
  Request request_of(size_t item) const;
  void tell_progress() const;

  Engine& engine;
  const std::string text;
  DocumentOptions options;
  const DocumentEvents events;
  const DocumentPrompts prompts;
  const Clock::time_point start = Clock::now();
  std::optional<Journal> journal;
  const std::shared_ptr<Mailbox> mailbox = std::make_shared<Mailbox>();
  DocumentResult result;

  size_t round_number = 0;
  std::vector<std::vector<int32_t>> round_prompts;  // emptied when submitted
  std::vector<std::optional<std::string>> answers;
  size_t next = 0, num_answered = 0;
  size_t num_before = 0;        // requests of earlier rounds
  bool prefix_is_read = false;  // what all prompts of the round begin with is in the prefix cache
  bool is_held = false, is_over = false;
  const std::shared_ptr<std::atomic<bool>> has_stepped = std::make_shared<std::atomic<bool>>(false);
  std::vector<std::pair<size_t, RequestId>> running;
};

DocumentRun::State::State(Engine& engine_in, std::string text_in, DocumentOptions options_in, DocumentEvents events_in)
    : engine(engine_in),
      text(std::move(text_in)),
      options(std::move(options_in)),
      events(std::move(events_in)),
      prompts(engine, options, text) {
  for (const std::string_view given :
       {std::string_view(text), std::string_view(options.instruction), std::string_view(options.reduce_instruction),
        std::string_view(options.system)}) {
    if (!unicode::is_valid_utf8(given))
      throw Error(ErrorCode::invalid_argument, "a document and its instructions must be UTF-8");
  }
  options.request.sampling.validate();
  result.segments = split_document(engine, text, options.segment_tokens, options.overlap);
  if (result.segments.empty()) throw Error(ErrorCode::invalid_argument, "the document is empty");
  if (options.method == DocumentMethod::one_pass) {
    if (!options.partial_answers.empty() || !options.journal.empty())
      throw Error(ErrorCode::invalid_argument, "one_pass has no answers over segments to go on from");
    if (!options.request.attention_type) options.request.attention_type = AttentionType::hybrid;
    result.segments = {{0, text.size(), static_cast<int64_t>(engine.tokenize(text, false).size())}};
    begin_round({prompts.of_document(text)});
    return;
  }
  if (options.partial_answers.size() > result.segments.size()) {
    throw Error(ErrorCode::invalid_argument, "there are " + std::to_string(options.partial_answers.size()) +
                                                 " partial_answers, but only " +
                                                 std::to_string(result.segments.size()) + " segments");
  }
  options.partial_answers.resize(result.segments.size());
  if (!options.journal.empty()) {
    const std::string key = journal_key(engine, text, options, prompts);
    const bool is_folder = std::filesystem::is_directory(options.journal);
    journal.emplace(is_folder ? options.journal + "/" + key + ".jsonl" : options.journal, key, options.partial_answers);
  }
  begin_round(std::vector<std::vector<int32_t>>(result.segments.size()));
  for (size_t i = 0; i < answers.size(); ++i) {
    if (!options.partial_answers[i]) continue;
    answers[i] = std::move(options.partial_answers[i]);
    ++num_answered;
  }
}

DocumentRun::State::~State() {
  {
    const std::lock_guard lock(mailbox->mutex);
    mailbox->wake = nullptr;
  }
  for (const auto& [item, id] : running) engine.cancel(id);
}

void DocumentRun::State::tell_progress() const {
  if (events.on_progress) events.on_progress(num_before + num_answered, num_before + answers.size());
}

void DocumentRun::State::begin_round(std::vector<std::vector<int32_t>> round) {
  num_before += answers.size();
  round_prompts = std::move(round);
  answers.assign(round_prompts.size(), std::nullopt);
  next = num_answered = 0;
  prefix_is_read = false;
  ++round_number;
}

bool DocumentRun::State::advance() {
  std::deque<Event> taken;
  {
    const std::lock_guard lock(mailbox->mutex);
    taken.swap(mailbox->events);
  }
  for (Event& event : taken) take(std::move(event));
  while (!is_over && round_is_over()) {
    if (is_last_round()) {
      finish();
    } else {
      begin_reduce();
    }
  }
  if (!is_over) submit_more();
  return is_over;
}

void DocumentRun::State::take(Event event) {
  if (event.prompt_read) prefix_is_read = true;
  if (!event.text.empty() && events.on_text) events.on_text(event.text);
  if (!event.is_end) return;
  std::erase_if(running, [&](const auto& one) { return one.first == event.item; });
  if (event.error) std::rethrow_exception(event.error);
  if (event.result.finish_reason == FinishReason::cancelled) throw Error(ErrorCode::cancelled, "the engine is closing");
  prefix_is_read = true;
  end(event.item, std::move(event.result));
}

void DocumentRun::State::end(size_t item, GenerationResult ended) {
  result.prompt_tokens += ended.prompt_tokens;
  result.cached_tokens += ended.cached_tokens;
  result.completion_tokens += static_cast<int64_t>(ended.token_ids.size());
  result.finish_reason = ended.finish_reason;
  result.attention = ended.attention;
  answers[item] = std::move(ended.text);
  if (ended.finish_reason == FinishReason::length && !is_last_round()) cut_to_sentences(*answers[item]);
  ++num_answered;
  if (round_number == 1 && options.method == DocumentMethod::segments) {
    if (journal) journal->add(item, *answers[item]);
    if (events.on_partial_answer) events.on_partial_answer(item, *answers[item]);
  }
  tell_progress();
}

// As many as run at once. Of a round, the first one goes ahead until its prompt is read: the others then find what they
// begin with in the prefix cache.
void DocumentRun::State::submit_more() {
  const auto most = static_cast<size_t>(std::max(1, engine.info().max_batch_size));
  for (; next < answers.size(); ++next) {
    if (answers[next]) continue;
    if (running.size() >= most || (!running.empty() && !prefix_is_read)) return;
    if (!submit(next)) return;
  }
}

// False when the engine's queue is full and one of our own requests will make room.
bool DocumentRun::State::submit(size_t item) {
  Request request = request_of(item);
  const bool tells_text = is_last_round();
  const auto prompt_size = static_cast<int64_t>(request.prompt.size());
  auto was_read = std::make_shared<std::atomic<bool>>(false);
  RequestEvents told{
      .on_output =
          [box = mailbox, stepped = has_stepped, item, tells_text, prompt_size, was_read](const Output& output) {
            *stepped = true;
            const bool is_read = output.num_prompt_tokens_read >= prompt_size && !was_read->exchange(true);
            const bool has_text = tells_text && !output.text.empty();
            if (is_read || has_text)
              box->put({.item = item, .text = has_text ? output.text : "", .prompt_read = is_read});
          },
      .on_end =
          [box = mailbox, item](GenerationResult ended, std::exception_ptr error) {
            box->put({.item = item, .is_end = true, .result = std::move(ended), .error = std::move(error)});
          }};
  try {
    const RequestId id = engine.submit(std::move(request), std::move(told));
    running.emplace_back(item, id);
    if (is_held) engine.hold(id, true);
    return true;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::queue_full || running.empty()) throw;
    return false;
  }
}

Request DocumentRun::State::request_of(size_t item) const {
  Request request = options.request;
  request.prompt = round_prompts[item];
  if (request.prompt.empty()) {
    const DocumentSegment& segment = result.segments[item];
    const auto part = std::string_view(text).substr(segment.begin, segment.end - segment.begin);
    request.prompt = is_last_round() ? prompts.of_document(part) : prompts.of_segment(part);
  }
  request.splits_reasoning = !options.raw;
  if (request.timeout_seconds > 0) {
    const double spent = std::chrono::duration<double>(Clock::now() - start).count();
    request.timeout_seconds = std::max(1e-3, request.timeout_seconds - spent);
  }
  return request;
}

// The answers of a round in groups that fit a prompt; two at least, so that there are fewer of them.
void DocumentRun::State::begin_reduce() {
  const int64_t limit = std::max(options.segment_tokens,
                                 std::min(kGroupSegments * options.segment_tokens, engine.info().context_length / 2));
  std::vector<std::string> texts;
  for (std::optional<std::string>& answer : answers) texts.push_back(std::move(*answer));
  std::vector<std::vector<int32_t>> round;
  for (size_t begin = 0, end = 0; begin < texts.size(); begin = end) {
    int64_t tokens = 0;
    for (end = begin; end < texts.size(); ++end) {
      tokens += static_cast<int64_t>(engine.tokenize(texts[end], false).size());
      if (end >= begin + 2 && tokens > limit) break;
    }
    if (end + 1 == texts.size()) ++end;  // none is left alone
    round.push_back(prompts.of_answers(std::span(texts).subspan(begin, end - begin)));
  }
  if (round_number == 1) result.partial_answers = std::move(texts);
  begin_round(std::move(round));
  tell_progress();
}

void DocumentRun::State::finish() {
  result.text = std::move(*answers.front());
  if (round_number == 1) {
    result.partial_answers = {result.text};
    if (result.completion_tokens == 0 && events.on_text) events.on_text(result.text);  // known before
  }
  if (journal) journal->remove();
  is_over = true;
}

DocumentRun::DocumentRun(Engine& engine, std::string text, DocumentOptions options, DocumentEvents events)
    : state_(std::make_unique<State>(engine, std::move(text), std::move(options), std::move(events))) {}

DocumentRun::~DocumentRun() = default;

void DocumentRun::attach(std::function<void()> wake) {
  const std::lock_guard lock(state_->mailbox->mutex);
  state_->mailbox->wake = std::move(wake);
}

bool DocumentRun::advance() { return state_->advance(); }

bool DocumentRun::wait(double seconds) {
  Mailbox& box = *state_->mailbox;
  std::unique_lock lock(box.mutex);
  return box.changed.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return !box.events.empty(); });
}

bool DocumentRun::has_begun() const {
  return state_->is_over || state_->round_number > 1 || state_->prefix_is_read || *state_->has_stepped;
}

void DocumentRun::hold(bool held) {
  state_->is_held = held;
  for (const auto& [item, id] : state_->running) state_->engine.hold(id, held);
}

const DocumentResult& DocumentRun::result() const { return state_->result; }

DocumentResult process_document(Engine& engine, std::string text, DocumentOptions options, DocumentEvents events,
                                const std::function<bool()>& tick) {
  constexpr double kTickSeconds = 0.1;
  DocumentRun run(engine, std::move(text), std::move(options), std::move(events));
  while (!run.advance()) {
    if (tick && !tick()) throw Error(ErrorCode::cancelled, "stopped before the document was done");
    run.wait(kTickSeconds);
  }
  return run.result();
}

}  // namespace qwin
