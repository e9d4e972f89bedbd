// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/tokenizer.h"

#include <algorithm>

#include "core/printable.h"
#include "qwin/error.h"
#include "tokenizer/nfc.h"
#include "tokenizer/pretokenizer.h"
#include "tokenizer/unicode.h"

namespace qwin {
namespace {

// The number of ids without the unused ones at the end.
size_t count_ids(const TokenizerSpec& spec) {
  size_t n = spec.tokens.size();
  while (n > 0 && spec.tokens[n - 1].kind == TokenKind::unused) --n;
  return n;
}

Vocabulary make_vocabulary(const TokenizerSpec& spec) {
  Vocabulary vocabulary;
  const size_t num_ids = count_ids(spec);
  size_t num_bytes = 0;
  for (size_t id = 0; id < num_ids; ++id) num_bytes += spec.tokens[id].spelled.size();
  vocabulary.reserve(num_ids, std::min(num_bytes, kMaxVocabularyBytes));
  std::string bytes;
  for (size_t id = 0; id < num_ids; ++id) {
    const TokenSpec& token = spec.tokens[id];
    if (token.kind == TokenKind::normal && token.spelled.empty()) {
      throw Error(ErrorCode::bad_tokenizer, "token " + std::to_string(id) + " is empty");
    }
    const bool byte_level = token.kind == TokenKind::normal && decode_byte_level(token.spelled, bytes);
    vocabulary.add(byte_level ? std::string_view(bytes) : token.spelled, token.kind == TokenKind::normal);
  }
  return vocabulary;
}

// The merges by ids. A part may be an added token that is spelled like a normal one.
std::vector<Merge> resolve_merges(const TokenizerSpec& spec, const Vocabulary& vocabulary, const AddedTokens& added) {
  std::string left_bytes, right_bytes;
  const auto find = [&](std::string_view bytes) {
    const int32_t id = vocabulary.find(bytes);
    return id >= 0 ? id : added.find(bytes);
  };
  std::vector<Merge> merges;
  merges.reserve(spec.merges.size());
  for (const auto& [left, right] : spec.merges) {
    Merge merge{-1, -1, -1};
    if (decode_byte_level(left, left_bytes) && decode_byte_level(right, right_bytes)) {
      merge.left = find(left_bytes);
      merge.right = find(right_bytes);
      merge.merged = find(left_bytes += right_bytes);
    }
    if (merge.left < 0 || merge.right < 0 || merge.merged < 0) {
      throw Error(ErrorCode::bad_tokenizer, "merge " + std::to_string(merges.size()) + " (" + printable(left) + " " +
                                                printable(right) + "): a part or the whole is no token");
    }
    merges.push_back(merge);
  }
  return merges;
}

// A normal and an added token of one spelling would be one token to whoever looks it up. Their bytes may agree (a line
// break added as such beside the normal one), their spelling only when byte-level spelling changes nothing.
void refuse_second_spelling(const Vocabulary& vocabulary, std::string_view spelled, uint32_t id) {
  std::string bytes;
  const int32_t normal = vocabulary.find(spelled);
  if (normal < 0 || !decode_byte_level(spelled, bytes) || bytes != spelled) return;
  throw Error(ErrorCode::bad_tokenizer, "tokens " + std::to_string(normal) + " and " + std::to_string(id) +
                                            " are the same; every token must be there once");
}

}  // namespace

std::shared_ptr<const Tokenizer> Tokenizer::load(const ModelFiles& files) {
  if (files.format == ModelFiles::Format::gguf) return std::make_shared<const Tokenizer>(read_gguf_tokenizer(files));
  if (!files.tokenizer_json) {
    throw Error(ErrorCode::bad_tokenizer, "there is no tokenizer.json beside the model; add it");
  }
  const Json document = parse_json(*files.tokenizer_json, "tokenizer.json", ErrorCode::bad_tokenizer);
  return std::make_shared<const Tokenizer>(read_json_tokenizer(files, document));
}

Tokenizer::Tokenizer(const TokenizerSpec& spec)
    : vocabulary_(make_vocabulary(spec)),
      is_special_(vocabulary_.size()),
      normalize_nfc_(spec.normalize_nfc),
      add_bos_(spec.add_bos),
      bos_id_(spec.bos_id) {
  for (uint32_t id = 0; id < vocabulary_.size(); ++id) {
    const TokenSpec& token = spec.tokens[id];
    if (token.kind != TokenKind::added && token.kind != TokenKind::control) continue;
    refuse_second_spelling(vocabulary_, token.spelled, id);
    added_tokens_.add(token.spelled, static_cast<int32_t>(id));
    is_special_[id] = token.kind == TokenKind::control;
  }
  encoder_ = std::make_unique<const BytePairEncoder>(vocabulary_, resolve_merges(spec, vocabulary_, added_tokens_));
  collect_eos_ids(spec);
}

void Tokenizer::collect_eos_ids(const TokenizerSpec& spec) {
  eos_ids_ = spec.eos_ids;
  // Models name one end token; answers end with any of these, by the training of the Qwen family.
  for (const std::string_view content : {"<|endoftext|>", "<|im_end|>"}) {
    const bool belongs = content != "<|im_end|>" || spec.chat_template.find(content) != std::string_view::npos;
    const int32_t id = added_tokens_.find(content);
    if (belongs && id >= 0 && is_special_[id]) eos_ids_.push_back(id);
  }
  std::sort(eos_ids_.begin(), eos_ids_.end());
  eos_ids_.erase(std::unique(eos_ids_.begin(), eos_ids_.end()), eos_ids_.end());
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool parse_special) const {
  const TextSegment segment{text, parse_special};
  return encode(std::span(&segment, 1));
}

std::vector<int32_t> Tokenizer::encode(std::span<const TextSegment> segments) const {
  std::string joined;
  std::string_view text = segments.empty() ? std::string_view() : segments[0].text;
  if (segments.size() > 1) {
    for (const TextSegment& segment : segments) joined += segment.text;
    text = joined;
  }
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3);
  BytePairEncoder::Scratch scratch;
  size_t done = 0, segment_begin = 0;
  for (size_t i = 0; i < segments.size();) {
    // Neighbours of one kind count as one text.
    size_t run_end = segment_begin;
    const bool parse_special = segments[i].parse_special;
    for (; i < segments.size() && segments[i].parse_special == parse_special; ++i) run_end += segments[i].text.size();
    if (parse_special) {
      const std::string_view run = text.substr(0, run_end);
      for (auto match = added_tokens_.find_next(run, segment_begin); match;
           match = added_tokens_.find_next(run, match->end)) {
        encode_plain(text.substr(done, match->begin - done), ids, scratch);
        ids.push_back(match->id);
        done = match->end;
      }
    }
    segment_begin = run_end;
  }
  encode_plain(text.substr(done), ids, scratch);
  return ids;
}

