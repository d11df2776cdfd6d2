#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/option_checks.h"
#include "data/token_report.h"
#include "tokenizer/tokenizer.h"
#include "util/error.h"
#include "util/json.h"
#include "util/text.h"
#include "util/utf8.h"

namespace artel {
namespace {

constexpr std::int64_t largest_vocabulary = 2147483647;

struct InspectTokensArguments {
  std::vector<std::string> files;
  std::string dtype = "auto";
  std::string tokenizer;
  std::int64_t vocab_size = 0;
  std::int64_t end_of_document = -1;
  bool json = false;
  TokenReportOptions options;
};

/// How ids become text; without a tokenizer they do not.
class SampleText {
 public:
  explicit SampleText(const std::string& name) : tokenizer_(name.empty() ? nullptr : make_tokenizer(name)) {}

  const Tokenizer* tokenizer() const { return tokenizer_.get(); }
  std::optional<std::string> decode(const std::vector<std::int64_t>& ids) const {
    if (!tokenizer_) return std::nullopt;
    std::vector<std::int32_t> narrow;
    for (const std::int64_t id : ids) {
      if (!tokenizer_->has_id(id)) return std::nullopt;
      narrow.push_back(static_cast<std::int32_t>(id));
    }
    return tokenizer_->decode(narrow);
  }

