// SPDX-License-Identifier: Apache-2.0
// The scheduler with a fake model, whose "K and V" of a position is a hash of all tokens up to it: whoever reads a page
// that was given away, copied wrongly or never written is found out.
#include "scheduler/scheduler.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

namespace qwin {
namespace {

constexpr int64_t kPage = 4;

uint64_t mix(uint64_t hash, int32_t token, const CachePlan& plan) {
  hash = (hash ^ static_cast<uint32_t>(token)) * 0x9E3779B97F4A7C15u;
  hash ^= hash >> 29;
  return hash + static_cast<uint64_t>(plan.window) + std::hash<std::string>()(plan.salt);
}

std::vector<uint64_t> hashes(const std::vector<int32_t>& tokens, const CachePlan& plan) {
  std::vector<uint64_t> result;
  uint64_t hash = 1;
  for (const int32_t token : tokens) result.push_back(hash = mix(hash, token, plan));
  return result;
}

class FakeModel {
 public:
  explicit FakeModel(int32_t num_pages) : memory_(static_cast<size_t>(num_pages) * kPage) {}

  std::span<uint64_t> page(int32_t id) { return std::span(memory_).subspan(static_cast<size_t>(id) * kPage, kPage); }

  void run(const Step& step, const Scheduler& scheduler) {
    for (const PageCopy& copy : step.copies) {
      std::copy_n(memory_.begin() + copy.from * kPage, kPage, memory_.begin() + copy.to * kPage);
    }
    for (const StepRange& range : step.ranges) {
      const Sequence& s = scheduler.sequence(range.id);
      const std::vector<uint64_t> expected = hashes(s.token_ids, s.request.plan);
      for (int64_t p = range.first_position; p < range.first_position + range.count; ++p) {
        at(s, p) = expected[static_cast<size_t>(p)];
        check(s, p, expected);
      }
    }
  }

 private:
  uint64_t& at(const Sequence& s, int64_t position) {
    const int32_t page = s.pages.at(static_cast<size_t>(position / kPage));
    EXPECT_GE(page, 0) << "position " << position;
    return memory_[static_cast<size_t>(std::max(page, 0) * kPage + position % kPage)];
  }
  // Everything the query at `position` attends to is what it should be.
  void check(const Sequence& s, int64_t position, const std::vector<uint64_t>& expected) {
    const CachePlan& plan = s.request.plan;
    for (int64_t p = 0; p <= position; ++p) {
      const bool seen = plan.window == 0 || p > position - plan.window || p < plan.num_sinks;
      if (seen) {
        ASSERT_EQ(at(s, p), expected[static_cast<size_t>(p)])
            << "sequence " << s.request.id << " at " << position << " reads a wrong " << p;
      }
    }
  }

  std::vector<uint64_t> memory_;
};

// Keeps the fake model's pages beyond memory; every seventh load fails, and forgets the page.
class FakeArchive : public PageArchive {
 public:
  explicit FakeArchive(FakeModel& model) : model_(model) {}

  PageDigest root(const CachePlan& plan) const override { return digest(mix(1, 0, plan)); }
  PageDigest child(const PageDigest& parent, std::span<const int32_t> tokens) const override {
    uint64_t hash = 0;
    std::memcpy(&hash, parent.data(), sizeof(hash));
    for (const int32_t token : tokens) hash = mix(hash, token, {});
    return digest(hash);
  }
  std::optional<Match> find(const PageDigest& parent, std::span<const int32_t> tokens) override {
    std::optional<Match> best;
    for (const auto& [name, entry] : entries_) {
      if (entry.parent != parent) continue;
      const auto end = std::mismatch(entry.tokens.begin(), entry.tokens.end(), tokens.begin(), tokens.end()).first;
      const int64_t agree = end - entry.tokens.begin();
      if (agree > 0 && (!best || agree > best->num_tokens)) best = Match{name, agree};
    }
    return best;
  }
  size_t load(std::span<const PageFetch> fetches) override {
    for (size_t i = 0; i < fetches.size(); ++i) {
      if (++num_loads_ % 7 == 0) {
        entries_.erase(fetches[i].digest);
        return i;
      }
      std::ranges::copy(entries_.at(fetches[i].digest).content, model_.page(fetches[i].page).begin());
    }
    return fetches.size();
  }
  void store(const PageDigest& parent, std::span<const int32_t> tokens, int32_t page) override {
    entries_[child(parent, tokens)] = {
        parent, {tokens.begin(), tokens.end()}, {model_.page(page).begin(), model_.page(page).end()}};
  }
  int num_loads() const { return num_loads_; }

