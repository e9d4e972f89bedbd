// SPDX-License-Identifier: Apache-2.0
#include "eval/divergence.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "eval/npz.h"
#include "sampling/logprobs.h"

namespace qwin {

namespace {

// One position of the reference: its best ids with raw logits, and the log-sum-exp of all.
struct ReferenceRow {
  const double* ids;
  const double* logits;
  size_t count;
  double lse;
};

class Accumulator {
 public:
  void add(const ReferenceRow& row, std::span<const float> logits, bool first) {
    if (!all_finite(logits)) throw Error(ErrorCode::numerical, "a logit is not finite");
    const double lse = log_sum_exp(logits);
    double kl = 0, p_rest = 1, q_rest = 1;
    for (size_t i = 0; i < row.count; ++i) {
      const double tested = logits[static_cast<size_t>(row.ids[i])];
      const double log_p = row.logits[i] - row.lse, log_q = tested - lse;
      kl += std::exp(log_p) * (log_p - log_q);
      p_rest -= std::exp(log_p);
      q_rest -= std::exp(log_q);
      squared_error_ += (tested - row.logits[i]) * (tested - row.logits[i]);
      squares_ += row.logits[i] * row.logits[i];
    }
    if (p_rest > 0 && q_rest > 0) kl += p_rest * std::log(p_rest / q_rest);
    kl_.push_back(kl);
    if (first) first_kl_.push_back(kl);
    const auto best = std::ranges::max_element(logits) - logits.begin();
    agreements_ += best == static_cast<int64_t>(row.ids[0]);
  }

  Divergence result() {
    Divergence d;
    d.positions = static_cast<int64_t>(kl_.size());
    if (kl_.empty()) return d;
    d.mean_kl = mean(kl_);
    d.first_kl = mean(first_kl_);
    d.top1 = static_cast<double>(agreements_) / static_cast<double>(kl_.size());
    d.nmse = squared_error_ / squares_;
    std::ranges::sort(kl_);
    d.kl_p999 = kl_[std::min(kl_.size() - 1, static_cast<size_t>(std::ceil(0.999 * static_cast<double>(kl_.size()))))];
    return d;
  }

 private:
  static double mean(const std::vector<double>& values) {
    double sum = 0;
    for (const double v : values) sum += v;
    return values.empty() ? 0 : sum / static_cast<double>(values.size());
  }

  std::vector<double> kl_, first_kl_;
  int64_t agreements_ = 0;
  double squared_error_ = 0, squares_ = 0;
};

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
                  const std::string& suffix, const std::vector<double>& positions, Accumulator& sums,
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
  Accumulator texts, long_text;
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
