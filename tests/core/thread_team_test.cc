// SPDX-License-Identifier: Apache-2.0
#include "core/thread_team.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <memory>
#include <numeric>
#include <thread>

#include "core/cpu_info.h"
#include "qwin/error.h"

namespace qwin {

namespace {

class ThreadTeamTest : public testing::TestWithParam<int> {
 protected:
  ThreadTeam team_{GetParam(), {}};
};

TEST_P(ThreadTeamTest, RunCallsEveryMemberOnce) {
  std::vector<int> calls(static_cast<size_t>(team_.size()));
  for (int round = 0; round < 50; ++round) {
    team_.run([&](int member) { ++calls[static_cast<size_t>(member)]; });
  }
  EXPECT_EQ(calls, std::vector<int>(static_cast<size_t>(team_.size()), 50));
}

TEST_P(ThreadTeamTest, ForEachCoversEveryIndexOnce) {
  for (const size_t count : {0, 1, 2, 3, 7, 8, 9, 63, 64, 65, 1000}) {
    for (const size_t grain : {1, 2, 3, 7, 8, 64, 999, 1000, 5000}) {
      std::vector<int> hits(count);  // written without atomics: two members at one index would be a race
      team_.for_each(count, grain, [&](size_t begin, size_t end, int member) {
        ASSERT_LT(begin, end);
        ASSERT_LE(end, count);
        ASSERT_TRUE(member >= 0 && member < team_.size());
        for (size_t i = begin; i < end; ++i) ++hits[i];
      });
      ASSERT_EQ(hits, std::vector<int>(count, 1)) << count << " by " << grain;
    }
  }
}

TEST_P(ThreadTeamTest, PiecesAreAtMostTheGrain) {
  team_.for_each(100, 7, [&](size_t begin, size_t end, int) {
    EXPECT_TRUE(team_.size() == 1 || end - begin <= 7);  // alone a member takes everything
  });
}

TEST_P(ThreadTeamTest, MembersThatAreDoneTakeFromTheOthers) {
  if (team_.size() == 1) return;
  std::atomic<size_t> done{0};
  team_.for_each(64, 1, [&](size_t begin, size_t, int) {
    // The first index waits for all the others: its member's own stretch must be taken by someone else.
    if (begin == 0) {
      while (done.load() < 63) std::this_thread::yield();
    }
    done.fetch_add(1);
  });
  EXPECT_EQ(done.load(), 64u);
}

TEST_P(ThreadTeamTest, CallerSeesWhatMembersWrote) {
  std::vector<size_t> squares(500);
  for (int round = 0; round < 20; ++round) {
    team_.for_each(squares.size(), 3, [&](size_t begin, size_t end, int) {
      for (size_t i = begin; i < end; ++i) squares[i] = i * i + static_cast<size_t>(round);
    });
    for (size_t i = 0; i < squares.size(); ++i) ASSERT_EQ(squares[i], i * i + static_cast<size_t>(round));
  }
}

TEST_P(ThreadTeamTest, CallsOfChangingSizesFollowEachOther) {
  size_t total = 0;
  for (size_t call = 0; call < 100; ++call) {
    std::vector<size_t> sums(static_cast<size_t>(team_.size()));
    const size_t count = call % 37;
    team_.for_each(count, 1 + call % 5,
                   [&](size_t begin, size_t end, int member) { sums[static_cast<size_t>(member)] += end - begin; });
    total += std::accumulate(sums.begin(), sums.end(), size_t{0}) - count;
  }
  EXPECT_EQ(total, 0u);
}

TEST_P(ThreadTeamTest, EndsWhetherOrNotItWasUsed) {
  for (int round = 0; round < 20; ++round) {
    ThreadTeam team(GetParam(), {0});
    if (round % 2 == 0) team.run([](int) {});
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, ThreadTeamTest, testing::Range(1, 9));

// The processors that member 1 of a team of two may run on.
std::vector<int> processors_of_member_1(std::vector<int> cores) {
  ThreadTeam team(2, std::move(cores));
  cpu_set_t set;
  CPU_ZERO(&set);
  team.run([&](int member) {
    if (member == 1) pthread_getaffinity_np(pthread_self(), sizeof(set), &set);
  });
  std::vector<int> found;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) found.push_back(cpu);
  }
  return found;
}

TEST(ThreadTeamPinTest, OnlyATeamThatTakesEveryCoreIsPinned) {
  const std::vector<int> cpus = cpu_topology().cpus;
  EXPECT_EQ(processors_of_member_1({cpus.front(), cpus.back()}), std::vector<int>{cpus.back()});
  EXPECT_EQ(processors_of_member_1({cpus.front(), cpus.back(), cpus.front()}), cpus);
  EXPECT_EQ(processors_of_member_1({}), cpus);
}

TEST(ThreadTeamSizeTest, FewerThanOneThreadIsOne) {
  EXPECT_EQ(ThreadTeam(0, {}).size(), 1);
  EXPECT_EQ(ThreadTeam(-5, {}).size(), 1);
}

TEST(ThreadTeamSizeTest, MoreMembersThanCoresStillFinish) {
  ThreadTeam team(6, {0, 1});
  std::vector<int> hits(1000);
  team.for_each(hits.size(), 10, [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) ++hits[i];
  });
  EXPECT_EQ(hits, std::vector<int>(1000, 1));
}

// A lost wake-up would hang here.
void make_tiny_calls(int calls) {
  ThreadTeam team(2, {});
  int counts[2] = {};
  for (int call = 0; call < calls; ++call) team.run([&](int member) { ++counts[member]; });
  EXPECT_EQ(counts[0], calls);
  EXPECT_EQ(counts[1], calls);
}

TEST(ThreadTeamLoadTest, ThousandsOfTinyCallsFinish) { make_tiny_calls(3000); }

// As many as some hundred decoded tokens make; on a busy machine each may wait for the scheduler.
TEST(ThreadTeamLongTest, AHundredThousandTinyCallsFinish) { make_tiny_calls(100'000); }

// Address space for a few stacks more: the rest of the team is refused.
[[noreturn]] void ask_for_too_many_threads() {
  uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const rlim_t limit = pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)) + (100u << 20);
  const rlimit space{limit, limit};
  ::setrlimit(RLIMIT_AS, &space);
  try {
    const ThreadTeam team(200, {});
  } catch (const Error& error) {
    std::_Exit(error.code() == ErrorCode::does_not_fit ? 0 : 2);
  }
  std::_Exit(1);
}

TEST(ThreadTeamDeathTest, ThreadsTheSystemDoesNotGiveAreAnError) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers need the address space";
#endif
  EXPECT_EXIT(ask_for_too_many_threads(), testing::ExitedWithCode(0), "");
}

}  // namespace

}  // namespace qwin
