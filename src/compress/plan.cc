// SPDX-License-Identifier: Apache-2.0
#include "compress/plan.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "qwin/error.h"

namespace qwin {
namespace {

constexpr const char* kPlanKey = "qwin_plan";
constexpr int kPlanVersion = 1;
constexpr const char* kResidualRows = "residual_rows";  // absent: 0
constexpr uint64_t kMaxUnits = 1u << 18;
constexpr uint8_t kNoChoice = 255;

uint64_t smallest_bytes(const PlanItem& item) {
  return std::ranges::min_element(item.options, {}, &PlanOption::bytes)->bytes;
}

uint64_t smallest_bytes(const std::vector<PlanItem>& items) {
  uint64_t sum = 0;
  for (const PlanItem& item : items) sum += smallest_bytes(item);
  return sum;
}

std::vector<PlanItem> without_q3(std::vector<PlanItem> items) {
  const auto is_q3 = [](const PlanOption& option) { return option.type == DType::q3; };
  for (PlanItem& item : items) {
    if (!std::ranges::all_of(item.options, is_q3)) std::erase_if(item.options, is_q3);
  }
  return items;
}

// What options cost beyond the smallest ones, in units that the table of losses is counted in.
class Knapsack {
 public:
  Knapsack(const std::vector<PlanItem>& items, uint64_t extra_bytes) : items_(items) {
    uint64_t divisor = 0, most = 0;
    for (const PlanItem& item : items) {
      uint64_t largest = 0;
      for (const PlanOption& option : item.options) {
        divisor = std::gcd(divisor, option.bytes - smallest_bytes(item));
        largest = std::max(largest, option.bytes - smallest_bytes(item));
      }
      most += largest;
    }
    extra_bytes = std::min(extra_bytes, most);
    unit_ = std::max<uint64_t>({1, divisor, extra_bytes / kMaxUnits + 1});
    if (divisor != 0 && unit_ > divisor) unit_ = (unit_ + divisor - 1) / divisor * divisor;
    units_ = extra_bytes / unit_;
  }

  // best[n]: the smallest loss of the items so far within n units; choices_[item][n]: the item's part in it.
  std::vector<size_t> solve() {
    std::vector<double> best(units_ + 1, 0.0), next(units_ + 1);
    for (const PlanItem& item : items_) {
      std::vector<uint8_t> choices(units_ + 1, kNoChoice);
      std::ranges::fill(next, std::numeric_limits<double>::infinity());
      for (size_t i = 0; i < item.options.size(); ++i) {
        const uint64_t cost = cost_of(item, i);
        for (uint64_t n = cost; n <= units_; ++n) {
          const double loss = best[n - cost] + item.options[i].loss;
          if (loss < next[n]) next[n] = loss, choices[n] = static_cast<uint8_t>(i);
        }
      }
      best.swap(next);
      choices_.push_back(std::move(choices));
    }
    std::vector<size_t> chosen(items_.size());
    uint64_t left = units_;
    for (size_t k = items_.size(); k-- > 0;) {
      chosen[k] = choices_[k][left];
      left -= cost_of(items_[k], chosen[k]);
    }
    return chosen;
  }

 private:
  uint64_t cost_of(const PlanItem& item, size_t option) const {
    return (item.options[option].bytes - smallest_bytes(item) + unit_ - 1) / unit_;
  }

