#include <algorithm>

#include "checkpoint/layout.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/store.h"
#include "util/crc32c.h"
#include "util/text.h"

namespace artel {
namespace {

// Weights and optimizer state stand in files of their own: whoever only wants the model reads only that.
bool is_optimizer(const TensorPiece& piece) {
  return piece.name.rfind("optimizer.", 0) == 0;
}

struct FilePlan {
  std::string name;
  std::vector<const TensorPiece*> pieces;
};

std::vector<FilePlan> plan_files(const Snapshot& snapshot) {
  std::vector<FilePlan> plans = {{"model-00000.safetensors", {}}, {"optimizer-00000.safetensors", {}}};
  for (const TensorPiece& piece : snapshot.pieces) plans[is_optimizer(piece) ? 1 : 0].pieces.push_back(&piece);
  std::erase_if(plans, [](const FilePlan& plan) { return plan.pieces.empty(); });
  return plans;
}

std::string piece_key(const TensorPiece& piece) {
  if (piece.begin == zero_shape(piece.shape.rank()) && piece.end == piece.shape) return piece.name;
  return concat(piece.name, "@", piece.begin.to_string());
}

void write_tensor_file(FileLayer& files, const std::string& directory, const FilePlan& plan, Json& tensors) {
  std::vector<SafetensorsEntry> entries;
  for (const TensorPiece* piece : plan.pieces)
    entries.push_back({piece_key(*piece), piece->dtype, extent(piece->begin, piece->end)});
  const std::string header = safetensors_header(entries);
  OutputFile file = files.open_write(join_path(directory, plan.name));
  files.write(file, header.data(), header.size());
  for (std::size_t i = 0; i < plan.pieces.size(); ++i) {
    const TensorPiece& piece = *plan.pieces[i];
    files.write(file, piece.bytes.data(), piece.bytes.size());
    Json& tensor = tensors[piece.name];
    tensor["dtype"] = safetensors_dtype(piece.dtype);
    tensor["shape"] = shape_json(piece.shape);
    tensor["slices"].push_back({{"file", plan.name},
                                {"key", entries[i].key},
                                {"begin", shape_json(piece.begin)},
                                {"end", shape_json(piece.end)},
                                {"crc32c", crc32c_hex(crc32c(piece.bytes.data(), piece.bytes.size()))}});
  }
  files.fsync(file);
  files.close(file);
}

Json make_manifest(const Snapshot& snapshot, Json tensors) {
  Json manifest;
  manifest["format"] = checkpoint_format;
  manifest["version"] = checkpoint_version;
  manifest["step"] = snapshot.step;
  manifest["tokens"] = snapshot.tokens;
  manifest["config"] = snapshot.config;
  manifest["data"] = snapshot.data;
  // Every random number is a function of the seed, a name and an index: there is no generator state to keep.
  manifest["rng"] = {{"algorithm", "philox4x32-10"}, {"seed", snapshot.config.value("/run/seed"_json_pointer, Json())}};
  manifest["world"] = snapshot.world;
  manifest["trainer"] = snapshot.trainer;
  manifest["tensors"] = std::move(tensors);
  manifest["manifest_crc32c"] = manifest_checksum(manifest);
  return manifest;
}

void write_whole_file(FileLayer& files, const std::string& path, const std::string& bytes) {
  OutputFile file = files.open_write(path);
  files.write(file, bytes.data(), bytes.size());
  files.fsync(file);
  files.close(file);
}

// A directory of this step is there already when a run went back behind it: it stays readable under its other name
// until the new one is committed.
void commit(FileLayer& files, const std::string& directory, const std::string& temporary, const std::string& name) {
  const std::string path = join_path(directory, name);
  const std::string replaced = join_path(directory, replaced_prefix + name);
  if (files.exists(path)) {
    files.remove(replaced);
    files.rename(path, replaced);
  }
  files.rename(temporary, path);
  files.fsync_directory(directory);
  files.remove(replaced);
}

void remove_oldest(FileLayer& files, const std::string& directory, std::int64_t keep) {
  if (keep <= 0) return;
  const std::vector<std::string> paths = list_checkpoints(files, directory);
  for (std::size_t i = static_cast<std::size_t>(keep); i < paths.size(); ++i) {
    // Renamed first, so that one that is half removed is not taken for a checkpoint.
    const std::string doomed = join_path(directory, temporary_prefix + std::string("removed"));
    files.remove(doomed);
    files.rename(paths[i], doomed);
    files.remove(doomed);
  }
}

}  // namespace

std::string save_checkpoint(FileLayer& files, const std::string& directory, const Snapshot& snapshot,
                            std::int64_t keep) {
  const std::string name = step_name(snapshot.step);
  const std::string temporary = join_path(directory, temporary_prefix + name);
  files.make_directory(directory);
  files.remove(temporary);
  try {
    files.make_directory(temporary);
    Json tensors = Json::object();
    for (const FilePlan& plan : plan_files(snapshot)) write_tensor_file(files, temporary, plan, tensors);
    write_whole_file(files, join_path(temporary, "manifest.json"),
                     dump_json(make_manifest(snapshot, std::move(tensors)), 1) + "\n");
    files.fsync_directory(temporary);
  } catch (const Error&) {
    // A full disk must not stay full because of what could not be finished.
    try {
      files.remove(temporary);
    } catch (const Error&) {
    }
    throw;
  }
  commit(files, directory, temporary, name);
  write_file_atomic(files, join_path(directory, "latest"), name + "\n");
  remove_oldest(files, directory, keep);
  return join_path(directory, name);
}

}  // namespace artel
