// SPDX-License-Identifier: Apache-2.0
#include "compress/quantize_model.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <exception>
#include <mutex>

#include "compress/quantize_rows.h"
#include "io/gguf_file_writer.h"
#include "model/config.h"
#include "qwin/error.h"

namespace qwin {
namespace {

constexpr size_t kRowGrain = 32;            // rows a thread takes at a time
constexpr uint64_t kStripBytes = 4u << 20;  // of the source, between two reports of progress

bool is_head(std::string_view name) {
  return name == "token_embd.weight" || name == "output.weight" || name == "model.embed_tokens.weight" ||
         name == "lm_head.weight";
}

bool is_ffn(std::string_view name) {
  return name.find(".ffn_") != std::string_view::npos || name.find(".mlp.") != std::string_view::npos;
}

// -1 for one that is in no layer.
int layer_of(std::string_view name) {
  for (const std::string_view prefix : {"model.layers.", "blk."}) {
    int layer = 0;
    if (name.starts_with(prefix) &&
        std::from_chars(name.data() + prefix.size(), name.data() + name.size(), layer).ec == std::errc())
      return layer;
  }
  return -1;
}

class Quantizer {
 public:
  Quantizer(const ModelFiles& source, const QuantizeProfile& profile, Calibration* calibration, const std::string& path,
            ThreadTeam& team, const QuantizeProgress& progress)
      : source_(source),
        profile_(profile),
        calibration_(calibration),
        team_(team),
        progress_(progress),
        kernels_(make_cpu_kernels(CpuIsa::float32)),
        writer_(path) {
    for (const TensorInfo& tensor : source.tensors.tensors()) {
      tensors_.push_back(&tensor);
      total_ += tensor.data.size();
    }
    // Layers in order: what calibration knows of one need not be kept.
    std::ranges::stable_sort(tensors_, {}, [](const TensorInfo* tensor) { return layer_of(tensor->name); });
  }

  QuantizeReport run() {
    announce();
    for (const TensorInfo* tensor : tensors_) {
      report_.tensors.push_back(convert(*tensor));
      done_ += tensor->data.size();
      report_progress(0);
    }
    writer_.finish();
    uint64_t elements = 0, bytes = 0;
    for (const TensorReport& tensor : report_.tensors) elements += tensor.elements, bytes += tensor.bytes;
    report_.file_bytes = writer_.file_bytes();
    report_.bits_per_weight = 8.0 * static_cast<double>(bytes) / static_cast<double>(elements);
    report_.fp16_share = static_cast<double>(report_.file_bytes) / (2.0 * static_cast<double>(elements));
    return std::move(report_);
  }

 private:
  void announce() {
    writer_.add_uint(kOwnFormatKey, kOwnFormatVersion);
    if (source_.format == ModelFiles::Format::safetensors) {
      announce_documents();
    } else {
      for (const auto& [key, value] : source_.gguf.entries()) {
        if (is_kept(key)) writer_.add(key, value);
      }
    }
    for (const TensorInfo* tensor : tensors_)
      writer_.add_tensor(tensor->name, quantized_type(*tensor, profile_), tensor->shape);
  }

  // What tells of the source's types, alignment and parts is not true of the result.
  static bool is_kept(std::string_view key) {
    return key != "general.file_type" && key != "general.quantization_version" && key != "general.alignment" &&
           key != kOwnFormatKey && !key.starts_with("split.");
  }

  void announce_documents() {
    const auto add_json = [&](const DocumentKey& key, const Json& document) {
      if (!document.is_null()) writer_.add_string(key.key, document.dump());
    };
    add_json(kConfigKey, source_.config);
    add_json(kGenerationConfigKey, source_.generation_config);
    add_json(kTokenizerConfigKey, source_.tokenizer_config);
    if (source_.tokenizer_json) writer_.add_string(kTokenizerKey.key, *source_.tokenizer_json);
    if (source_.chat_template) writer_.add_string(kChatTemplateKey.key, *source_.chat_template);
  }

  TensorReport convert(const TensorInfo& tensor) {
    TensorReport report{.name = tensor.name, .from = tensor.dtype, .to = quantized_type(tensor, profile_)};
    report.elements = tensor.num_elements();
    report.bytes = tensor_bytes(tensor.name, report.to, tensor.shape);
    if (report.to == tensor.dtype) {
      writer_.write_tensor(tensor.data.data(), report.bytes);
      return report;
    }
    result_.resize(report.bytes);
    const Squares squares = quantize(tensor, report.to);
    report.relative_error = squares.weights > 0 ? squares.error / squares.weights : 0;
    writer_.write_tensor(result_.data(), report.bytes);
    return report;
  }

