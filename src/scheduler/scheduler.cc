// SPDX-License-Identifier: Apache-2.0
#include "scheduler/scheduler.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "core/check.h"

namespace qwin {

namespace {

// Kernels take tokens in groups: chunks end where a step's tokens fill them.
constexpr int64_t kTokenGroup = 4;
// The first prompt of a step gets on by as much, however long the step: streams that run never starve a newcomer.
constexpr int64_t kLeastChunk = 8;
// A step of so many costs little more a token than any longer one.
constexpr int64_t kWorthwhileTokens = 32;
// Fetched between two steps: some 10 ms.
constexpr size_t kRestoredPages = 8;

int64_t num_pages(int64_t length, int64_t page_size) { return (length + page_size - 1) / page_size; }

// Keys that the sequence's next tokens attend to at most; for memory, with what finding it costs.
int64_t most_keys(const Sequence& sequence) {
  constexpr int64_t kKeysAPiece = 24;
  const CachePlan& plan = sequence.request.plan;
  if (plan.window == 0 || sequence.num_computed < plan.hybrid_from) return std::numeric_limits<int64_t>::max();
  const auto pieces = plan.memory_top_k + static_cast<int64_t>(plan.global_parts.size());
  return plan.window + plan.num_sinks + kKeysAPiece * pieces;
}

// Earlier entrants have the better claim to memory: whoever came first always gets on.
bool has_better_claim(const Sequence& a, const Sequence& b) {
  return std::tuple(-a.request.priority, a.admission) < std::tuple(-b.request.priority, b.admission);
}

// Whose first token need not wait until the step has taken in as much of this one's prompt as its time allows.
bool is_another_clients(const Sequence& sequence, const Sequence& ended) {
  return sequence.request.client != ended.request.client || sequence.request.priority != ended.request.priority;
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options, PagePool& pool, PrefixCache& cache, PageArchive* archive)
    : options_(options), pool_(pool), cache_(cache), archive_(archive) {}

void Scheduler::add(NewSequence request, double now) {
  QWIN_CHECK(!request.prompt.empty() && !sequences_.contains(request.id));
  if (waiting_.empty() && running_.empty()) first_waiting_since_ = now;
  auto sequence = std::make_unique<Sequence>();
  sequence->token_ids = request.prompt;
  sequence->arrival = ++num_added_;
  sequence->arrival_seconds = now;
  sequence->request = std::move(request);
  shares_.enter(sequence->request.client);
  waiting_.push_back(sequence.get());
  sequences_.emplace(sequence->request.id, std::move(sequence));
}

void Scheduler::append(SequenceId id, int32_t token) {
  Sequence& sequence = *sequences_.at(id);
  sequence.token_ids.push_back(token);
}

void Scheduler::hold(SequenceId id, bool held) { sequences_.at(id)->is_held = held; }

void Scheduler::finish(SequenceId id) {
  Sequence& sequence = *sequences_.at(id);
  QWIN_CHECK(!sequence.is_in_step);
  if (std::erase(running_, &sequence) > 0) {
    give_back_pages(sequence);
  } else {
    std::erase(waiting_, &sequence);
  }
  shares_.leave(sequence.request.client);
  sequences_.erase(id);
}

int Scheduler::num_held() const {
  return static_cast<int>(std::ranges::count(running_, true, &Sequence::is_held) +
                          std::ranges::count(waiting_, true, &Sequence::is_held));
}

int Scheduler::num_active() const { return static_cast<int>(std::ranges::count(running_, false, &Sequence::is_held)); }

// ---- who is in the batch

Sequence* Scheduler::next_waiting(const std::set<SequenceId>& passed_over) const {
  Sequence* best = nullptr;
  const auto rank = [&](const Sequence& s) {
    return std::tuple(-s.request.priority, shares_.served(s.request.client), s.arrival);
  };
  for (Sequence* candidate : waiting_) {
    if (candidate->is_held || passed_over.contains(candidate->request.id)) continue;
    if (best == nullptr || rank(*candidate) < rank(*best)) best = candidate;
  }
  return best;
}

void Scheduler::admit() {
  std::set<SequenceId> passed_over;
  while (Sequence* next = next_waiting(passed_over)) {
    // Asked first: looking into the cache renews what is found there.
    Sequence* holder = has_free_place() ? nullptr : place_holder_for(*next);
    if (holder == nullptr && !has_free_place()) return;
    const bool reads_cache = options_.uses_prefix_cache && next->request.reads_cache;
    const PrefixMatch match =
        reads_cache ? cache_.match(next->request.plan, {next->token_ids.data(), next->token_ids.size() - 1})
                    : cache_.match(next->request.plan, {});
    const int64_t num_matched = static_cast<int64_t>(match.pages.size()) * options_.page_size + match.tail_tokens;
    if (reads_cache && is_being_read(*next, num_matched)) {
      forget(match);
      passed_over.insert(next->request.id);
      continue;
    }
    if (holder != nullptr) preempt(*holder);
    if (!enter(*next, match)) return forget(match);
  }
}

bool Scheduler::is_being_read(const Sequence& sequence, int64_t num_matched) const {
  return std::ranges::any_of(running_, [&](const Sequence* other) {
    if (other->is_held || other->num_left() <= 1 || other->request.plan != sequence.request.plan) return false;
    const auto end = sequence.token_ids.end() - 1;
    const auto agree = std::mismatch(sequence.token_ids.begin(), end, other->token_ids.begin(), other->token_ids.end());
    const int64_t common = (agree.first - sequence.token_ids.begin()) / options_.page_size * options_.page_size;
    return common > num_matched && other->num_computed < common;
  });
}

// One of lower priority, or of a client that has more than its share of places; of these the one with the least claim.
Sequence* Scheduler::place_holder_for(const Sequence& sequence) const {
  std::map<std::string, int> places;
  for (const Sequence* other : running_) {
    if (!other->is_held) ++places[other->request.client];
  }
  Sequence* holder = nullptr;
  const int own = places[sequence.request.client];
  for (Sequence* other : running_) {
    if (other->is_held || other->request.priority > sequence.request.priority) continue;
    const bool lower = other->request.priority < sequence.request.priority;
    const bool richer = places[other->request.client] >= own + 2;
    if ((lower || richer) && (holder == nullptr || has_better_claim(*holder, *other))) holder = other;
  }
  return holder;
}

bool Scheduler::enter(Sequence& sequence, const PrefixMatch& match) {
  const int64_t matched = static_cast<int64_t>(match.pages.size());
  int64_t needed = num_pages(sequence.size() + 1, options_.page_size);
  if (const CachePlan& plan = sequence.request.plan; plan.forgets()) {
    needed = std::min(needed, num_pages(plan.num_sinks, options_.page_size) +
                                  num_pages(plan.window + options_.max_step_tokens, options_.page_size) + 1);
  }
  needed -= std::ranges::count_if(match.pages, [](int32_t page) { return page >= 0; });
  // When nobody else gets on, it will: reserve() takes from the held ones.
  if (needed > pool_.num_free() + pool_.num_cached() && num_active() > 0) return false;

  sequence.node = match.node;
  sequence.nodes = match.nodes;
  sequence.pages = match.pages;
  sequence.num_computed = sequence.num_cached = matched * options_.page_size;
  sequence.num_passed = 0;
  sequence.admission = ++num_admitted_;
  std::erase(waiting_, &sequence);
  running_.push_back(&sequence);
  sequence.tail_node = match.tail_node;
  sequence.tail_tokens = match.tail_tokens;
  sequence.is_restoring = archive_ != nullptr && options_.uses_prefix_cache && sequence.request.reads_cache;
  if (archive_ != nullptr) {
    sequence.digests.assign(1, archive_->root(sequence.request.plan));
    for (size_t i = 0; i < match.nodes.size(); ++i) {
      sequence.digests.push_back(archive_->child(sequence.digests.back(), whole_page(sequence, i)));
    }
  }
  if (!sequence.is_restoring) take_tail(sequence);
  return true;
}

// What is not in memory may be on disk: whole pages, or one that agrees in more tokens than the tail in memory.
void Scheduler::restore(Sequence& sequence) {
  std::vector<PageFetch> fetches;
  std::vector<int64_t> counts;  // tokens of each
  PageDigest parent = sequence.digests.back();
  int64_t end = sequence.num_computed, tail = sequence.tail_tokens;
  while (sequence.is_restoring && fetches.size() < kRestoredPages) {
    const auto found = archive_->find(parent, {sequence.token_ids.begin() + end, sequence.token_ids.end() - 1});
    const int32_t page = found && found->num_tokens > tail ? take_page() : -1;
    sequence.is_restoring = page >= 0 && found->num_tokens == options_.page_size;
    if (page < 0) break;
    fetches.push_back({found->digest, page});
    counts.push_back(found->num_tokens);
    parent = found->digest;
    end += found->num_tokens;
    tail = 0;
  }
  const size_t num_loaded = archive_->load(fetches);
  for (size_t i = 0; i < num_loaded; ++i) {
    if (sequence.tail_node >= 0) cache_.release_tail(sequence.tail_node);
    sequence.tail_node = -1;
    sequence.tail_tokens = 0;
    sequence.pages.push_back(fetches[i].page);
    sequence.num_computed = sequence.num_cached += counts[i];
    cache_whole_pages(sequence);
    release_passed_pages(sequence);
  }
  for (size_t i = num_loaded; i < fetches.size(); ++i) pool_.release(fetches[i].page);
  // The archive has forgotten the one it could not load: there may be another.
  if (num_loaded < fetches.size()) sequence.is_restoring = true;
  if (!sequence.is_restoring) take_tail(sequence);
}

// The last thing before a sequence runs.
void Scheduler::take_tail(Sequence& sequence) {
  if (sequence.tail_node >= 0) {
    if (const int32_t page = take_page(); page >= 0) {
      sequence.pages.push_back(page);
      sequence.num_computed = sequence.num_cached += sequence.tail_tokens;
    } else {
      cache_.release_tail(sequence.tail_node);
      sequence.tail_node = -1;
    }
  }
  if (sequence.first_num_cached < 0) sequence.first_num_cached = sequence.num_cached;
}

void Scheduler::forget(const PrefixMatch& match) {
  for (const int32_t page : match.pages) {
    if (page >= 0) pool_.release(page);
  }
  if (match.tail_node >= 0) cache_.release_tail(match.tail_node);
  cache_.unpin(match.node);
}

// ---- pages

int32_t Scheduler::take_page() {
  int32_t page = pool_.allocate();
  while (page < 0 && cache_.evict()) page = pool_.allocate();
  return page;
}

bool Scheduler::reserve(Sequence& sequence, int64_t length) {
  while (static_cast<int64_t>(sequence.pages.size()) < num_pages(length, options_.page_size)) {
    const int32_t page = take_page();
    if (page >= 0) {
      sequence.pages.push_back(page);
    } else if (Sequence* victim = victim_for(sequence)) {
      preempt(*victim);
    } else {
      return false;
    }
  }
  return true;
}

// The held ones first; of the others the one with the least claim, if that is less than the asking sequence's.
Sequence* Scheduler::victim_for(const Sequence& sequence) const {
  Sequence* victim = nullptr;
  for (Sequence* other : running_) {
    if (other == &sequence || other->is_in_step) continue;
    if (!other->is_held && has_better_claim(*other, sequence)) continue;
    const bool goes_before =
        victim == nullptr || (other->is_held != victim->is_held ? other->is_held : has_better_claim(*victim, *other));
    if (goes_before) victim = other;
  }
  return victim;
}

void Scheduler::preempt(Sequence& sequence) {
  give_back_pages(sequence);
  std::erase(running_, &sequence);
  waiting_.push_back(&sequence);
  ++num_preemptions_;
}

// What was computed stays in the cache until the space is needed.
void Scheduler::give_back_pages(Sequence& sequence) {
  if (sequence.tail_node >= 0) {  // not copied yet
    cache_.release_tail(sequence.tail_node);
    sequence.tail_node = -1;
    sequence.num_computed = static_cast<int64_t>(sequence.nodes.size()) * options_.page_size;
  }
  if (options_.uses_prefix_cache) {
    cache_whole_pages(sequence);
    cache_tail(sequence);
  }
  for (const int32_t page : sequence.pages) {
    if (page >= 0) pool_.release(page);
  }
  cache_.unpin(sequence.node);
  sequence.pages.clear();
  sequence.nodes.clear();
  sequence.digests.clear();
  sequence.node = -1;
  sequence.num_computed = 0;
  sequence.is_restoring = false;
}

void Scheduler::cache_tail(Sequence& sequence) {
  const size_t whole = sequence.nodes.size();
  const auto begin = static_cast<int64_t>(whole) * options_.page_size;
  if (begin == sequence.num_computed) return;
  const std::span<const int32_t> tail(sequence.token_ids.begin() + begin,
                                      sequence.token_ids.begin() + sequence.num_computed);
  sequence.node = cache_.insert(sequence.node, tail, sequence.pages[whole]);
  if (archive_ != nullptr) archive_->store(sequence.digests.back(), tail, sequence.pages[whole]);
}

// Equal content is kept once: where the cache has the page already, the sequence reads that one from now on.
void Scheduler::cache_whole_pages(Sequence& sequence) {
  while (static_cast<int64_t>(sequence.nodes.size() + 1) * options_.page_size <= sequence.num_computed) {
    const size_t i = sequence.nodes.size();
    const std::span<const int32_t> tokens = whole_page(sequence, i);
    sequence.node = cache_.insert(sequence.node, tokens, sequence.pages[i]);
    sequence.nodes.push_back(sequence.node);
    if (archive_ != nullptr) {
      archive_->store(sequence.digests.back(), tokens, sequence.pages[i]);
      sequence.digests.push_back(archive_->child(sequence.digests.back(), tokens));
    }
    const int32_t kept = cache_.page(sequence.node);
    if (kept == sequence.pages[i]) continue;
    pool_.retain(kept);
    pool_.release(sequence.pages[i]);
    sequence.pages[i] = kept;
  }
}

std::span<const int32_t> Scheduler::whole_page(const Sequence& sequence, size_t index) const {
  return std::span(sequence.token_ids)
      .subspan(index * static_cast<size_t>(options_.page_size), static_cast<size_t>(options_.page_size));
}

void Scheduler::release_passed_pages(Sequence& sequence) {
  const CachePlan& plan = sequence.request.plan;
  if (!plan.forgets()) return;
  // The next query, at num_computed, sees keys from num_computed - window + 1 on.
  const int64_t first = num_pages(plan.num_sinks, options_.page_size);
  const int64_t end = (sequence.num_computed - plan.window + 1) / options_.page_size;
  for (int64_t i = first + sequence.num_passed; i < end; ++i, ++sequence.num_passed) {
    int32_t& page = sequence.pages[static_cast<size_t>(i)];
    if (page < 0) continue;
    pool_.release(page);
    page = -1;
    if (i < static_cast<int64_t>(sequence.nodes.size())) cache_.passed(sequence.nodes[static_cast<size_t>(i)]);
  }
}

// ---- what runs

Step Scheduler::plan(double now) {
  Step step;
  if (running_.empty() && !waiting_.empty() && num_waiting() < options_.max_sequences &&
      now < first_waiting_since_ + options_.batch_timeout_seconds) {
    step.wake_at = first_waiting_since_ + options_.batch_timeout_seconds;
    return step;
  }
  admit();
  for (Sequence* sequence : running_) {
    if (sequence->is_restoring) restore(*sequence);
  }
  std::vector<Sequence*> order = running_;
  std::ranges::sort(order, [](const Sequence* a, const Sequence* b) { return has_better_claim(*a, *b); });
  const auto is_candidate = [&](const Sequence* s) {
    return s->node >= 0 && !s->is_held && !s->is_restoring && s->num_left() > 0;
  };

  int num_decoding = 0;
  for (Sequence* sequence : order) {
    if (!is_candidate(sequence) || !sequence->is_decoding()) continue;
    if (num_decoding == options_.max_sequences || step.load.tokens == options_.max_step_tokens) break;
    if (!reserve(*sequence, sequence->size())) continue;
    schedule(*sequence, 1, step);
    ++num_decoding;
  }
  std::ranges::stable_sort(order, {}, [&](const Sequence* s) {
    return std::tuple(-s->request.priority, shares_.served(s->request.client), read_alone_by(*s));
  });
  const Sequence* ended = nullptr;  // the last one whose prompt is read to its end
  bool is_first = true;
  for (Sequence* sequence : order) {
    if (!is_candidate(sequence) || sequence->is_in_step) continue;
    const bool is_short = ended != nullptr && is_another_clients(*sequence, *ended);
    const int64_t count = chunk(*sequence, step, is_short ? kWorthwhileTokens : options_.max_step_tokens, is_first);
    if (count == 0) break;
    if (!reserve(*sequence, sequence->num_computed + count)) continue;
    schedule(*sequence, count, step);
    if (count == sequence->num_left()) ended = sequence;
    is_first = false;
  }
  if (step.ranges.empty() && std::ranges::any_of(running_, &Sequence::is_restoring)) step.wake_at = now;
  return step;
}

// When it would have been read, had nobody else been there. Among one client's prompts that one goes first (virtual
// clock, fair queueing): a short one overtakes a long one, and no one waits for more than twice as long.
double Scheduler::read_alone_by(const Sequence& sequence) const {
  StepLoad load;
  load.add(sequence.num_cached, sequence.size() - sequence.num_cached, most_keys(sequence));
  return sequence.arrival_seconds + cost_.seconds(load);
}

// How much of a prompt the step still takes: as much as its tokens and its time allow.
int64_t Scheduler::chunk(const Sequence& sequence, const Step& step, int64_t max_step_tokens, bool is_first) const {
  const int64_t others = step.load.tokens;
  int64_t most = std::min(sequence.num_left(), std::max<int64_t>(max_step_tokens - others, 0));
  if (options_.max_step_seconds <= 0) return most;
  most = std::min(most, std::max(kLeastChunk, cost_.max_trusted_tokens() - others));
  const auto fits = [&](int64_t count) {
    StepLoad load = step.load;
    load.add(sequence.num_computed, count, most_keys(sequence));
    return cost_.careful_seconds(load) <= options_.max_step_seconds;
  };
  const auto next = [&](int64_t count) {
    return std::min((others + count) / kTokenGroup * kTokenGroup + kTokenGroup - others, most);
  };
  int64_t count = is_first ? std::min(kLeastChunk, most) : 0;
  while (count < most && fits(next(count))) count = next(count);
  return count;
}

void Scheduler::schedule(Sequence& sequence, int64_t count, Step& step) {
  if (sequence.tail_node >= 0) {
    step.copies.push_back({cache_.page(sequence.tail_node), sequence.pages[sequence.nodes.size()]});
  }
  sequence.is_in_step = true;
  step.load.add(sequence.num_computed, count, most_keys(sequence));
  step.ranges.push_back({sequence.request.id, sequence.num_computed, count, count == sequence.num_left()});
}

void Scheduler::complete(const Step& step, double seconds) {
  cost_.observe(step.load, seconds);
  for (const StepRange& range : step.ranges) {
    Sequence& sequence = *sequences_.at(range.id);
    sequence.is_in_step = false;
    if (sequence.tail_node >= 0) cache_.release_tail(sequence.tail_node);
    sequence.tail_node = -1;
    sequence.num_computed += range.count;
    shares_.serve(sequence.request.client, range.count);
    if (options_.uses_prefix_cache) cache_whole_pages(sequence);
    release_passed_pages(sequence);
  }
}

}  // namespace qwin
