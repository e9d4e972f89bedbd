// SPDX-License-Identifier: Apache-2.0
#include "cli/quantize_plan.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "cli/progress_bar.h"
#include "cli/text_file.h"
#include "compress/calibration_text.h"
#include "hub/interrupt.h"
#include "io/json.h"
#include "io/output_file.h"

namespace qwin {
namespace {

struct Sizes {
  uint64_t elements = 0, kept_bytes = 0;          // of all tensors; of those that keep their type
  uint64_t matrix_bytes = 0, residual_bytes = 0;  // of the others, by the profile
};

Sizes sizes_of(const ModelFiles& source, const QuantizeProfile& profile) {
  Sizes sizes;
  for (const TensorInfo& tensor : source.tensors.tensors()) {
    sizes.elements += tensor.num_elements();
    const uint64_t bytes = tensor_bytes(tensor.name, quantized_type(tensor, profile), tensor.shape);
    (is_quantizable(tensor) ? sizes.matrix_bytes : sizes.kept_bytes) += bytes;
    sizes.residual_bytes += residual_bytes(tensor, residual_rows(tensor, profile));
  }
  return sizes;
}

// "25%", "300MB", "1.2GB"
double size_of(const std::string& text, uint64_t elements) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, fault] = std::from_chars(text.data(), end, value);
  const std::string unit(stop, end);
  if (fault == std::errc() && value > 0) {
    if (unit == "%") return value / 100 * 2 * static_cast<double>(elements);
    if (unit == "MB") return value * 1e6;
    if (unit == "GB") return value * 1e9;
  }
  throw Error(ErrorCode::invalid_argument, "--target-size is 25% (of 16 bits a weight), 300MB or 1.2GB, not " + text);
}

// What the matrices may take.
uint64_t budget_of(const PlanArguments& arguments, const ModelFiles& source, const QuantizeProfile& profile,
                   size_t num_matrices, const std::string& path, ThreadTeam& team) {
  const Sizes sizes = sizes_of(source, profile);
  if (!arguments.has_target()) return sizes.matrix_bytes + sizes.residual_bytes;
  double budget = arguments.target_bits * static_cast<double>(sizes.elements) / 8;
  uint64_t others = sizes.kept_bytes;
  if (!arguments.target_size.empty()) {
    budget = size_of(arguments.target_size, sizes.elements);
    constexpr uint64_t kPadding = 32;  // a tensor's, at most
    others = quantized_bytes(source, profile, path, team) - sizes.matrix_bytes + num_matrices * kPadding;
  }
  return static_cast<uint64_t>(std::max(0.0, budget - static_cast<double>(others)));
}

void save(const Plan& plan, const std::string& path) {
  const std::string text = plan_document(plan).dump(1) + "\n";
  OutputFile file(path);
  file.write(text.data(), text.size());
  file.commit();
}

Plan measure(const PlanArguments& arguments, const std::string& calibration_file, const ModelFiles& source,
             size_t group_size, Calibration* calibration, ThreadTeam& team) {
  const std::string& file = arguments.text_file.empty() ? calibration_file : arguments.text_file;
  const std::string text = read_calibration_text(file.empty() ? "builtin" : file);
  ProgressBar bar("measuring");
  return measure_plan(source, group_size, calibration, text, team, [&](uint64_t done, uint64_t total) {
    throw_if_interrupted();
    bar.update(done, total);
  });
}

// "blk.3.ffn_up.weight" and "model.layers.3.mlp.up_proj.weight" -> layer 3, column "up"; -1 for a matrix of no layer.
struct Cell {
  int layer = -1;
  std::string column;
};

Cell cell_of(const std::string& tensor) {
  static constexpr std::pair<const char*, const char*> kColumns[] = {
      {"q_proj", "q"},      {"k_proj", "k"},       {"v_proj", "v"},  {"o_proj", "o"},     {"gate_proj", "gate"},
      {"up_proj", "up"},    {"down_proj", "down"}, {"attn_q.", "q"}, {"attn_k.", "k"},    {"attn_v.", "v"},
      {"attn_output", "o"}, {"ffn_gate", "gate"},  {"ffn_up", "up"}, {"ffn_down", "down"}};
  const auto kind = std::ranges::find_if(kColumns, [&](const auto& c) { return tensor.find(c.first) != tensor.npos; });
  const size_t digits = tensor.find_first_of("0123456789");
  if (kind == std::end(kColumns) || digits == tensor.npos) return {.column = tensor};
  return {std::atoi(tensor.c_str() + digits), kind->second};
}

}  // namespace

