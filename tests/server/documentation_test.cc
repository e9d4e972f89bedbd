// SPDX-License-Identifier: Apache-2.0
// The table of limits in docs/serving_api.md is the one the flags are made from.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "server/limits.h"

namespace qwin::server {
namespace {

TEST(DocumentationTest, HasTheTableOfLimits) {
  std::ifstream file(std::string(QWIN_TESTDATA) + "/../../docs/serving_api.md");
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  EXPECT_NE(text.find("<!-- limits -->\n" + limits_markdown() + "<!-- end of limits -->"), std::string::npos)
      << "write this between the marks of docs/serving_api.md:\n"
      << limits_markdown();
}

}  // namespace
}  // namespace qwin::server
