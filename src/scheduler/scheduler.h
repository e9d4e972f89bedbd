// SPDX-License-Identifier: Apache-2.0
// Decides what runs in the next step: who is in the batch, how much of which prompt, whose pages go when there are too
// few. Counts and ids only; it reads no clock and computes nothing (Orca's iteration-level batching, Sarathi's chunked
// prefill with a budget in seconds).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "kv_cache/page_archive.h"
#include "kv_cache/page_pool.h"
#include "kv_cache/prefix_cache.h"
#include "scheduler/client_shares.h"
#include "scheduler/cost_model.h"
#include "scheduler/sequence.h"

namespace qwin {

struct SchedulerOptions {
  int max_sequences = 16;            // in one step
  int64_t max_step_tokens = 256;     // in one step
  double max_step_seconds = 0;       // what prompts may fill a step up to; 0: no limit
  double batch_timeout_seconds = 0;  // how long a first request may be held while nothing runs
  int64_t page_size = 64;
  bool uses_prefix_cache = true;
};

struct PageCopy {
  int32_t from = -1, to = -1;
};

struct StepRange {
  SequenceId id = 0;
  int64_t first_position = 0;
  int64_t count = 0;
  bool is_last = false;  // ends with the sequence's last token: its logits choose the next one
};

struct Step {
  std::vector<PageCopy> copies;  // before anything runs
  std::vector<StepRange> ranges;
  StepLoad load;
  std::optional<double> wake_at;  // nothing to run before
};

// Single-threaded. One step at a time: plan(), then complete(), then append() or finish() for its sequences; the other
// methods may come in between.
//   waiting   not in the batch, no pages;  running   in the batch;  held   either, but left out of steps
class Scheduler {
 public:
  // `archive` may be null.
  Scheduler(const SchedulerOptions& options, PagePool& pool, PrefixCache& cache, PageArchive* archive = nullptr);

  void add(NewSequence sequence, double now);
  bool contains(SequenceId id) const { return sequences_.contains(id); }
  const Sequence& sequence(SequenceId id) const { return *sequences_.at(id); }
  // The token chosen from the last logits.
  void append(SequenceId id, int32_t token);
  void hold(SequenceId id, bool held);
  // Ended, by itself or by someone: pages go to the prefix cache. Requires: not in a step under way.
  void finish(SequenceId id);

  Step plan(double now);
  // K and V of the step are in the pages, and it took this long.
  void complete(const Step& step, double seconds);

  int num_running() const { return static_cast<int>(running_.size()); }
  int num_waiting() const { return static_cast<int>(waiting_.size()); }
  int num_held() const;
  // Running and not held.
  int num_active() const;
  uint64_t num_preemptions() const { return num_preemptions_; }

 private:
  void admit();
  Sequence* next_waiting(const std::set<SequenceId>& passed_over) const;
  // Another sequence is just reading what this one begins with: it is cheaper to wait for it.
  bool is_being_read(const Sequence& sequence, int64_t num_matched) const;
  bool has_free_place() const { return num_active() < options_.max_sequences; }
  // When no place is free: who has less claim to one than `sequence`.
  Sequence* place_holder_for(const Sequence& sequence) const;
  bool enter(Sequence& sequence, const PrefixMatch& match);
  void forget(const PrefixMatch& match);
  // Fetches a few pages from the archive; the sequence runs when there is no more.
  void restore(Sequence& sequence);
  void take_tail(Sequence& sequence);
  // -1 when all are in use.
  int32_t take_page();
  // Pages for positions [0, length); evicts and pre-empts for them. False when others have the better claim.
  bool reserve(Sequence& sequence, int64_t length);
  Sequence* victim_for(const Sequence& sequence) const;
  void preempt(Sequence& sequence);
  void give_back_pages(Sequence& sequence);
  void release_passed_pages(Sequence& sequence);
  void cache_whole_pages(Sequence& sequence);
  void cache_tail(Sequence& sequence);
  std::span<const int32_t> whole_page(const Sequence& sequence, size_t index) const;
  void schedule(Sequence& sequence, int64_t count, Step& step);
  double read_alone_by(const Sequence& sequence) const;
  int64_t chunk(const Sequence& sequence, const Step& step, int64_t max_step_tokens, bool is_first) const;

  SchedulerOptions options_;
  PagePool& pool_;
  PrefixCache& cache_;
  PageArchive* archive_;
  CostModel cost_;
  ClientShares shares_;
  std::map<SequenceId, std::unique_ptr<Sequence>> sequences_;
  std::vector<Sequence*> waiting_, running_;  // waiting: any order; running: in order of admission
  uint64_t num_added_ = 0, num_admitted_ = 0, num_preemptions_ = 0;
  double first_waiting_since_ = 0;
};

}  // namespace qwin