std::string read_calibration_text(const std::string& name) {
  return name == "builtin" ? std::string(builtin_calibration_text()) : read_text(name);
}

void add_plan_options(CLI::App& command, PlanArguments& arguments) {
  add_switch(command, "--plan", arguments.plan,
             "choose every matrix's type by what it was measured to lose; without a target within the profile's size");
  add_option(command, "--target-bpw", arguments.target_bits, "a plan of this many bits a weight, all tensors counted")
      ->check(CLI::Range(0.1, 16.0));
  add_option(command, "--target-size", arguments.target_size,
             "a plan for a file of this size: 25% (of 16 bits a weight), 300MB or 1.2GB");
  add_option(command, "--plan-text", arguments.text_file,
             "a text to measure on; otherwise that of --calibrate, or builtin");
  add_option(command, "--save-plan", arguments.save_file, "write the plan, with all that was measured, to this file");
  add_option(command, "--use-plan", arguments.use_file,
             "take what was measured from such a file; with a target its choices are made anew");
}

void check_plan_arguments(const PlanArguments& arguments) {
  if (arguments.target_bits > 0 && !arguments.target_size.empty()) {
    throw Error(ErrorCode::invalid_argument, "give --target-bpw or --target-size, not both");
  }
  if (!arguments.text_file.empty() && (!arguments.is_wanted() || !arguments.use_file.empty())) {
    throw Error(ErrorCode::invalid_argument, "--plan-text is for a plan that is measured: --plan or a target");
  }
}

Plan make_plan(const PlanArguments& arguments, const std::string& calibration_file, const ModelFiles& source,
               const QuantizeProfile& profile, Calibration* calibration, const std::string& path, ThreadTeam& team) {
  const bool is_stored = !arguments.use_file.empty();
  Plan plan = is_stored ? plan_of(parse_json(read_text(arguments.use_file), "the plan", ErrorCode::invalid_argument))
                        : measure(arguments, calibration_file, source, profile.group_size, calibration, team);
  check_plan(plan, source);
  const bool chooses = !is_stored || arguments.plan || arguments.has_target();
  if (chooses && calibration != nullptr) offer_residuals(plan, source, calibration->vocabulary_use());
  if (chooses) choose_within(plan, budget_of(arguments, source, profile, plan.items.size(), path, team));
  if (!arguments.save_file.empty()) save(plan, arguments.save_file);
  return plan;
}

void print_plan(const Plan& plan) {
  constexpr const char* kOrder[] = {"q", "k", "v", "o", "gate", "up", "down"};
  std::map<int, std::map<std::string, std::string>> layers;
  for (const PlanItem& item : plan.items) {
    const std::string type(dtype_info(item.choice().type).name);
    const Cell cell = cell_of(item.tensor);
    if (cell.layer < 0) {
      const size_t rows = item.choice().residual_rows;
      const std::string residual = rows == 0 ? "" : " with a residual for the " + std::to_string(rows) + " likeliest";
      std::printf("%s: %s%s, mean KL %.5f alone\n", cell.column.c_str(), type.c_str(), residual.c_str(),
                  item.choice().loss);
    } else {
      layers[cell.layer][cell.column] = type;
    }
  }
  std::printf("layer    q    k    v    o gate   up down\n");
  for (const auto& [layer, types] : layers) {
    std::printf("%5d", layer);
    for (const char* column : kOrder) {
      const auto type = types.find(column);
      std::printf(" %4s", type == types.end() ? "" : type->second.c_str());
    }
    std::printf("\n");
  }
  std::printf("matrices take %s and lose, one by one, a mean KL of %.5f in all\n", bytes_text(plan.bytes()).c_str(),
              plan.loss());
}

}  // namespace qwin