void Tokenizer::encode_plain(std::string_view text, std::vector<int32_t>& ids,
                             BytePairEncoder::Scratch& scratch) const {
  std::string normalized;
  if (normalize_nfc_ && !is_surely_nfc(text)) {
    normalized = to_nfc(text);
    text = normalized;
  }
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = next_piece_end(text, begin);
    encoder_->encode(text.substr(begin, end - begin), ids, scratch);
    begin = end;
  }
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const int32_t id : ids) {
    if (!skip_special || !is_special(id)) bytes += token_bytes(id);
  }
  std::string text;
  if (unicode::append_replacing_invalid(text, bytes) > 0) text += unicode::kReplacementCharacter;
  return text;
}

std::string_view Tokenizer::token_bytes(int32_t id) const {
  return id >= 0 && static_cast<uint32_t>(id) < num_ids() ? vocabulary_.bytes(static_cast<uint32_t>(id))
                                                          : std::string_view();
}

bool Tokenizer::is_special(int32_t id) const {
  return id >= 0 && static_cast<uint32_t>(id) < num_ids() && is_special_[static_cast<size_t>(id)];
}

std::optional<int32_t> Tokenizer::find_token(std::string_view content) const {
  int32_t id = added_tokens_.find(content);
  if (id < 0) id = vocabulary_.find(content);
  return id < 0 ? std::nullopt : std::optional(id);
}

}  // namespace qwin
