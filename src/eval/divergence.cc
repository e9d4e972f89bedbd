// SPDX-License-Identifier: Apache-2.0
#include "eval/divergence.h"

#include <map>

#include "eval/npz.h"

namespace qwin {

namespace {

class GoldenFile {
 public:
  explicit GoldenFile(const std::string& path) : arrays_(read_npz(path)) {}

  bool has(const std::string& name) const { return arrays_.contains(name); }
  const NpyArray& array(const std::string& name) const {
    const auto it = arrays_.find(name);
    if (it == arrays_.end()) throw Error(ErrorCode::bad_shape, "the golden file has no array " + name);
    return it->second;
  }
  std::vector<double> numbers(const std::string& name, size_t size) const {
    const NpyArray& a = array(name);
    if (a.size() != size)
      throw Error(ErrorCode::bad_shape,
                  "the golden file's " + name + " has another number of elements than its ids ask for");
    return a.numbers();
  }

 private:
  std::map<std::string, NpyArray> arrays_;
};

// Runs one text; `positions` are those with a reference row, ascending.
void compare_text(Engine& engine, const GoldenFile& file, const std::string& ids_name, const std::string& prefix,
                  const std::string& suffix, const std::vector<double>& positions, DivergenceSums& sums,
                  const std::function<void(int64_t done)>& progress) {
  const std::vector<double> ids = file.array(ids_name).numbers();
  const NpyArray& top = file.array(prefix + "top_ids" + suffix);
  const size_t rows = positions.size(), k = top.shape.size() == 2 ? top.shape[1] : 0;
  if (k == 0) throw Error(ErrorCode::bad_shape, "the golden file's top_ids should have two dimensions");
  const std::vector<double> top_ids = file.numbers(prefix + "top_ids" + suffix, rows * k);
  const std::vector<double> top_logits = file.numbers(prefix + "top_logits" + suffix, rows * k);
  const std::vector<double> lse = file.numbers(prefix + "lse" + suffix, rows);
  for (const double id : top_ids) {
    if (id < 0 || id >= engine.info().vocab_size)
      throw Error(ErrorCode::bad_shape, "the golden file has ids outside the model's vocabulary");
  }
  const std::vector<int32_t> token_ids(ids.begin(), ids.end());
  size_t next = 0;
  engine.prompt_logits(token_ids, [&](int64_t position, std::span<const float> logits) {
    if (next < rows && position == static_cast<int64_t>(positions[next])) {
      sums.add({&top_ids[next * k], &top_logits[next * k], k, lse[next]}, logits, position == 0);
      ++next;
    }
    progress(position + 1);
  });
}

}  // namespace

GoldenDivergence measure_divergence(Engine& engine, const std::string& npz_path, bool with_long_text,
                                    const EvalProgress& progress) {
  const GoldenFile file(npz_path);
  const size_t num_texts = file.array("names").size();
  GoldenDivergence result;
  DivergenceSums texts, long_text;
  int64_t done = 0, total = 0;
  for (size_t i = 0; i < num_texts; ++i) total += static_cast<int64_t>(file.array("ids_" + std::to_string(i)).size());
  const bool long_too = with_long_text && file.has("long_ids");
  if (long_too) total += static_cast<int64_t>(file.array("long_ids").size());
  const auto shifted = [&](int64_t position) {
    if (progress) progress(done + position, total);
  };
  for (size_t i = 0; i < num_texts; ++i) {
    const std::string suffix = "_" + std::to_string(i);
    const size_t n = file.array("ids" + suffix).size();
    std::vector<double> positions(n);
    for (size_t p = 0; p < n; ++p) positions[p] = static_cast<double>(p);
    compare_text(engine, file, "ids" + suffix, "", suffix, positions, texts, shifted);
    done += static_cast<int64_t>(n);
  }
  if (long_too) {
    compare_text(engine, file, "long_ids", "long_", "", file.array("long_positions").numbers(), long_text, shifted);
  }
  result.texts = texts.result();
  result.long_text = long_text.result();
  return result;
}

}  // namespace qwin
