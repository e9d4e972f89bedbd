// SPDX-License-Identifier: Apache-2.0
#include "compress/quantize_model.h"

#include <sys/stat.h>

#include <algorithm>
#include <exception>
#include <mutex>

#include "io/gguf_file_writer.h"
#include "model/config.h"
#include "quant/dequantize.h"
#include "quant/quantize_spans.h"
#include "qwin/error.h"

namespace qwin {
namespace {

constexpr size_t kRowGrain = 8;             // rows a thread takes at a time
constexpr uint64_t kStripBytes = 4u << 20;  // of the source, between two reports of progress

bool is_head(std::string_view name) {
  return name == "token_embd.weight" || name == "output.weight" || name == "model.embed_tokens.weight" ||
         name == "lm_head.weight";
}

bool is_ffn(std::string_view name) {
  return name.find(".ffn_") != std::string_view::npos || name.find(".mlp.") != std::string_view::npos;
}

// Squares that add up over rows.
struct Squares {
  double error = 0, weights = 0;
};

Squares quantize_row(const TensorInfo& tensor, size_t row, DType type, size_t group_size, const float* importance,
                     std::vector<float>& floats, std::byte* out) {
  const size_t columns = tensor.shape[1];
  const DTypeInfo& from = dtype_info(tensor.dtype);
  floats.resize(2 * columns);
  float *weights = floats.data(), *back = weights + columns;
  dequantize(tensor.dtype, tensor.data.data() + row * (columns / from.block_elements * from.block_bytes), columns,
             weights);
  quantize_spans(type, weights, columns, importance, group_size, out);
  dequantize(type, out, columns, back);
  Squares squares;
  for (size_t i = 0; i < columns; ++i) {
    const double left = static_cast<double>(weights[i]) - back[i];
    const double counts = importance == nullptr ? 1 : importance[i];
    squares.error += counts * left * left;
    squares.weights += counts * weights[i] * weights[i];
  }
  return squares;
}

class Quantizer {
 public:
  Quantizer(const ModelFiles& source, const QuantizeProfile& profile, const Importance& importance,
            const std::string& path, ThreadTeam& team, const QuantizeProgress& progress)
      : source_(source), profile_(profile), importance_(importance), team_(team), progress_(progress), writer_(path) {
    for (const TensorInfo& tensor : source.tensors.tensors()) total_ += tensor.data.size();
  }

  QuantizeReport run() {
    announce();
    for (const TensorInfo& tensor : source_.tensors.tensors()) {
      report_.tensors.push_back(convert(tensor));
      done_ += tensor.data.size();
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
    for (const TensorInfo& tensor : source_.tensors.tensors())
      writer_.add_tensor(tensor.name, quantized_type(tensor, profile_), tensor.shape);
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
    std::vector<Squares> squares(rows);
    Squares total;
    for (size_t first = 0; first < rows; first += strip) {
      const size_t last = std::min(first + strip, rows);
      quantize_rows(tensor, type, first, last, squares);
      for (size_t row = first; row < last; ++row)
        total.error += squares[row].error, total.weights += squares[row].weights;
      report_progress(tensor.data.size() / rows * last);
    }
    return total;
  }

  void quantize_rows(const TensorInfo& tensor, DType type, size_t first, size_t last, std::vector<Squares>& squares) {
    const size_t row_bytes = result_.size() / tensor.shape[0];
    const auto known = importance_.find(tensor.name);
    const float* importance = known == importance_.end() ? nullptr : known->second.data();
    std::mutex mutex;
    std::exception_ptr failure;
    team_.for_each(last - first, kRowGrain, [&](size_t begin, size_t end, int) {
      try {
        std::vector<float> floats;
        for (size_t row = first + begin; row < first + end; ++row)
          squares[row] = quantize_row(tensor, row, type, profile_.group_size, importance, floats,
                                      result_.data() + row * row_bytes);
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
  const Importance& importance_;
  ThreadTeam& team_;
  const QuantizeProgress& progress_;
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

QuantizeReport quantize_model(const ModelFiles& source, const QuantizeProfile& profile, const Importance& importance,
                              const std::string& path, ThreadTeam& team, const QuantizeProgress& progress) {
  check_tensors(read_model_config(source), source);
  check_destination(source, path);
  return Quantizer(source, profile, importance, path, team, progress).run();
}

}  // namespace qwin
