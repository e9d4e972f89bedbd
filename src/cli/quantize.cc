// SPDX-License-Identifier: Apache-2.0
// `qwin quantize`: a model's weights in 4 or 8 bits, as one file.
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>

#include "cli/cli.h"
#include "cli/divergence_report.h"
#include "cli/progress_bar.h"
#include "cli/quantize_gate.h"
#include "cli/quantize_plan.h"
#include "cli/repair_run.h"
#include "compress/quantize_model.h"
#include "core/cpu_info.h"
#include "hub/interrupt.h"
#include "hub/model_store.h"
#include "io/json.h"

namespace qwin {
namespace {

struct QuantizeArguments {
  std::string source, destination, profile, head, calibration_file, python = "python3";
  int bits = 0, num_threads = 0;
  size_t group_size = 32;
  PlanArguments plan;
  GateArguments gate;
  bool json = false, repair = false;
};

// Rows of a calibrated head in Q4 that get a residual: one in so many.
constexpr size_t kResidualPart = 8;

DType own_type(const std::string& name) {
  if (name == "q4") return DType::q4;
  if (name == "q5") return DType::q5;
  if (name == "q6") return DType::q6;
  if (name == "q8") return DType::q8;
  throw Error(ErrorCode::invalid_argument, "the head can be q4, q5, q6 or q8, not " + name);
}

QuantizeProfile profile_of(const QuantizeArguments& arguments) {
  if (!arguments.profile.empty() && arguments.bits != 0) {
    throw Error(ErrorCode::invalid_argument, "give --profile or --bits, not both");
  }
  const std::string by_bits = arguments.bits == 8 ? "q8" : "q4";
  QuantizeProfile profile = quantize_profile(arguments.profile.empty() ? by_bits : arguments.profile);
  if (!arguments.calibration_file.empty()) {
    if (profile.head == DType::q5) profile.head = DType::q4;
    profile.residual_part = kResidualPart;
  }
  if (!arguments.head.empty()) profile.head = own_type(arguments.head);
  if (arguments.group_size == profile.group_size) return profile;
  if (profile.attention == DType::q8 && profile.ffn == DType::q8 && profile.head == DType::q8) {
    throw Error(ErrorCode::invalid_argument, "--group is for weights of 3 to 6 bits; those of 8 share scales by 128");
  }
  profile.group_size = arguments.group_size;
  return profile;
}

// What a run yields besides the file.
struct Outcome {
  QuantizeReport report;
  std::optional<Plan> plan;
  std::unique_ptr<QuantizeGate> gate;
};

void print_json(const QuantizeArguments& arguments, const Outcome& outcome) {
  const QuantizeReport& report = outcome.report;
  Json tensors = Json::array();
  for (const TensorReport& t : report.tensors) {
    tensors.push_back({{"name", t.name},
                       {"from", dtype_info(t.from).name},
                       {"type", dtype_info(t.to).name},
                       {"bytes", t.bytes},
                       {"relative_error", t.relative_error}});
  }
  Json document{{"path", arguments.destination},
                {"bytes", report.file_bytes},
                {"bits_per_weight", report.bits_per_weight},
                {"fp16_share", report.fp16_share},
                {"tensors", tensors}};
  if (outcome.plan) document["plan"] = plan_document(*outcome.plan);
  if (outcome.gate) document["gate"] = divergence_json(outcome.gate->measured());
  std::printf("%s\n", document.dump().c_str());
}

// One line a type: what it costs, and what it loses.
void print_table(const QuantizeArguments& arguments, const Outcome& outcome) {
  const QuantizeReport& report = outcome.report;
  if (outcome.plan) print_plan(*outcome.plan);
  std::printf("type        weights        bytes  bits a weight  worst relative error\n");
  for (int i = 0; i < kNumDTypes; ++i) {
    uint64_t elements = 0, bytes = 0;
    const TensorReport* worst = nullptr;
    for (const TensorReport& t : report.tensors) {
      if (t.to != static_cast<DType>(i)) continue;
      elements += t.elements, bytes += t.bytes;
      if (worst == nullptr || t.relative_error > worst->relative_error) worst = &t;
    }
    if (worst == nullptr) continue;
    std::printf("%-7s %11llu %12llu %14.3f  %.6f %s\n", std::string(dtype_info(worst->to).name).c_str(),
                static_cast<unsigned long long>(elements), static_cast<unsigned long long>(bytes),
                8.0 * static_cast<double>(bytes) / static_cast<double>(elements), worst->relative_error,
                worst->name.c_str());
  }
  std::printf("%s: %s, %.3f bits a weight, %.1f %% of 16 bits\n", arguments.destination.c_str(),
              bytes_text(report.file_bytes).c_str(), report.bits_per_weight, 100 * report.fp16_share);
  if (outcome.gate) print_divergence("the gate's text", outcome.gate->measured());
}

std::unique_ptr<Calibration> calibrate(const QuantizeArguments& arguments, const ModelFiles& source, ThreadTeam& team) {
  if (arguments.calibration_file.empty()) return nullptr;
  const auto bar = std::make_shared<ProgressBar>("calibrating");
  return std::make_unique<Calibration>(source, read_calibration_text(arguments.calibration_file), team,
                                       [bar](int64_t done, int64_t total) {
                                         throw_if_interrupted();
                                         bar->update(static_cast<uint64_t>(done), static_cast<uint64_t>(total));
                                       });
}

// What the gate judges is what was repaired. A run that is stopped leaves `unrepaired` and what it has learned, and the
// next one goes on with them.
void repair(const QuantizeArguments& arguments, const std::string& source, const std::string& unrepaired,
            QuantizeGate* gate) {
  const std::string repaired = arguments.destination + ".repaired";
  run_repair(arguments.python, source, unrepaired, repaired);
  std::filesystem::remove(unrepaired);
  try {
    if (gate) gate->check(repaired);
  } catch (...) {
    std::filesystem::remove(repaired);
    throw;
  }
  std::filesystem::rename(repaired, arguments.destination);
}

void quantize(const QuantizeArguments& arguments) {
  QuantizeOptions options{.profile = profile_of(arguments)};
  check_plan_arguments(arguments.plan);
  if (arguments.repair) check_repair(arguments.python);
  const std::string path = resolve_model(arguments.source);
  const ModelFiles source = open_model_files(path);
  check_source(source);
  check_destination(source, arguments.destination);
  const int num_threads = arguments.num_threads > 0 ? arguments.num_threads : default_num_threads();
  ThreadTeam team(num_threads, allowed_cores());
  const InterruptGuard guard;
  Outcome outcome{.report = {}, .plan = {}, .gate = make_gate(arguments.gate, path, num_threads)};
  if (outcome.gate && !arguments.repair) options.check = [&](const std::string& file) { outcome.gate->check(file); };
  std::unique_ptr<Calibration> calibration = calibrate(arguments, source, team);
  options.calibration = calibration.get();
  if (arguments.plan.is_wanted()) {
    outcome.plan = make_plan(arguments.plan, arguments.calibration_file, source, options.profile, calibration.get(),
                             arguments.destination, team);
    options.profile.types = outcome.plan->types();
    options.profile.residual_rows = outcome.plan->residual_rows();
    options.profile.group_size = outcome.plan->group_size;
  }
  ProgressBar bar("quantizing");
  options.progress = [&](uint64_t done, uint64_t total) {
    throw_if_interrupted();
    bar.update(done, total);
    if (done == total) bar.clear();
  };
  const std::string first = arguments.destination + (arguments.repair ? ".unrepaired" : "");
  outcome.report = quantize_model(source, options, first, team);
  calibration.reset();
  if (arguments.repair) repair(arguments, path, first, outcome.gate.get());
  arguments.json ? print_json(arguments, outcome) : print_table(arguments, outcome);
}

}  // namespace

void register_quantize(CLI::App& app) {
  const auto arguments = std::make_shared<QuantizeArguments>();
  CLI::App* command = app.add_subcommand("quantize", "Write a model's weights in 4 or 8 bits, as one file");
  command->add_option("SRC", arguments->source, "a model file, folder or name")->required();
  command->add_option("DST", arguments->destination, "the file to write")->required();
  add_option(*command, "--profile", arguments->profile,
             "q4 (the default: blocks in 4 bits), q4-ffn8 (FFN and head in 8 bits) or q8");
  add_option(*command, "--bits", arguments->bits, "4 or 8: short for --profile q4 or q8")->check(CLI::IsMember({4, 8}));
  add_option(*command, "--head", arguments->head,
             "the head and the embedding: q4, q5, q6 or q8 instead of the profile's; calibrated, q4 has a residual for "
             "likely rows");
  add_option(
      *command, "--calibrate", arguments->calibration_file,
      "a text the model reads first, or builtin for the one that comes with qwin: what rounding a column loses is "
      "made good in the columns after it");
  add_option(*command, "--group", arguments->group_size,
             "columns of 3 to 6 bits that share a sub-scale: 32, 64 or 128, which save no bytes")
      ->check(CLI::IsMember({32, 64, 128}));
  add_plan_options(*command, arguments->plan);
  add_gate_options(*command, arguments->gate);
  add_switch(*command, "--repair", arguments->repair,
             "then let the source teach the result: norms and biases learn for an hour or more (qwin.repair)");
  add_option(*command, "--python", arguments->python, "with --repair, the Python that has qwin and torch");
  add_option(*command, "--threads", arguments->num_threads, "threads to compute with; 0: every physical core allowed");
  add_switch(*command, "--json", arguments->json, "print the result as JSON");
  command->callback([arguments] { quantize(*arguments); });
}

}  // namespace qwin