 private:
  struct Entry {
    PageDigest parent;
    std::vector<int32_t> tokens;
    std::vector<uint64_t> content;
  };
  static PageDigest digest(uint64_t hash) {
    PageDigest digest{};
    std::memcpy(digest.data(), &hash, sizeof(hash));
    return digest;
  }

  FakeModel& model_;
  std::map<PageDigest, Entry> entries_;
  int num_loads_ = 0;
};

class SchedulerTest : public testing::Test {
 protected:
  void start(int32_t num_pages, SchedulerOptions options = {}, bool with_archive = false) {
    options.page_size = kPage;
    pool_ = std::make_unique<PagePool>(num_pages);
    cache_ = std::make_unique<PrefixCache>(*pool_, kPage);
    model_ = std::make_unique<FakeModel>(num_pages);
    archive_ = with_archive ? std::make_unique<FakeArchive>(*model_) : nullptr;
    scheduler_ = std::make_unique<Scheduler>(options, *pool_, *cache_, archive_.get());
  }
  void add(SequenceId id, std::vector<int32_t> prompt, NewSequence rest = {}) {
    rest.id = id;
    rest.prompt = std::move(prompt);
    scheduler_->add(std::move(rest), now_);
  }
  static std::vector<int32_t> prompt(int32_t first, size_t length) {
    std::vector<int32_t> tokens(length);
    for (size_t i = 0; i < length; ++i) tokens[i] = first + static_cast<int32_t>(i);
    return tokens;
  }
  // One step; every sequence that has been read gets its next token (a function of its text) or ends.
  Step step(double seconds = 0.01, double seconds_a_token = 0) {
    Step step = scheduler_->plan(now_);
    model_->run(step, *scheduler_);
    seconds += seconds_a_token * static_cast<double>(step.load.tokens);
    now_ += seconds;
    scheduler_->complete(step, seconds);
    for (const StepRange& range : step.ranges) {
      if (!range.is_last) continue;
      const Sequence& s = scheduler_->sequence(range.id);
      const int64_t written = s.size() - static_cast<int64_t>(s.request.prompt.size());
      if (written >= answer_length_) {
        answers_[range.id] = {s.token_ids.begin() + static_cast<std::ptrdiff_t>(s.request.prompt.size()),
                              s.token_ids.end()};
        scheduler_->finish(range.id);
      } else {
        scheduler_->append(range.id, static_cast<int32_t>(hashes(s.token_ids, s.request.plan).back() % 5));
      }
    }
    return step;
  }
  void run_until_idle(int limit = 10000) {
    for (int i = 0; scheduler_->num_running() + scheduler_->num_waiting() > 0; ++i) {
      ASSERT_LT(i, limit) << "someone starves";
      step();
    }
  }
  void expect_idle() {
    EXPECT_EQ(pool_->num_used(), 0);
    EXPECT_EQ(pool_->num_free() + pool_->num_cached(), pool_->num_pages());
    cache_->clear();
    EXPECT_EQ(pool_->num_free(), pool_->num_pages());
    EXPECT_EQ(cache_->num_nodes(), 0);
  }
  static std::vector<SequenceId> ids(const Step& step) {
    std::vector<SequenceId> result;
    for (const StepRange& range : step.ranges) result.push_back(range.id);
    return result;
  }