  const std::vector<PlanItem>& items_;
  uint64_t unit_ = 1, units_ = 0;
  std::vector<std::vector<uint8_t>> choices_;  // [items, units + 1]
};

DType type_named(const std::string& name) {
  for (int i = 0; i < kNumDTypes; ++i) {
    if (dtype_info(static_cast<DType>(i)).name == name) return static_cast<DType>(i);
  }
  throw Error(ErrorCode::invalid_argument, "a plan with the unknown type " + name);
}

PlanItem item_of(const Json& document) {
  PlanItem item{.tensor = document.at("tensor"), .options = {}};
  const auto rows_of = [](const Json& option) { return option.value(kResidualRows, size_t{0}); };
  const DType chosen = type_named(document.at("type"));
  const size_t chosen_rows = rows_of(document);
  for (const Json& option : document.at("options")) {
    const DType type = type_named(option.at("type"));
    if (type == chosen && rows_of(option) == chosen_rows) item.chosen = item.options.size();
    item.options.push_back({type, option.at("bytes"), option.at("loss"), rows_of(option)});
  }
  if (item.options.empty() || item.options.size() >= kNoChoice || item.choice().type != chosen ||
      item.choice().residual_rows != chosen_rows) {
    throw Error(ErrorCode::invalid_argument, "a plan whose choice for " + item.tensor + " is none of its options");
  }
  return item;
}

Json choice_document(const PlanOption& option) {
  Json document{{"type", dtype_info(option.type).name}};
  if (option.residual_rows > 0) document[kResidualRows] = option.residual_rows;
  return document;
}

}  // namespace

uint64_t Plan::bytes() const {
  uint64_t sum = 0;
  for (const PlanItem& item : items) sum += item.choice().bytes;
  return sum;
}

double Plan::loss() const {
  double sum = 0;
  for (const PlanItem& item : items) sum += item.choice().loss;
  return sum;
}

std::map<std::string, size_t> Plan::residual_rows() const {
  std::map<std::string, size_t> rows;
  for (const PlanItem& item : items) {
    if (item.choice().residual_rows > 0) rows[item.tensor] = item.choice().residual_rows;
  }
  return rows;
}

std::map<std::string, DType> Plan::types() const {
  std::map<std::string, DType> types;
  for (const PlanItem& item : items) types[item.tensor] = item.choice().type;
  return types;
}

void choose_within(Plan& plan, uint64_t budget) {
  std::vector<PlanItem> items = without_q3(plan.items);
  uint64_t smallest = smallest_bytes(items);
  if (smallest > budget) {
    items = plan.items;
    smallest = smallest_bytes(items);
  }
  if (smallest > budget) {
    throw Error(ErrorCode::invalid_argument, "matrices would have to fit " + std::to_string(budget) +
                                                 " bytes; with the smallest types they take " +
                                                 std::to_string(smallest));
  }
  const std::vector<size_t> chosen = Knapsack(items, budget - smallest).solve();
  for (size_t i = 0; i < chosen.size(); ++i) {
    const auto place = std::ranges::find(plan.items[i].options, items[i].options[chosen[i]]);
    plan.items[i].chosen = static_cast<size_t>(place - plan.items[i].options.begin());
  }
}

Json plan_document(const Plan& plan) {
  Json tensors = Json::array();
  for (const PlanItem& item : plan.items) {
    Json options = Json::array();
    for (const PlanOption& option : item.options) {
      Json entry = choice_document(option);
      entry["bytes"] = option.bytes, entry["loss"] = option.loss;
      options.push_back(std::move(entry));
    }
    Json entry{{"tensor", item.tensor}};
    entry.update(choice_document(item.choice()));
    entry["options"] = std::move(options);
    tensors.push_back(std::move(entry));
  }
  return {{kPlanKey, kPlanVersion},
          {"group", plan.group_size},
          {"bytes", plan.bytes()},
          {"loss", plan.loss()},
          {"tensors", std::move(tensors)}};
}

Plan plan_of(const Json& document) {
  if (!document.is_object() || document.value(kPlanKey, Json()) != kPlanVersion) {
    throw Error(ErrorCode::invalid_argument, "this is no plan of `qwin quantize --save-plan`");
  }
  try {
    Plan plan{.group_size = document.at("group"), .items = {}};
    for (const Json& tensor : document.at("tensors")) plan.items.push_back(item_of(tensor));
    return plan;
  } catch (const Json::exception& fault) {
    throw Error(ErrorCode::invalid_argument, std::string("a plan that cannot be read: ") + fault.what());
  }
}

}  // namespace qwin
