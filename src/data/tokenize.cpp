#include "data/tokenize.h"

#include <filesystem>

#include "data/ordered_pipeline.h"
#include "util/error.h"
#include "util/file_lock.h"
#include "util/json.h"
#include "util/text.h"

namespace artel {
namespace {

// A block of text on its way to ids.
struct Task {
  TextBlock block;
  std::vector<int32_t> ids;
  std::vector<int64_t> ends;
  int64_t num_empty = 0;
};

// What a run that may go on must have in common with the one before. The number of threads is not part of it.
Json description_of(const TokenizeOptions& options) {
  Json inputs = Json::array();
  for (const std::string& path : options.inputs) {
    const auto written = std::filesystem::last_write_time(path).time_since_epoch().count();
    inputs.push_back({path, std::filesystem::file_size(path), written});
  }
  const TextFormat& format = options.format;
  Json description;
  description["tokenizer"] = options.tokenizer;
  description["inputs"] = std::move(inputs);
  description["format"] = {format.jsonl, format.field, format.separator, format.replace_invalid};
  description["output"] = {static_cast<int>(options.output.format), static_cast<int>(options.output.type),
                           options.output.shard_tokens};
  description["end"] = {static_cast<int>(options.document_end), options.end_id};
  return description;
}

struct JournalEntry {
  BlockPosition position;
  TokenWriterState written;
};

// PREFIX.journal: what the run is, and how far it is for certain.
class Journal {
 public:
  Journal(FileLayer& files, const TokenizeOptions& options)
      : files_(files), path_(options.output.prefix + ".journal"), description_(description_of(options)) {}

  std::optional<JournalEntry> read() const;
  void write(const JournalEntry& entry);
  void remove() { files_.remove(path_); }

 private:
  FileLayer& files_;
  std::string path_;
  Json description_;
};

std::optional<JournalEntry> Journal::read() const {
  if (!files_.exists(path_)) return std::nullopt;
  const Json root = parse_json(files_.read(path_), path_);
  const Json& found = json_member(root, "run", path_);
  if (found != description_) {
    std::string key = "run";
    for (const auto& [name, value] : description_.items()) {
      if (!found.is_object() || !found.contains(name) || found[name] != value) key = name;
    }
    fail("data", concat(path_, ": required the journal of the same run, found another ", key,
                        "; give the same options and files, or start anew with --restart"));
  }
  JournalEntry entry;
  const Json& position = json_member(root, "position", path_);
  entry.position = {json_value<int64_t>(position, "input", path_), json_value<int64_t>(position, "offset", path_),
                    json_value<int64_t>(position, "line", path_), json_value<bool>(position, "in_document", path_)};
  const Json& written = json_member(root, "written", path_);
  entry.written = {json_value<int64_t>(written, "tokens", path_), json_value<int64_t>(written, "documents", path_),
                   json_value<int64_t>(written, "document_tokens", path_)};
  return entry;
}

void Journal::write(const JournalEntry& entry) {
  Json root;
  root["run"] = description_;
  root["position"] = {{"input", entry.position.input},
                      {"offset", entry.position.offset},
                      {"line", entry.position.line},
                      {"in_document", entry.position.in_document}};
  root["written"] = {{"tokens", entry.written.num_tokens},
                     {"documents", entry.written.num_documents},
                     {"document_tokens", entry.written.document_tokens}};
  write_file_atomic(files_, path_, dump_json(root, 1) + "\n");
}

void encode_block(Task& task, Encoder& encoder, const TokenizeOptions& options) {
  task.ids.clear();
  task.ends.clear();
  const std::string& path = options.inputs[static_cast<size_t>(task.block.begin.input)];
  task.num_empty = for_each_document(task.block, options.format, path, [&](const DocumentPart& part) {
    if (part.begins && options.document_end == DocumentEnd::prepend) task.ids.push_back(options.end_id);
    encoder.encode(part.text, task.ids);
    if (!part.ends) return;
    if (options.document_end == DocumentEnd::append) task.ids.push_back(options.end_id);
    task.ends.push_back(static_cast<int64_t>(task.ids.size()));
  });
}

void check_free(FileLayer& files, const TokenWriterOptions& output) {
  const bool shards = output.format == TokenFormat::llmc;
  for (const std::string& path :
       {output.prefix + (shards ? "_000000.bin" : ".bin"), output.prefix + (shards ? "" : ".idx")}) {
    if (path != output.prefix && files.exists(path)) {
      fail("data", concat("required a new file ", path, ", found one; remove it or give another --output"));
    }
  }
}

}  // namespace

TokenizeResult tokenize_files(FileLayer& files, const Tokenizer& tokenizer, const TokenizeOptions& options,
                              const std::function<void(const TokenizeProgress&)>& report) {
  TextBlockReader check(options.inputs, options.format, {});  // that all are there
  files.make_directory(parent_directory(options.output.prefix));
  const std::string lock_path = options.output.prefix + ".lock";
  const std::optional<FileLock> lock = FileLock::try_acquire(lock_path);
  if (!lock) fail("data", concat(options.output.prefix, ": required no other run that writes it, found one"));
  Journal journal(files, options);
  if (options.restart) journal.remove();
  const std::optional<JournalEntry> start = journal.read();
  if (!start) check_free(files, options.output);

  JournalEntry now = start.value_or(JournalEntry{});
  TextBlockReader reader(
      options.inputs, options.format, [&](std::string_view text) { return tokenizer.safe_cut(text); }, now.position);
  reader.set_block_bytes(options.block_bytes);
  TokenWriter writer(files, options.output, now.written);
  if (!start) journal.write(now);
  std::vector<std::unique_ptr<Encoder>> encoders;
  for (int i = 0; i < options.num_threads; ++i) encoders.push_back(tokenizer.make_encoder());

  TokenizeResult result;
  result.resumed = start.has_value();
  result.progress.stored_bytes = reader.stored_bytes();
  int64_t since_entry = 0;
  OrderedPipeline<Task>(options.num_threads)
      .run([&](Task& task) { return reader.next(task.block); },
           [&](int worker, Task& task) { encode_block(task, *encoders[static_cast<size_t>(worker)], options); },
           [&](Task& task) {
             writer.append(task.ids, task.ends);
             now.position = task.block.end;
             const auto bytes = static_cast<int64_t>(task.block.bytes.size());
             since_entry += bytes;
             if (since_entry >= options.journal_bytes) {
               now.written = writer.sync();
               journal.write(now);
               since_entry = 0;
             }
             result.progress.text_bytes += bytes;
             result.progress.num_empty += task.num_empty;
             result.progress.stored_bytes_read = reader.stored_bytes_read();
             result.progress.written = writer.state();
             report(result.progress);
           });
  if (writer.state().num_tokens == 0) {
    journal.remove();
    fail("data", concat("required text in ", join(options.inputs, ", "), ", found none"));
  }
  now.written = writer.sync();
  journal.write(now);
  writer.finish();
  journal.remove();
  files.remove(lock_path);
  result.progress.written = writer.state();
  result.files = writer.finished_files();
  return result;
}

}  // namespace artel
