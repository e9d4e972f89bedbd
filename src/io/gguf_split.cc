// SPDX-License-Identifier: Apache-2.0
// A split model: the first file has all metadata, each file the tensors it holds, and `split.*` keys tie them together.
#include "io/gguf_split.h"

#include <cstdio>

#include "core/printable.h"
#include "qwin/error.h"

namespace qwin {
namespace {

std::string split_suffix(uint64_t number, uint64_t count) {
  char text[48];
  std::snprintf(text, sizeof(text), "-%05u-of-%05u.gguf", static_cast<unsigned>(number + 1),
                static_cast<unsigned>(count));
  return text;
}

// The path without "-0000N-of-0000M.gguf". Throws when the path is not that of file `number`.
std::string split_prefix(const std::string& path, uint64_t number, uint64_t count) {
  const std::string suffix = split_suffix(number, count);
  if (!path.ends_with(suffix)) {
    throw Error(ErrorCode::path, path + ": is file " + std::to_string(number + 1) + " of " + std::to_string(count) +
                                     " of a split model, so its name must end in " + suffix);
  }
  return path.substr(0, path.size() - suffix.size());
}

void check_part(const GgufFile& part, uint64_t number, uint64_t count) {
  if (part.metadata.get_uint("split.no", UINT64_MAX) != number || part.metadata.get_uint("split.count", 0) != count) {
    throw Error(ErrorCode::bad_config, part.files.front()->path() + ": its split.no and split.count do not say file " +
                                           std::to_string(number + 1) + " of " + std::to_string(count));
  }
}

void check_total(const GgufFile& model) {
  const uint64_t found = model.tensors.tensors().size();
  const uint64_t expected = model.metadata.get_uint("split.tensors.count", found);
  if (found != expected) {
    throw Error(ErrorCode::missing_tensor, "the split files hold " + std::to_string(found) + " tensors, not the " +
                                               std::to_string(expected) + " of split.tensors.count");
  }
}

GgufFile open_part(const std::string& path, GgufLimits& left) {
  GgufFile part;
  part.files.push_back(MappedFile::open(path));
  read_gguf_part(part.files.front()->span(), left, part);
  return part;
}

}  // namespace

GgufFile open_gguf(const std::string& path) {
  GgufLimits left;
  GgufFile model = open_part(path, left);
  const uint64_t count = model.metadata.get_uint("split.count", 1);
  if (count <= 1) return model;
  if (count > kMaxGgufSplits) throw Error(ErrorCode::too_large, std::to_string(count) + " split files");
  const uint64_t number = model.metadata.get_uint("split.no", 0);
  if (number >= count) throw Error(ErrorCode::bad_config, "split.no is not below split.count");
  const std::string prefix = split_prefix(path, number, count);
  if (number != 0) throw Error(ErrorCode::path, path + ": give the first file, " + prefix + split_suffix(0, count));
  for (uint64_t i = 1; i < count; ++i) {
    GgufFile part = open_part(prefix + split_suffix(i, count), left);
    check_part(part, i, count);
    for (const TensorInfo& tensor : part.tensors.tensors()) model.tensors.add(tensor);
    model.files.push_back(part.files.front());
  }
  check_total(model);
  return model;
}

}  // namespace qwin