  std::unique_ptr<PagePool> pool_;
  std::unique_ptr<PrefixCache> cache_;
  std::unique_ptr<Scheduler> scheduler_;
  std::unique_ptr<FakeModel> model_;
  std::unique_ptr<FakeArchive> archive_;
  std::map<SequenceId, std::vector<int32_t>> answers_;
  int64_t answer_length_ = 6;
  double now_ = 0;
};

TEST_F(SchedulerTest, PromptsAreReadInChunksAndDecodingGoesOnBesideThem) {
  start(100, {.max_step_tokens = 32});
  add(1, prompt(0, 3));
  step();
  add(2, prompt(100, 70));
  const Step both = step();
  EXPECT_EQ(ids(both), (std::vector<SequenceId>{1, 2}));
  EXPECT_EQ(both.ranges[0].count, 1);
  EXPECT_EQ(both.ranges[1].count, 31);
  EXPECT_FALSE(both.ranges[1].is_last);
  run_until_idle();
  expect_idle();
}

TEST_F(SchedulerTest, ATimeLimitShrinksTheChunks) {
  start(1000, {.max_step_tokens = 256, .max_step_seconds = 0.1});
  add(1, prompt(0, 2000));
  for (int i = 0; i < 40; ++i) {  // 1 ms a token
    const Step planned = scheduler_->plan(now_);
    model_->run(planned, *scheduler_);
    scheduler_->complete(planned, 0.001 * static_cast<double>(planned.load.tokens));
    if (i < 6) continue;  // first it must learn
    EXPECT_GE(planned.load.tokens, std::min<int64_t>(64, 2000 - planned.ranges[0].first_position));
    EXPECT_LE(planned.load.tokens, 101);
    if (planned.ranges[0].is_last) return;
  }
  FAIL() << "2000 tokens should take some 20 steps";
}

TEST_F(SchedulerTest, TimeRulesTheChunksBesideManyStreamsToo) {
  start(1000, {.max_step_tokens = 256, .max_step_seconds = 0.1});
  answer_length_ = 500;
  for (SequenceId id = 1; id <= 12; ++id) add(id, prompt(1000 * static_cast<int32_t>(id), 20));
  for (int i = 0; i < 30; ++i) step(0.01, 0.004);
  add(99, prompt(50000, 300));
  int64_t read = 0;
  while (read < 300) {
    const Step planned = step(0.01, 0.004);
    const int64_t chunk = planned.load.tokens - 12;
    EXPECT_GE(chunk, std::min<int64_t>(8, 300 - read)) << "a newcomer gets on";
    EXPECT_LE(planned.load.tokens, 22) << "12 streams and 10 more tokens are what fits";
    read += chunk;
  }
}

TEST_F(SchedulerTest, AShortPromptOvertakesALongOneWhichWaitsNoMoreThanTwiceAsLong) {
  start(5000, {.max_sequences = 8, .max_step_tokens = 256, .max_step_seconds = 0.1});
  answer_length_ = 1;
  add(1, prompt(0, 400));  // to learn from
  while (!answers_.contains(1)) step(0, 0.001);
  const double begin = now_;
  add(2, prompt(1000, 2000));
  for (SequenceId id = 3; !answers_.contains(2); ++id) {
    ASSERT_LT(id, 100u);
    add(id, prompt(10000 * static_cast<int32_t>(id), 50));
    const double before = now_;
    const Step planned = step(0, 0.001);
    const bool is_read =
        std::ranges::any_of(planned.ranges, [&](const StepRange& r) { return r.id == id && r.is_last; });
    if (before < begin + 1.9) EXPECT_TRUE(is_read) << id;
  }
  EXPECT_LE(now_ - begin, 2 * 2.0 + 0.2);
}

TEST_F(SchedulerTest, ALaterTurnReadsOnlyWhatIsNew) {
  start(100);
  add(1, prompt(0, 10));
  run_until_idle();
  std::vector<int32_t> next = prompt(0, 10);
  next.insert(next.end(), answers_[1].begin(), answers_[1].end());
  next.insert(next.end(), {70, 71, 72});
  add(2, next);
  const Step first = step();
  EXPECT_EQ(first.ranges[0].first_position, 16);
  EXPECT_EQ(first.ranges[0].count, 3);
  EXPECT_EQ(scheduler_->sequence(2).first_num_cached, 16);
  run_until_idle();
  expect_idle();
}

TEST_F(SchedulerTest, WhoWaitsForAPlaceDoesNotRenewWhatTheCacheHolds) {
  start(100, {.max_sequences = 1});
  add(1, prompt(0, 20));
  run_until_idle();
  add(2, prompt(500, 20));
  run_until_idle();
  add(3, prompt(900, 20));
  step();
  add(4, prompt(0, 24));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ids(step()), std::vector<SequenceId>{3});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(cache_->evict());
  EXPECT_LT(cache_->match({}, prompt(0, 20)).pages.size(), 5u);
  EXPECT_EQ(cache_->match({}, prompt(500, 20)).pages.size(), 5u) << "used later than the other";
}

TEST_F(SchedulerTest, WhatMemoryHasLostTheArchiveGivesBack) {
  start(100, {}, true);
  add(1, prompt(0, 90));
  run_until_idle();
  cache_->clear();
  add(2, prompt(0, 90));
  while (scheduler_->sequence(2).first_num_cached < 0) step();
  EXPECT_GE(scheduler_->sequence(2).first_num_cached, 6 * kPage) << "up to the page that could not be read";
  run_until_idle();
  EXPECT_EQ(answers_[1], answers_[2]);
  expect_idle();
}

TEST_F(SchedulerTest, TheSamePromptAtOnceIsReadOnce) {
  start(100, {.max_step_tokens = 16});
  for (SequenceId id = 1; id <= 4; ++id) add(id, prompt(0, 41));
  int64_t read = 0;
  while (scheduler_->num_running() + scheduler_->num_waiting() > 0) {
    for (const StepRange& range : step().ranges) {
      if (range.first_position < 40) read += range.count;
    }
  }
  EXPECT_LE(read, 41 + 3 * kPage);
  EXPECT_EQ(answers_[1], answers_[4]);
  expect_idle();
}

TEST_F(SchedulerTest, PreemptsTheYoungestWhenPagesRunOutAndEveryoneFinishes) {
  start(10);
  answer_length_ = 12;
  for (SequenceId id = 1; id <= 4; ++id) add(id, prompt(100 * static_cast<int32_t>(id), 12));
  run_until_idle();
  EXPECT_GT(scheduler_->num_preemptions(), 0u);
  EXPECT_EQ(answers_.size(), 4u);
  expect_idle();

  const auto crowded = answers_;
  for (SequenceId id = 1; id <= 4; ++id) {
    start(10);
    add(id, prompt(100 * static_cast<int32_t>(id), 12));
    run_until_idle();
    EXPECT_EQ(answers_[id], crowded.at(id));
  }
}

TEST_F(SchedulerTest, HigherPriorityGoesFirstAndTakesThePlaceOfALowerOne) {
  start(100, {.max_sequences = 1});
  add(1, prompt(0, 5));
  step();
  add(2, prompt(50, 5));
  add(3, prompt(60, 5), {.priority = 1});
  EXPECT_EQ(ids(step()), std::vector<SequenceId>{3});
  run_until_idle();
  expect_idle();
}

TEST_F(SchedulerTest, AClientWithManyRequestsDoesNotKeepAnotherWaiting) {
  start(1000, {.max_sequences = 4});
  for (SequenceId id = 1; id <= 50; ++id) add(id, prompt(100 * static_cast<int32_t>(id), 40), {.client = "many"});
  step();
  add(99, prompt(0, 8), {.client = "one"});
  int steps = 0;
  for (; !answers_.contains(99); ++steps) step();
  EXPECT_LE(steps, 8) << "one step to read and one for each token";
  run_until_idle();
  expect_idle();
}

TEST_F(SchedulerTest, AStepThatEndsAPromptIsNotLengthenedForOtherClients) {
  start(3000, {.max_step_tokens = 256, .max_step_seconds = 0.2});
  answer_length_ = 1;
  for (SequenceId id = 1; id <= 4; ++id) add(id, prompt(10000 * static_cast<int32_t>(id), 2000), {.client = "many"});
  const auto reads_whole = [](const Step& step, SequenceId id) {
    return std::ranges::any_of(step.ranges, [&](const StepRange& r) { return r.id == id && r.is_last; });
  };
  while (step(0, 0.001).load.tokens < 150) {
  }
  add(98, prompt(0, 70), {.client = "one"});
  Step planned = step(0, 0.001);
  EXPECT_TRUE(reads_whole(planned, 98));
  EXPECT_EQ(planned.load.tokens, 70);
  for (int i = 0; i < 20; ++i) step(0, 0.001);
  add(99, prompt(500, 8), {.client = "one"});
  planned = step(0, 0.001);
  EXPECT_TRUE(reads_whole(planned, 99));
  EXPECT_EQ(planned.load.tokens, 32) << "a step of 8 would be hardly shorter";
  run_until_idle();
  expect_idle();
}

TEST_F(SchedulerTest, HeldSequencesAreLeftOutAndGiveWay) {
  start(8);
  answer_length_ = 12;
  add(1, prompt(0, 12));
  step();
  scheduler_->hold(1, true);
  add(2, prompt(50, 12));
  for (int i = 0; i < 100 && !answers_.contains(2); ++i) {
    for (const SequenceId id : ids(step())) EXPECT_EQ(id, 2u);
  }
  EXPECT_TRUE(answers_.contains(2));
  EXPECT_FALSE(answers_.contains(1));
  EXPECT_EQ(scheduler_->num_waiting(), 1) << "its pages were needed";
  EXPECT_EQ(scheduler_->num_held(), 1);
  EXPECT_EQ(scheduler_->num_active(), 0);
  EXPECT_TRUE(scheduler_->plan(now_).ranges.empty());
  scheduler_->hold(1, false);
  run_until_idle();
  expect_idle();
}

TEST_F(SchedulerTest, AnIdleEngineMayWaitForCompanyABusyOneDoesNot) {
  start(100, {.batch_timeout_seconds = 0.5});
  add(1, prompt(0, 5));
  const Step nothing = scheduler_->plan(now_);
  EXPECT_TRUE(nothing.ranges.empty());
  EXPECT_EQ(nothing.wake_at, 0.5);
  now_ = 0.2;
  add(2, prompt(50, 5));
  now_ = 0.5;
  EXPECT_EQ(step().ranges.size(), 2u);
  add(3, prompt(70, 5));
  EXPECT_EQ(step().ranges.size(), 3u);
  run_until_idle();
  expect_idle();
}

// Long random histories: arrivals with shared beginnings, windows, salts, priorities and clients; cancellations, holds;
// far too few pages. Every read is checked by the fake model, every answer against a lone run.
class SchedulerHistoryTest : public SchedulerTest, public testing::WithParamInterface<int> {
 protected:
  std::vector<int32_t> random_prompt(std::mt19937& random) {
    std::vector<int32_t> tokens;
    if (!texts_.empty() && random() % 4 != 0) {
      tokens = texts_[random() % texts_.size()];
      tokens.resize(1 + random() % tokens.size());
    }
    for (size_t more = 1 + random() % 12; more > 0; --more) tokens.push_back(static_cast<int32_t>(random() % 5));
    if (tokens.size() > 48) tokens.resize(48);
    return tokens;
  }
  NewSequence random_request(SequenceId id, std::mt19937& random) {
    NewSequence request{.id = id, .prompt = random_prompt(random)};
    request.client = std::string(1, static_cast<char>('a' + random() % 3));
    request.priority = random() % 8 == 0 ? 1 : 0;
    request.plan.salt = random() % 4 == 0 ? "salt" : "";
    if (random() % 3 == 0) request.plan.window = 1 + static_cast<int64_t>(random() % 14);
    if (request.plan.window > 0) request.plan.num_sinks = static_cast<int64_t>(random() % 6);
    request.reads_cache = random() % 10 != 0;
    return request;
  }

