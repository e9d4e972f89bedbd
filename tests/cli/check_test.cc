// SPDX-License-Identifier: Apache-2.0
// `qwin check` from end to end on hostile variants of the tiny models: exit code and the class on stderr's only line.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include "cli/cli.h"
#include "io/gguf.h"
#include "io/io_test_support.h"
#include "io/json.h"
#include "io/safetensors_writer.h"

namespace qwin {
namespace {

using testing::TemporaryFolder;

struct Outcome {
  int exit_code;
  std::string out, err;
};

Outcome run(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"qwin", "check"});
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  const int exit_code = run_cli(static_cast<int>(argv.size()), argv.data());
  return {exit_code, ::testing::internal::GetCapturedStdout(), ::testing::internal::GetCapturedStderr()};
}

// The class of the refusal; "none" when the model is good. Everything else is a failure of the test.
std::string refusal(const std::vector<std::string>& arguments) {
  const Outcome outcome = run(arguments);
  if (outcome.exit_code == 0) return "none";
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err.find('\n'), outcome.err.size() - 1) << outcome.err;
  EXPECT_EQ(outcome.err.find("error: "), 0u) << outcome.err;
  return outcome.err.substr(7, outcome.err.find(':', 7) - 7);
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

const std::string kTiny = QWIN_TESTDATA "/tiny/";
const std::string kTinyGguf = kTiny + "qwen2_tied_gguf_q8_0/model.gguf";

template <typename T>
std::string with_value(std::string bytes, size_t at, T value) {
  EXPECT_LE(at + sizeof(value), bytes.size());
  std::memcpy(bytes.data() + at, &value, sizeof(value));
  return bytes;
}

// The offset behind `"key" type` in a GGUF file, where a scalar's value lies.
size_t value_of_key(const std::string& bytes, const std::string& key) {
  const size_t at = bytes.find(key);
  EXPECT_NE(at, std::string::npos) << key;
  return at + key.size() + 4;
}

class CheckTest : public ::testing::Test {
 protected:
  std::string refusal_of_bytes(const std::string& bytes) { return refusal({folder_.write("model.gguf", bytes)}); }
  std::string refusal_with_u32(const std::string& key, uint32_t value) {
    return refusal_of_bytes(with_value(gguf_, value_of_key(gguf_, key), value));
  }
  std::string refusal_with_f32(const std::string& key, float value) {
    return refusal_of_bytes(with_value(gguf_, value_of_key(gguf_, key), value));
  }
  // A writable copy of a tiny model's directory.
  std::string copy(const std::string& name) {
    std::filesystem::remove_all(folder_ / name);
    std::filesystem::copy(kTiny + name, folder_ / name);
    return folder_ / name;
  }

  TemporaryFolder folder_;
  const std::string gguf_ = read_file(kTinyGguf);
};

TEST_F(CheckTest, AcceptsEveryTinyModel) {
  for (const char* name : {"qwen2_tied", "qwen2_untied_bf16", "qwen2_windowed", "qwen2_yarn", "qwen3",
                           "qwen2_sharded_f16", "qwen2_tied_gguf_f32/model.gguf", "qwen2_tied_gguf_q8_0/model.gguf"}) {
    const Outcome outcome = run({kTiny + name});
    EXPECT_EQ(outcome.exit_code, 0) << name << ": " << outcome.err;
    EXPECT_EQ(outcome.err, "");
    EXPECT_NE(outcome.out.find("2 layers, hidden size 64") == std::string::npos,
              outcome.out.find("3 layers, hidden size 64") == std::string::npos);
  }
}

TEST_F(CheckTest, PrintsAnObject) {
  const Outcome outcome = run({kTinyGguf, "--json"});
  ASSERT_EQ(outcome.exit_code, 0);
  const Json object = parse_json(outcome.out, "stdout", ErrorCode::invalid_argument);
  EXPECT_EQ(object["format"], "gguf");
  EXPECT_EQ(object["architecture"], "qwen2");
  EXPECT_EQ(object["num_layers"], 2);
  EXPECT_EQ(object["vocab_size"], 320);
  EXPECT_EQ(object["tensors"], 26);
  EXPECT_EQ(object["types"]["Q8_0"], 15);
  EXPECT_EQ(object["warnings"].size(), 0u);
}

TEST_F(CheckTest, RefusesHeadersOfEveryWrongKind) {
  EXPECT_EQ(refusal_of_bytes("GGML" + gguf_.substr(4)), "bad_magic");
  for (uint32_t version : {0u, 1u, 4u, 0x03000000u})
    EXPECT_EQ(refusal_of_bytes(with_value(gguf_, 4, version)), "bad_version");
  for (uint64_t count : {uint64_t{1} << 31, uint64_t{1} << 60, (uint64_t{1} << 63) - 1, UINT64_MAX}) {
    EXPECT_EQ(refusal_of_bytes(with_value(gguf_, 8, count)), "too_large");
    EXPECT_EQ(refusal_of_bytes(with_value(gguf_, 16, count)), "too_large");
  }
}

TEST_F(CheckTest, RefusesBadConfiguration) {
  for (const char* key : {"attention.head_count", "attention.head_count_kv", "block_count", "context_length",
                          "embedding_length", "feed_forward_length"}) {
    EXPECT_EQ(refusal_with_u32(std::string("qwen2.") + key, 0), "bad_config") << key;
  }
  EXPECT_EQ(refusal_with_u32("qwen2.block_count", 1u << 31), "bad_config");
  EXPECT_EQ(refusal_with_u32("qwen2.attention.head_count_kv", 3), "bad_config");
  EXPECT_EQ(refusal_with_f32("qwen2.attention.layer_norm_rms_epsilon", NAN), "bad_config");
  EXPECT_EQ(refusal_with_f32("qwen2.attention.layer_norm_rms_epsilon", -1), "bad_config");
  EXPECT_EQ(refusal_with_f32("qwen2.rope.freq_base", 0), "bad_config");
  EXPECT_EQ(refusal_with_f32("qwen2.rope.freq_base", INFINITY), "bad_config");
}

