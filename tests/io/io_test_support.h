// SPDX-License-Identifier: Apache-2.0
// Shared by the tests of readers: a folder that cleans up after itself, and the class of the Error a call throws.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "qwin/error.h"

namespace qwin::testing {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "qwin_test_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) std::abort();
    path_ = std::filesystem::canonical(name).string();
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  std::string write(const std::string& name, const std::string& bytes) const {
    std::filesystem::create_directories(std::filesystem::path(*this / name).parent_path());
    std::ofstream(*this / name, std::ios::binary) << bytes;
    return *this / name;
  }

 private:
  std::string path_;
};

// "out_of_file" and so on, or "none" when nothing was thrown; `*detail` gets the text.
template <typename Call>
std::string error_of(Call call, std::string* detail = nullptr) {
  try {
    call();
    return "none";
  } catch (const Error& error) {
    if (detail != nullptr) *detail = error.what();
    return error_code_name(error.code());
  }
}

}  // namespace qwin::testing