  std::vector<std::vector<int32_t>> texts_;
};

TEST_P(SchedulerHistoryTest, NothingIsReadWronglyNothingIsLost) {
  std::mt19937 random(static_cast<uint32_t>(GetParam()));
  const SchedulerOptions options{.max_sequences = 1 + static_cast<int>(random() % 6),
                                 .max_step_tokens = 4 + static_cast<int64_t>(random() % 40),
                                 .max_step_seconds = random() % 2 == 0 ? 0.0 : 0.02,
                                 .batch_timeout_seconds = random() % 2 == 0 ? 0.0 : 0.03,
                                 .uses_prefix_cache = random() % 5 != 0};
  start(16 + static_cast<int32_t>(random() % 30), options, random() % 2 == 0);
  answer_length_ = 1 + static_cast<int64_t>(random() % 12);
  std::map<SequenceId, NewSequence> requests;
  std::set<SequenceId> cancelled;
  for (SequenceId id = 1; id <= 300; ++id) {
    requests[id] = random_request(id, random);
    texts_.push_back(requests[id].prompt);
    scheduler_->add(requests[id], now_);
    for (size_t steps = random() % 5; steps > 0; --steps) {
      now_ += 0.01;
      step();
    }
    const SequenceId other = 1 + random() % id;
    if (!scheduler_->contains(other)) continue;
    if (random() % 6 == 0) {
      scheduler_->finish(other);
      cancelled.insert(other);
    } else if (random() % 4 == 0) {
      scheduler_->hold(other, random() % 2 == 0);
    }
  }
  for (SequenceId id = 1; id <= 300; ++id) {
    if (scheduler_->contains(id)) scheduler_->hold(id, false);
  }
  run_until_idle();
  expect_idle();

  for (const auto& [id, request] : requests) {
    EXPECT_EQ(answers_.contains(id), !cancelled.contains(id)) << id;
    if (cancelled.contains(id)) continue;
    std::vector<int32_t> text = request.prompt;
    while (text.size() < request.prompt.size() + static_cast<size_t>(answer_length_)) {
      text.push_back(static_cast<int32_t>(hashes(text, request.plan).back() % 5));
    }
    EXPECT_TRUE(std::equal(answers_[id].begin(), answers_[id].end(),
                           text.begin() + static_cast<std::ptrdiff_t>(request.prompt.size())));
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, SchedulerHistoryTest, testing::Range(0, 60));

}  // namespace
}  // namespace qwin