 private:
  std::unique_ptr<Tokenizer> tokenizer_;
};

// What `dtype: auto` goes by where a file does not say its type.
std::int64_t num_ids(const InspectTokensArguments& arguments, const SampleText& text) {
  if (arguments.vocab_size > 0) return arguments.vocab_size;
  return text.tokenizer() != nullptr ? text.tokenizer()->num_ids() : 0;
}

std::vector<TokenStream> open_files(const InspectTokensArguments& arguments, std::int64_t known_ids) {
  std::vector<TokenStream> streams;
  for (const std::string& path : arguments.files) {
    // Without a header: uint16 as OLMo writes .npy; of others every size is whole in bytes, so that the error is ours.
    const std::int64_t default_ids = std::string_view(path).ends_with(".npy") ? 65536 : 256;
    const std::int64_t assumed_ids = known_ids > 0 ? known_ids : default_ids;
    streams.emplace_back(path, arguments.dtype, largest_vocabulary, assumed_ids);
    for (const TokenFile& file : streams.back().files()) {
      if (file.layout().format == TokenFormat::raw && arguments.dtype == "auto" && known_ids == 0) {
        fail("data", concat(file.path(),
                            ": a file without a header required --dtype, --vocab-size or --tokenizer, "
                            "found none of them"));
      }
    }
  }
  return streams;
}

Json lengths_json(const std::optional<DocumentLengths>& documents) {
  if (!documents) return nullptr;
  return {{"count", documents->count}, {"shortest", documents->shortest}, {"longest", documents->longest},
          {"mean", documents->mean},   {"median", documents->median},     {"p90", documents->p90},
          {"p99", documents->p99}};
}

Json report_json(const TokenFile& file, const TokenReport& report, const SampleText& text) {
  Json json;
  json["path"] = file.path();
  json["format"] = token_format_name(file.layout().format);
  json["dtype"] = token_type_name(file.type());
  json["header_bytes"] = file.layout().body;
  json["tokens"] = file.size();
  json["smallest_id"] = report.smallest_id;
  json["largest_id"] = report.largest_id;
  json["bounds"] = file.has_documents() ? Json(file.layout().bounds_path) : Json(nullptr);
  json["documents"] = lengths_json(report.documents);
  Json first = Json::array();
  for (const auto& [position, id] : report.out_of_range) first.push_back({{"position", position}, {"id", id}});
  json["out_of_range"] = {{"count", report.num_out_of_range}, {"first", first}};
  json["samples"] = Json::array();
  for (const TokenSample& sample : report.samples) {
    const auto decoded = text.decode(sample.ids);
    json["samples"].push_back({{"position", sample.position},
                               {"ids", sample.ids},
                               {"text", decoded ? Json(escape_text(*decoded)) : Json(nullptr)}});
  }
  return json;
}

std::string ids_text(const std::vector<std::int64_t>& ids) {
  std::vector<std::string> texts;
  for (const std::int64_t id : ids) texts.push_back(concat(id));
  return join(texts, " ");
}

std::string report_text(const TokenFile& file, const TokenReport& report, const SampleText& text) {
  const TokenLayout& layout = file.layout();
  std::string out =
      concat(file.path(), "\n  format      ", token_format_name(layout.format), ", ", token_type_name(layout.type),
             layout.body > 0 ? concat(", header ", layout.body, " bytes") : "",
             file.has_documents() ? concat(", documents in ", layout.bounds_path) : "", "\n  tokens      ", file.size(),
             ", ids ", report.smallest_id, " to ", report.largest_id, "\n");
  if (report.documents) {
    const DocumentLengths& d = *report.documents;
    out += concat("  documents   ", d.count, " of ", d.shortest, " to ", d.longest, " tokens, mean ",
                  format_fixed(d.mean, 1), ", median ", d.median, ", 90 % at most ", d.p90, ", 99 % at most ", d.p99,
                  "\n");
  }
  if (report.num_out_of_range > 0) {
    std::vector<std::string> places;
    for (const auto& [position, id] : report.out_of_range) places.push_back(concat(id, " at position ", position));
    const auto others = report.num_out_of_range - static_cast<std::int64_t>(places.size());
    out += concat("  out of range ", report.num_out_of_range, " ids: ", join(places, ", "),
                  others > 0 ? concat(" and ", others, " more") : "", "\n");
  }
  for (const TokenSample& sample : report.samples) {
    const auto decoded = text.decode(sample.ids);
    out += concat("  at ", sample.position,
                  decoded ? concat("  ", escape_text(*decoded)) : concat("  ids ", ids_text(sample.ids)), "\n");
  }
  return out;
}

void inspect_tokens(const InspectTokensArguments& arguments) {
  const SampleText text(arguments.tokenizer);
  TokenReportOptions options = arguments.options;
  options.vocab_size = arguments.vocab_size;
  if (arguments.end_of_document >= 0) {
    options.end_of_document = arguments.end_of_document;
  } else if (text.tokenizer() != nullptr && text.tokenizer()->has_end_of_document()) {
    options.end_of_document = text.tokenizer()->end_of_document();
  }
  Json json;
  json["files"] = Json::array();
  std::string table;
  for (const TokenStream& stream : open_files(arguments, num_ids(arguments, text))) {
    for (const TokenFile& file : stream.files()) {
      const TokenReport report = report_tokens(file, options);
      if (arguments.json) {
        json["files"].push_back(report_json(file, report, text));
      } else {
        table += report_text(file, report, text);
      }
    }
  }
  print(arguments.json ? dump_json(json, 1) + "\n" : table);
}

}  // namespace

void add_data_inspect_command(CLI::App& data) {
  auto arguments = std::make_shared<InspectTokensArguments>();
  CLI::App* command = data.add_subcommand(
      "inspect",
      "Show what is in token files: format, documents and their lengths, ids out of range, samples as text. Reads "
      "Megatron .bin/.idx, llm.c .bin, .npy with and without a header, and plain ids (docs/data.md).");
  command->add_option("FILE", arguments->files, "Token files, or patterns in quotation marks")
      ->required()
      ->check(not_empty());
  command->add_option("--dtype", arguments->dtype, "Type of the ids of a file that does not say it")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "uint8", "uint16", "uint32"}));
  command
      ->add_option("--tokenizer", arguments->tokenizer,
                   "bytes, or a tokenizer.json: shows samples as text, and its id ends documents")
      ->check(not_empty());
  command
      ->add_option("--vocab-size", arguments->vocab_size,
                   "Ids from this number on are out of range, counted and shown with their positions; 0: only negative "
                   "ones")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{0}, largest_vocabulary));
  command
      ->add_option("--end-of-document", arguments->end_of_document,
                   "Id that ends a document where the file has no bounds of its own; -1: the tokenizer's")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{-1}, largest_vocabulary));
  command->add_option("--samples", arguments->options.num_samples, "Samples to show of each file, evenly spread")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{10000}));
  command->add_option("--sample-tokens", arguments->options.sample_tokens, "Longest sample, in tokens")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1000000}));
  command->add_flag("--json", arguments->json, "Print JSON");
  command->callback([arguments] { inspect_tokens(*arguments); });
}

}  // namespace artel
