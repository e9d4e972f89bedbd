// SPDX-License-Identifier: Apache-2.0
// Documents longer than one likes to read at once: cut between sentences, every part asked, the answers asked together;
// or read in one pass with hybrid attention.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "qwin/engine.h"

namespace qwin {

enum class DocumentMethod {
  segments,  // each part by itself, then the answers together
  one_pass,  // all of it in one prompt, which has to fit the context
};
const char* document_method_name(DocumentMethod method);
// Throws Error(invalid_argument).
DocumentMethod document_method_of(const std::string& name);

struct DocumentOptions {
  DocumentMethod method = DocumentMethod::segments;
  std::string instruction = {};         // asked of every segment; empty: a summary, in the document's language
  std::string reduce_instruction = {};  // asked of the answers together; empty: made from the instruction
  std::string system = {};              // the system message of every chat
  bool raw = false;                     // prompts are continued as plain text: for models without a chat template
  int64_t segment_tokens = 1024;
  int64_t overlap = 256;  // tokens at the beginning of a segment that end the one before it
  // What every request has besides its prompt. timeout_seconds is that of the whole document; with one_pass and no
  // attention_type it is hybrid.
  Request request = {};
  // Answers over segments that are known already, by the segment's number: these are not asked again.
  std::vector<std::optional<std::string>> partial_answers = {};
  // A file that keeps them while they come, so that the same call goes on where an interrupted one was; removed at the
  // end. In a folder the file has a name of its own. Empty: none.
  std::string journal = {};
};

// A part of the text, in bytes.
struct DocumentSegment {
  size_t begin = 0, end = 0;
  int64_t num_tokens = 0;
};

struct DocumentResult {
  std::string text;  // the answer over the whole document
  std::vector<DocumentSegment> segments;
  std::vector<std::string> partial_answers;  // [segments.size()]
  FinishReason finish_reason = FinishReason::stop;
  int64_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;  // of all requests of this run
  AttentionPlan attention = {};                                         // of the last one
};

// Called by the thread that drives the run. What is left empty is not told.
struct DocumentEvents {
  // Requests answered, of those that are known to be needed so far.
  std::function<void(size_t done, size_t total)> on_progress = {};
  std::function<void(size_t segment, const std::string& answer)> on_partial_answer = {};
  std::function<void(std::string_view text)> on_text = {};  // of the answer over the whole document, as it comes
};

// A document under way. One thread drives it; requests are submitted and taken in by advance() alone, as many at a time
// as the engine runs. Destroying it cancels what is left.
class DocumentRun {
 public:
  // Throws Error: invalid_argument for options out of range, an empty document or one that is no UTF-8, and for a
  // journal that belongs to another run; io.
  DocumentRun(Engine& engine, std::string text, DocumentOptions options, DocumentEvents events = {});
  ~DocumentRun();
  DocumentRun(const DocumentRun&) = delete;
  DocumentRun& operator=(const DocumentRun&) = delete;

  // `wake` is called, on any thread, whenever advance() has something to do.
  void attach(std::function<void()> wake);
  // Takes in what has come and submits what is next; true when the document is done. Throws what a request failed with.
  bool advance();
  // Until advance() has something to do; false when `seconds` go by before.
  bool wait(double seconds);
  // A step was done for it, or nothing was left to do.
  bool has_begun() const;
  // A held document takes no part in steps: its reader is slower than the model.
  void hold(bool held);
  // Requires: advance() said true.
  const DocumentResult& result() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Runs a document to its end. `tick`, if there is one, is asked about ten times a second and stops it by saying false;
// Error(cancelled) is thrown then.
DocumentResult process_document(Engine& engine, std::string text, DocumentOptions options, DocumentEvents events = {},
                                const std::function<bool()>& tick = {});

// Where the segments lie: at most segment_tokens tokens each, cut between sentences; each begins with the sentences
// that end the one before it, at most `overlap` tokens of them. A sentence longer than a segment is cut within. Throws
// Error(invalid_argument).
std::vector<DocumentSegment> split_document(const Engine& engine, std::string_view text, int64_t segment_tokens,
                                            int64_t overlap);

// The text of a file, in UTF-8: plain text, Markdown and whatever else is UTF-8 as it is, .docx by its paragraphs, .pdf
// by the program pdftotext. Throws Error: path or io, invalid_argument for what holds no text.
std::string read_document(const std::string& path);

}  // namespace qwin
