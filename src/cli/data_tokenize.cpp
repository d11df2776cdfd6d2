#include <CLI/CLI.hpp>
#include <optional>

#include "cli/commands.h"
#include "cli/option_checks.h"
#include "cli/text_options.h"
#include "data/tokenize.h"
#include "util/crc32c.h"
#include "util/error.h"
#include "util/text.h"

namespace artel {
namespace {

struct TokenizeArguments {
  TextArguments text;
  std::string tokenizer;
  std::string output;
  std::string format = "megatron";
  std::string dtype = "auto";
  std::string document_end = "append";
  std::string end_token;
  std::int64_t shard_tokens = TokenWriterOptions().shard_tokens;
  bool restart = false;
};

TokenFormat format_named(const std::string& name) {
  return name == "megatron" ? TokenFormat::megatron : name == "llmc" ? TokenFormat::llmc : TokenFormat::raw;
}

TokenType type_of_ids(const TokenizeArguments& arguments, TokenFormat format, std::int64_t num_ids) {
  if (arguments.dtype == "auto") return token_type_for(format, num_ids);
  for (const TokenType type : {TokenType::uint8, TokenType::uint16, TokenType::uint32}) {
    if (arguments.dtype != token_type_name(type)) continue;
    const int bits = static_cast<int>(8 * token_type_size(type));
    if (bits < 32 && num_ids > std::int64_t{1} << bits) {
      fail("data", concat("--dtype required a type that holds ids below ", num_ids, ", found ", arguments.dtype));
    }
    return type;
  }
  fail("data", concat("--dtype required auto, uint8, uint16 or uint32, found ", arguments.dtype));
}

std::int32_t end_id(const TokenizeArguments& arguments, const Tokenizer& tokenizer) {
  if (arguments.end_token.empty()) return arguments.document_end == "none" ? 0 : tokenizer.end_of_document();
  const std::optional<std::int32_t> id = tokenizer.find_token(arguments.end_token);
  if (!id) {
    fail("data", concat("--end-token required a token of ", arguments.tokenizer, ", found ", arguments.end_token));
  }
  return *id;
}

// The name and the contents: a run goes on with the same ids only.
std::string identity_of(const std::string& tokenizer) {
  std::string identity = tokenizer;
  for (const std::string& file : tokenizer_files(tokenizer)) {
    const std::string bytes = read_file(file);
    identity += concat(" crc32c ", crc32c(bytes.data(), bytes.size()));
  }
  return identity;
}

void tokenize(const TokenizeArguments& arguments) {
  Log log;
  const std::unique_ptr<Tokenizer> tokenizer = open_tokenizer(arguments.tokenizer, log);
  TokenizeOptions options;
  options.inputs = arguments.text.inputs;
  options.format = text_format(arguments.text);
  options.output.prefix = arguments.output;
  options.output.format = format_named(arguments.format);
  options.output.type = type_of_ids(arguments, options.output.format, tokenizer->num_ids());
  options.output.shard_tokens = arguments.shard_tokens;
  options.document_end = arguments.document_end == "append"    ? DocumentEnd::append
                         : arguments.document_end == "prepend" ? DocumentEnd::prepend
                                                               : DocumentEnd::none;
  options.end_id = end_id(arguments, *tokenizer);
  options.num_threads = num_threads(arguments.text);
  options.restart = arguments.restart;
  options.tokenizer = identity_of(arguments.tokenizer);
  PosixFileLayer files;
  TextProgress progress;
  const double start = monotonic_seconds();
  const TokenizeResult result = tokenize_files(files, *tokenizer, options, [&](const TokenizeProgress& now) {
    progress.update(now.stored_bytes_read, now.stored_bytes, now.text_bytes,
                    concat("  ", format_count(static_cast<double>(now.written.num_tokens)), " tokens"));
  });
  progress.finish_line();
  const double seconds = monotonic_seconds() - start;
  const auto bytes = static_cast<double>(result.progress.text_bytes);
  log.info(concat(result.progress.written.num_tokens, " tokens of ", result.progress.written.num_documents,
                  " documents as ", token_type_name(options.output.type),
                  result.resumed ? ", the first of them by an earlier run" : "", "; ",
                  result.progress.num_empty > 0 ? concat(result.progress.num_empty, " empty documents left out; ") : "",
                  format_bytes(bytes), " in ", format_fixed(seconds, 1), " s, ",
                  format_fixed(bytes / 1e6 / std::max(seconds, 1e-9), 1), " MB/s"));
  print(join(result.files, "\n") + "\n");
}

}  // namespace

void add_data_tokenize_command(CLI::App& data) {
  auto arguments = std::make_shared<TokenizeArguments>();
  CLI::App* command = data.add_subcommand(
      "tokenize",
      "Turn text into token files. An interrupted run goes on where it was when the same command is given again; the "
      "files are the same whatever the number of threads. Prints the files made.");
  add_text_options(*command, arguments->text);
  command
      ->add_option("-t,--tokenizer", arguments->tokenizer,
                   "As data.tokenizer: `bytes`, a tokenizer.json, a directory with one, or a tiktoken file")
      ->required()
      ->check(not_empty());
  command->add_option("-o,--output", arguments->output, "Path of the files to make, without .bin")
      ->required()
      ->check(not_empty());
  command
      ->add_option("--format", arguments->format,
                   "megatron (OUTPUT.bin and .idx), llmc (OUTPUT_000000.bin and on) or raw (OUTPUT.bin, ids alone)")
      ->capture_default_str()
      ->check(CLI::IsMember({"megatron", "llmc", "raw"}));
  command
      ->add_option("--dtype", arguments->dtype, "Type of an id: auto (narrowest of the format), uint8, uint16, uint32")
      ->capture_default_str();
  command->add_option("--document-end", arguments->document_end, "End-of-document id: append, prepend or none")
      ->capture_default_str()
      ->check(CLI::IsMember({"append", "prepend", "none"}));
  command->add_option("--end-token", arguments->end_token, "The token that ends documents; default: the tokenizer's");
  command->add_option("--shard-tokens", arguments->shard_tokens, "Ids in each shard of llmc")
      ->capture_default_str()
      ->check(integer_from(1));
  command->add_flag("--restart", arguments->restart, "Begin anew although an interrupted run could go on");
  command->callback([arguments] { tokenize(*arguments); });
}

}  // namespace artel
