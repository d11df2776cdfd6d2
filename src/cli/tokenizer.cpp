#include "tokenizer/tokenizer.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <iostream>
#include <iterator>
#include <optional>

#include "cli/commands.h"
#include "cli/option_checks.h"
#include "cli/text_options.h"
#include "data/ordered_pipeline.h"
#include "tokenizer/bpe_trainer.h"
#include "tokenizer/patterns.h"
#include "util/error.h"
#include "util/files.h"
#include "util/one_line.h"
#include "util/text.h"
#include "util/utf8.h"

namespace artel {
namespace {

constexpr const char* tokenizer_help =
    "`bytes`, a tokenizer.json, a directory with one, or a tiktoken file (PATTERN:FILE, or its name says the pattern: "
    "r50k, p50k, cl100k, o200k)";

struct TrainArguments {
  TextArguments text;
  BpeTrainingOptions options;
  std::string output;
};

struct EncodeArguments {
  TextArguments text;
  std::string tokenizer;
  std::optional<std::string> given;
  bool count = false;
};

struct DecodeArguments {
  std::string tokenizer;
  std::string file = "-";
};

// Adds up in any order: the outcome does not depend on the threads.
WordCounts merge_counts(std::vector<std::unique_ptr<WordCounter>>& counters) {
  WordCounts counts = std::move(counters[0]->counts());
  for (size_t i = 1; i < counters.size(); ++i) {
    for (const auto& [word, count] : counters[i]->counts()) counts[word] += count;
    counters[i].reset();
  }
  return counts;
}

WordCounts count_words(const TrainArguments& arguments) {
  const TextFormat format = text_format(arguments.text);
  const int threads = num_threads(arguments.text);
  std::vector<std::unique_ptr<WordCounter>> counters;
  for (int i = 0; i < threads; ++i) counters.push_back(std::make_unique<WordCounter>(arguments.options));
  TextBlockReader reader(arguments.text.inputs, format,
                         [&](std::string_view text) { return counters[0]->safe_cut(text); });
  TextProgress progress;
  std::int64_t bytes = 0;
  OrderedPipeline<TextBlock>(threads).run([&](TextBlock& block) { return reader.next(block); },
                                          [&](int worker, TextBlock& block) {
                                            const std::string& path =
                                                arguments.text.inputs[static_cast<std::size_t>(block.begin.input)];
                                            for_each_document(block, format, path, [&](const DocumentPart& part) {
                                              counters[static_cast<std::size_t>(worker)]->add(part.text);
                                            });
                                          },
                                          [&](TextBlock& block) {
                                            bytes += static_cast<std::int64_t>(block.bytes.size());
                                            progress.update(reader.stored_bytes_read(), reader.stored_bytes(), bytes);
                                          });
  progress.finish_line();
  return merge_counts(counters);
}

void train(const TrainArguments& arguments) {
  Log log;
  require_output("--output", arguments.output);
  check_training_options(arguments.options);
  const double start = monotonic_seconds();
  const WordCounts counts = count_words(arguments);
  if (counts.empty()) fail("tokenizer", concat("required text in ", join(arguments.text.inputs, ", "), ", found none"));
  const double counted = monotonic_seconds();
  const TrainedBpe bpe = train_bpe(counts, arguments.options);
  PosixFileLayer files;
  write_file_atomic(files, arguments.output, tokenizer_json_of(bpe, arguments.options));
  const double end = monotonic_seconds();
  log.info(concat("wrote ", arguments.output, ": ", bpe.tokens.size(), " tokens, ", bpe.merges.size(), " merges of ",
                  counts.size(), " different words; ", format_fixed(counted - start, 1), " s to count, ",
                  format_fixed(end - counted, 1), " s to merge"));
  if (static_cast<std::int64_t>(bpe.tokens.size()) < arguments.options.vocab_size) {
    log.warn(concat("required ", arguments.options.vocab_size, " tokens, found no more pairs that occur ",
                    arguments.options.min_frequency, " times after ", bpe.tokens.size(), "; give more text"));
  }
}

// A block of text and what is printed for it.
struct EncodeTask {
  TextBlock block;
  std::int64_t num_ids = 0;
  std::string output;
};

void encode_block(EncodeTask& task, Encoder& encoder, const EncodeArguments& arguments, const TextFormat& format) {
  std::vector<std::int32_t> ids;
  task.output.clear();
  task.num_ids = 0;
  const std::string& path = arguments.text.inputs[static_cast<std::size_t>(task.block.begin.input)];
  for_each_document(task.block, format, path, [&](const DocumentPart& part) {
    ids.clear();
    encoder.encode(part.text, ids);
    task.num_ids += static_cast<std::int64_t>(ids.size());
    if (arguments.count) return;
    bool first = part.begins;
    char digits[16];
    for (const std::int32_t id : ids) {
      if (!first) task.output += ' ';
      first = false;
      task.output.append(digits, std::to_chars(digits, digits + sizeof digits, id).ptr);
    }
    if (part.ends) task.output += '\n';
  });
}

void encode_files(const EncodeArguments& arguments, const Tokenizer& tokenizer, Log& log) {
  const TextFormat format = text_format(arguments.text);
  const int threads = num_threads(arguments.text);
  std::vector<std::unique_ptr<Encoder>> encoders;
  for (int i = 0; i < threads; ++i) encoders.push_back(tokenizer.make_encoder());
  TextBlockReader reader(arguments.text.inputs, format,
                         [&](std::string_view text) { return tokenizer.safe_cut(text); });
  std::int64_t bytes = 0, num_ids = 0;
  const double start = monotonic_seconds();
  OrderedPipeline<EncodeTask>(threads).run([&](EncodeTask& task) { return reader.next(task.block); },
                                           [&](int worker, EncodeTask& task) {
                                             encode_block(task, *encoders[static_cast<std::size_t>(worker)], arguments,
                                                          format);
                                           },
                                           [&](EncodeTask& task) {
                                             bytes += static_cast<std::int64_t>(task.block.bytes.size());
                                             num_ids += task.num_ids;
                                             print(task.output);
                                           });
  if (!arguments.count) return;
  print(concat(num_ids, "\n"));
  const double seconds = monotonic_seconds() - start;
  log.info(concat(bytes, " bytes in ", format_fixed(seconds, 3), " s, ",
                  format_fixed(static_cast<double>(bytes) / 1e6 / seconds, 1), " MB/s with ", threads, " threads"));
}

void encode(EncodeArguments arguments) {
  Log log;
  if (arguments.given.has_value() != arguments.text.inputs.empty()) {
    fail("tokenizer", concat("required files or --text, found ", arguments.given ? "both" : "neither"));
  }
  const std::unique_ptr<Tokenizer> tokenizer = open_tokenizer(arguments.tokenizer, log);
  if (!arguments.given) return encode_files(arguments, *tokenizer, log);
  const bool replace = arguments.text.invalid == "replace";
  const std::vector<std::int32_t> ids =
      tokenizer->encode(replace ? replace_invalid_utf8(*arguments.given) : *arguments.given);
  if (arguments.count) return print(concat(ids.size(), "\n"));
  std::vector<std::string> words;
  for (const std::int32_t id : ids) words.push_back(concat(id));
  print(join(words, " ") + "\n");
}

std::string read_input(const std::string& file) {
  if (file != "-") return read_file(file);
  return {std::istreambuf_iterator<char>(std::cin), {}};
}

std::vector<std::int32_t> parse_ids(const std::string& text) {
  constexpr const char* between = " \t\r\n,[]";
  std::vector<std::int32_t> ids;
  for (std::size_t begin = text.find_first_not_of(between); begin != std::string::npos;) {
    const std::size_t end = std::min(text.find_first_of(between, begin), text.size());
    std::int32_t id = 0;
    const auto result = std::from_chars(text.data() + begin, text.data() + end, id);
    if (result.ec != std::errc() || result.ptr != text.data() + end) {
      fail("tokenizer", concat("required ids, separated by white space or commas, found ",
                               one_line(text.substr(begin, end - begin), 40), " behind ", ids.size(), " ids"));
    }
    ids.push_back(id);
    begin = text.find_first_not_of(between, end);
  }
  return ids;
}

void decode(const DecodeArguments& arguments) {
  Log log;
  const std::unique_ptr<Tokenizer> tokenizer = open_tokenizer(arguments.tokenizer, log);
  print(tokenizer->decode(parse_ids(read_input(arguments.file))));
}

void add_train(CLI::App& parent) {
  auto arguments = std::make_shared<TrainArguments>();
  BpeTrainingOptions& options = arguments->options;
  CLI::App* command = parent.add_subcommand("train",
                                            "Train a byte-level BPE tokenizer and write it as tokenizer.json, which "
                                            "the library `tokenizers` reads. Equal text "
                                            "gives equal files on any number of threads.");
  add_text_options(*command, arguments->text);
  command->add_option("-o,--output", arguments->output, "The tokenizer.json to write")->required()->check(not_empty());
  command->add_option("--vocab-size", options.vocab_size, "Tokens in all: special ones, 256 bytes, merges")
      ->capture_default_str()
      ->check(integer_from(1));
  command->add_option("--pattern", options.pattern, "How text is split before: " + pattern_names(json_patterns()))
      ->capture_default_str();
  command->add_option("--normalizer", options.normalizer, "Normal form of text: none, nfc or nfkc")
      ->capture_default_str();
  command
      ->add_option("--special", options.special_tokens,
                   "Special token (may be given again); the first ids, default <|endoftext|>")
      ->allow_extra_args(false);
  command->add_option("--min-frequency", options.min_frequency, "Pairs that occur less often are not merged")
      ->capture_default_str()
      ->check(integer_from(1));
  command->callback([arguments] { train(*arguments); });
}

void add_encode(CLI::App& parent) {
  auto arguments = std::make_shared<EncodeArguments>();
  CLI::App* command = parent.add_subcommand(
      "encode", "Print the ids of documents, a line for each, without special tokens around them.");
  add_text_options(*command, arguments->text);
  command->get_option("files")->required(false);
  command->add_option("-t,--tokenizer", arguments->tokenizer, tokenizer_help)->required()->check(not_empty());
  command->add_option("--text", arguments->given, "Text to encode instead of files");
  command->add_flag("--count", arguments->count, "Print how many ids there are in all, and the speed");
  command->callback([arguments] { encode(*arguments); });
}

void add_decode(CLI::App& parent) {
  auto arguments = std::make_shared<DecodeArguments>();
  CLI::App* command =
      parent.add_subcommand("decode", "Print the text of ids, byte for byte; special tokens are shown as written.");
  command->add_option("-t,--tokenizer", arguments->tokenizer, tokenizer_help)->required()->check(not_empty());
  command->add_option("file", arguments->file, "File of ids, separated by white space or commas; -: standard input")
      ->capture_default_str()
      ->check(not_empty());
  command->callback([arguments] { decode(*arguments); });
}

}  // namespace

void add_tokenizer_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("tokenizer", "Train tokenizers and use them");
  command->require_subcommand(1);
  add_train(*command);
  add_encode(*command);
  add_decode(*command);
}

}  // namespace artel