TEST_F(CheckTest, RefusesBadTokenizers) {
  EXPECT_EQ(refusal_with_u32("tokenizer.ggml.eos_token_id", 1u << 31), "bad_tokenizer");
  std::string bytes = gguf_;
  bytes.replace(bytes.find("tokenizer.ggml.tokens"), 21, "tokenizer.ggml.tokenz");
  EXPECT_EQ(refusal_of_bytes(bytes), "bad_tokenizer");
  const std::string directory = copy("qwen2_tied");
  folder_.write("qwen2_tied/tokenizer.json", "{}");
  EXPECT_EQ(refusal({directory}), "bad_tokenizer");
  std::filesystem::remove(directory + "/tokenizer.json");
  EXPECT_EQ(refusal({directory}), "bad_tokenizer");
}

TEST_F(CheckTest, RefusesABadTemplate) {
  std::string bytes = gguf_;
  const size_t at = bytes.find("{% for");
  ASSERT_NE(at, std::string::npos);
  bytes.replace(at, 6, "{% fro");
  EXPECT_EQ(refusal_of_bytes(bytes), "bad_template");
  const std::string directory = copy("qwen2_tied");
  folder_.write("qwen2_tied/chat_template.jinja", "{{ messages[0 }}");
  EXPECT_EQ(refusal({directory}), "bad_template");
}

TEST_F(CheckTest, RefusesMissingAndTransposedTensors) {
  std::string bytes = gguf_;
  const std::string name = "blk.1.ffn_down.weight";
  bytes[bytes.find(name)] = 'x';
  EXPECT_EQ(refusal_of_bytes(bytes), "missing_tensor");
  const size_t extents = gguf_.find(name) + name.size() + 4;
  bytes = with_value(with_value(gguf_, extents, uint64_t{64}), extents + 8, uint64_t{96});
  EXPECT_EQ(refusal_of_bytes(bytes), "bad_shape");
}

TEST_F(CheckTest, RefusesAFileCutAnywhere) {
  for (size_t i = 0; i < 200; ++i) {
    EXPECT_NE(refusal_of_bytes(gguf_.substr(0, gguf_.size() * i / 200)), "none") << i;
  }
}

TEST_F(CheckTest, RefusesValuesThatAreNotFinite) {
  const GgufFile file = read_gguf(FileSpan::of_memory(gguf_.data(), gguf_.size()));
  for (const char* name : {"blk.1.attn_norm.weight", "blk.0.ffn_up.weight"}) {  // F32 and a Q8_0 scale
    const size_t at =
        static_cast<size_t>(file.tensors.find(name)->data.data() - FileSpan::of_memory(gguf_.data(), 1).data());
    const Outcome outcome = run({folder_.write("model.gguf", with_value(gguf_, at, uint32_t{0x7fc07fc0}))});
    EXPECT_EQ(outcome.exit_code, 2);
    EXPECT_EQ(outcome.err.find("error: non_finite: tensor '" + std::string(name) + "'"), 0u) << outcome.err;
  }
}

TEST_F(CheckTest, RefusesWhatIsNoFile) {
  ASSERT_EQ(mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  folder_.write("empty", "");
  for (const std::string& path :
       {folder_ / "fifo", folder_ / "empty", folder_ / "absent", folder_.path(), std::string("/dev/zero")}) {
    EXPECT_EQ(refusal({path}), "io") << path;
    EXPECT_EQ(refusal({path, "--sha256", std::string(64, '0')}), "io") << path;
  }
}

TEST_F(CheckTest, ComparesTheDigest) {
  const std::string path = folder_.write("abc", "abc");
  const std::string digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  EXPECT_EQ(refusal({path, "--sha256", digest}), "bad_magic");
  EXPECT_EQ(refusal({path, "--sha256", "BA" + digest.substr(2)}), "bad_magic");
  EXPECT_EQ(refusal({path, "--sha256", "bb" + digest.substr(2)}), "checksum");
  EXPECT_EQ(refusal({path, "--sha256", "ba78"}), "invalid_argument");
}

TEST_F(CheckTest, WarnsOfTensorsNothingAsksFor) {
  const std::string directory = copy("qwen2_sharded_f16");
  folder_.write("qwen2_sharded_f16/extra.safetensors", testing::safetensors_of({{"extra", std::string(4, '\0')}}));
  std::string index = read_file(directory + "/model.safetensors.index.json");
  index.insert(index.find('{', index.find("weight_map")) + 1, "\"extra\": \"extra.safetensors\",");
  folder_.write("qwen2_sharded_f16/model.safetensors.index.json", index);
  const Outcome outcome = run({directory});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.err.find("warning: "), 0u) << outcome.err;
  EXPECT_NE(outcome.err.find("extra"), std::string::npos);
}

TEST_F(CheckTest, OpensNoProgramTextOfADirectory) {
  const std::string directory = copy("qwen2_tied");
  // Opening one of these would end in an error: they are no regular files.
  for (const char* name : {"modeling_qwen.py", "pytorch_model.bin", "weights.pkl", "vocab.json", "merges.txt"}) {
    ASSERT_EQ(mkfifo((directory + "/" + name).c_str(), 0600), 0);
  }
  EXPECT_EQ(refusal({directory}), "none");
}

}  // namespace
}  // namespace qwin
