// SPDX-License-Identifier: Apache-2.0
// `qwin quantize --plan`: types by measured sensitivity, within a size.
#pragma once

#include <optional>
#include <string>

#include "cli/cli.h"
#include "compress/measure_plan.h"

namespace qwin {

struct PlanArguments {
  bool plan = false;
  double target_bits = 0;   // a weight, of all tensors
  std::string target_size;  // of the file: "25%" of two bytes a weight, "300MB", "1.2GB"
  std::string text_file, save_file, use_file;

  bool has_target() const { return target_bits > 0 || !target_size.empty(); }
  bool is_wanted() const { return plan || has_target() || !save_file.empty() || !use_file.empty(); }
};

// A text to calibrate or to measure with: of a file, or, for "builtin", the one that is part of qwin. Throws as
// read_text() does.
std::string read_calibration_text(const std::string& name);

// --plan, --target-bpw, --target-size, --plan-text, --save-plan, --use-plan
void add_plan_options(CLI::App& command, PlanArguments& arguments);

// Throws Error(invalid_argument) for what contradicts itself.
void check_plan_arguments(const PlanArguments& arguments);

// The plan asked for, saved where it should be. Without a target it takes what `profile` would; `path`: the file to be
// written.
Plan make_plan(const PlanArguments& arguments, const std::string& calibration_file, const ModelFiles& source,
               const QuantizeProfile& profile, Calibration* calibration, const std::string& path, ThreadTeam& team);

// One line a layer, the types of its matrices in columns, on stdout.
void print_plan(const Plan& plan);

}  // namespace qwin