  // All rows into result_, strip by strip. Rows' sums are added in order, so that a report does not depend on threads.
  Squares quantize(const TensorInfo& tensor, DType type) {
    const size_t rows = tensor.shape[0];
    const size_t strip = std::max<size_t>(1, kStripBytes / (tensor.data.size() / rows));
    const ErrorFeedback* feedback = calibration_ == nullptr ? nullptr : calibration_->feedback(tensor.name);
    std::vector<Squares> squares(rows);
    Squares total;
    for (size_t first = 0; first < rows; first += strip) {
      const size_t last = std::min(first + strip, rows);
      quantize_strip(tensor, type, feedback, first, last, squares.data());
      for (size_t row = first; row < last; ++row)
        total.error += squares[row].error, total.weights += squares[row].weights;
      report_progress(tensor.data.size() / rows * last);
    }
    return total;
  }

  void quantize_strip(const TensorInfo& tensor, DType type, const ErrorFeedback* feedback, size_t first, size_t last,
                      Squares* squares) {
    std::mutex mutex;
    std::exception_ptr failure;
    team_.for_each(last - first, kRowGrain, [&](size_t begin, size_t end, int) {
      try {
        if (feedback == nullptr) {
          quantize_rows(tensor, type, profile_.group_size, first + begin, first + end, result_.data(), squares);
          return;
        }
        for (size_t at = first + begin; at < first + end; at += kRowGrain) {
          quantize_rows(tensor, type, profile_.group_size, at, std::min(at + kRowGrain, first + end), *feedback,
                        kernels_, result_.data(), squares);
        }
      } catch (...) {
        const std::lock_guard lock(mutex);
        failure = std::current_exception();
      }
    });
    if (failure) std::rethrow_exception(failure);
  }

  // `bytes` of the tensor in work are read.
  void report_progress(uint64_t bytes) {
    if (progress_) progress_(done_ + bytes, total_);
  }

  const ModelFiles& source_;
  const QuantizeProfile& profile_;
  Calibration* calibration_;
  ThreadTeam& team_;
  const QuantizeProgress& progress_;
  const CpuKernels kernels_;
  std::vector<const TensorInfo*> tensors_;
  GgufFileWriter writer_;
  QuantizeReport report_;
  std::vector<std::byte> result_;
  uint64_t done_ = 0, total_ = 0;
};

// Replacing a file that is being read would take its bytes away.
void check_destination(const ModelFiles& source, const std::string& path) {
  struct stat destination, file;
  if (stat(path.c_str(), &destination) != 0) return;
  for (const auto& mapped : source.files) {
    if (stat(mapped->path().c_str(), &file) == 0 && file.st_dev == destination.st_dev &&
        file.st_ino == destination.st_ino) {
      throw Error(ErrorCode::invalid_argument, path + " is the model that is read; give another name");
    }
  }
}

}  // namespace

QuantizeProfile quantize_profile(std::string_view name) {
  if (name == "q4") return {};
  if (name == "q4-ffn8") return {.attention = DType::q4, .ffn = DType::q8, .head = DType::q8};
  if (name == "q8") return {.attention = DType::q8, .ffn = DType::q8, .head = DType::q8};
  throw Error(ErrorCode::invalid_argument, "there is no profile " + std::string(name) + "; use q4, q4-ffn8 or q8");
}

DType quantized_type(const TensorInfo& tensor, const QuantizeProfile& profile) {
  if (tensor.shape.size() != 2 || tensor.shape[1] % dtype_info(DType::q4).block_elements != 0) return tensor.dtype;
  if (is_head(tensor.name)) return profile.head;
  return is_ffn(tensor.name) ? profile.ffn : profile.attention;
}

QuantizeReport quantize_model(const ModelFiles& source, const QuantizeProfile& profile, Calibration* calibration,
                              const std::string& path, ThreadTeam& team, const QuantizeProgress& progress) {
  check_tensors(read_model_config(source), source);
  check_destination(source, path);
  return Quantizer(source, profile, calibration, path, team, progress).run();
}

}  // namespace qwin
