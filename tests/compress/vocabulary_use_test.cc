// SPDX-License-Identifier: Apache-2.0
#include "compress/vocabulary_use.h"

#include <gmock/gmock.h>

#include <cmath>

namespace qwin {
namespace {

using ::testing::ElementsAre;

TEST(VocabularyUseTest, CountsWhatIsReadAndWhatIsExpected) {
  VocabularyUse use(6);
  use.begin_piece();
  for (const int32_t id : {5, 5, 2}) use.add_token(id);
  // p = 1/2 of ids 0 and 1: each counts 1/4.
  const float low = -50;
  for (int i = 0; i < 6; ++i) use.add_logits(std::vector<float>{0, 0, low, low, low, low});
  EXPECT_THAT(use.most_used(1), ElementsAre(5));        // 2
  EXPECT_THAT(use.most_used(3), ElementsAre(0, 1, 5));  // 1.5 each, before 1 of id 2
  EXPECT_THAT(use.most_used(4), ElementsAre(0, 1, 2, 5));
  EXPECT_THAT(use.most_used(6), ElementsAre(0, 1, 2, 3, 4, 5));
}

TEST(VocabularyUseTest, ACertainTokenMayBeInError) {
  VocabularyUse use(3);
  use.begin_piece();
  use.add_logits(std::vector<float>{100, 0, 0});  // an error of any row changes nothing
  use.add_logits(std::vector<float>{-100, 1, 1});
  EXPECT_THAT(use.most_used(2), ElementsAre(1, 2));
}

TEST(VocabularyUseTest, ExpectsOfAnotherTextWhatOneHalfTellsOfTheOther) {
  VocabularyUse use(8);
  use.begin_piece();
  for (const int32_t id : {1, 1, 1, 2}) use.add_token(id);
  EXPECT_EQ(use.expected_share(2), 0.0);
  use.begin_piece();
  for (const int32_t id : {1, 1, 3, 4}) use.add_token(id);
  use.begin_piece();  // belongs to the first half
  use.add_token(2);
  // {1, 2} of the first have 2/4 in the second, {1, 3} of the second 3/5 in the first.
  EXPECT_DOUBLE_EQ(use.expected_share(2), (0.5 + 0.6) / 2);
  EXPECT_DOUBLE_EQ(use.expected_share(8), 1.0);
}

}  // namespace
}  // namespace qwin
