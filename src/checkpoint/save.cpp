#include <algorithm>

#include "checkpoint/manifest.h"
#include "checkpoint/rotation.h"
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
  for (const TensorPiece& piece : snapshot.pieces) {
    if (!piece.bytes.empty()) plans[is_optimizer(piece) ? 1 : 0].pieces.push_back(&piece);
  }
  std::erase_if(plans, [](const FilePlan& plan) { return plan.pieces.empty(); });
  for (FilePlan& plan : plans) {
    // Wide types first: every tensor then lies on a multiple of its element size, for readers that map the file.
    std::stable_sort(plan.pieces.begin(), plan.pieces.end(), [](const TensorPiece* a, const TensorPiece* b) {
      return dtype_size(a->dtype) > dtype_size(b->dtype);
    });
  }
  return plans;
}

std::string piece_key(const TensorPiece& piece, const Rectangle& rectangle) {
  return rectangle.extent() == piece.shape ? piece.name : concat(piece.name, "@", piece.begin.to_string());
}

// The tensors that the pieces make up, without slices. Errors: what could not be read back.
std::map<std::string, ManifestTensor> collect_tensors(const Snapshot& snapshot) {
  std::map<std::string, ManifestTensor> tensors;
  std::map<std::string, std::vector<Rectangle>> rectangles;
  for (const TensorPiece& piece : snapshot.pieces) {
    const std::string where = "piece of tensor " + piece.name;
    ManifestTensor& tensor =
        tensors.try_emplace(piece.name, ManifestTensor{piece.dtype, piece.shape, {}}).first->second;
    if (tensor.dtype != piece.dtype || !(tensor.shape == piece.shape)) {
      fail("checkpoint", concat("required pieces of one shape and type, found ", tensor.shape.to_string(), " ",
                                dtype_name(tensor.dtype), " and ", piece.shape.to_string(), " ",
                                dtype_name(piece.dtype), " in ", where));
    }
    const Rectangle rectangle{piece.begin, piece.end};
    check_inside(piece.shape, rectangle, where);
    const auto bytes = static_cast<std::size_t>(rectangle.extent().numel()) * dtype_size(piece.dtype);
    if (piece.bytes.size() != bytes) {
      fail("checkpoint", concat("required ", bytes, " bytes, found ", piece.bytes.size(), " in ", where));
    }
    rectangles[piece.name].push_back(rectangle);
  }
  for (const auto& [name, parts] : rectangles) check_tiling(tensors.at(name).shape, parts, "tensor " + name);
  return tensors;
}

void write_tensor_file(FileLayer& files, const std::string& directory, const FilePlan& plan,
                       std::map<std::string, ManifestTensor>& tensors) {
  std::vector<SafetensorsEntry> entries;
  for (const TensorPiece* piece : plan.pieces) {
    const Rectangle rectangle{piece->begin, piece->end};
    entries.push_back({piece_key(*piece, rectangle), piece->dtype, rectangle.extent()});
  }
  const std::string header = safetensors_header(entries);
  OutputFile file = files.open_write(join_path(directory, plan.name));
  files.write(file, header.data(), header.size());
  for (std::size_t i = 0; i < plan.pieces.size(); ++i) {
    const TensorPiece& piece = *plan.pieces[i];
    const std::uint32_t checksum = crc32c(piece.bytes.data(), piece.bytes.size());
    files.write(file, piece.bytes.data(), piece.bytes.size());
    tensors.at(piece.name).slices.push_back({plan.name, entries[i].key, {piece.begin, piece.end}, checksum});
  }
  files.fsync(file);
  files.close(file);
}

Json manifest_head(const Snapshot& snapshot) {
  Json head;
  head["step"] = snapshot.step;
  head["tokens"] = snapshot.tokens;
  head["config"] = snapshot.config;
  head["data"] = snapshot.data;
  // Every random number is a function of the seed, a name and an index: there is no generator state to keep.
  head["rng"] = {{"algorithm", "philox4x32-10"}, {"seed", snapshot.config.value("/run/seed"_json_pointer, Json())}};
  head["world"] = snapshot.world;
  head["trainer"] = snapshot.trainer;
  return head;
}

void write_directory(FileLayer& files, const std::string& directory, const Snapshot& snapshot) {
  Manifest manifest{manifest_head(snapshot), collect_tensors(snapshot)};
  files.make_directory(directory);
  for (const FilePlan& plan : plan_files(snapshot)) write_tensor_file(files, directory, plan, manifest.tensors);
  const std::string text = manifest_text(manifest);
  OutputFile file = files.open_write(join_path(directory, "manifest.json"));
  files.write(file, text.data(), text.size());
  files.fsync(file);
  files.close(file);
  files.fsync_directory(directory);
}

}  // namespace

std::string save_checkpoint(FileLayer& files, const std::string& directory, const Snapshot& snapshot,
                            std::int64_t keep) {
  require(snapshot.step >= 0, "checkpoint", concat("required a step of at least 0, found ", snapshot.step));
  files.make_directory(directory);
  files.fsync_directory(parent_directory(directory));
  remove_leftovers(files, directory);
  const std::string temporary = temporary_path(directory, snapshot.step);
  try {
    write_directory(files, temporary, snapshot);
  } catch (const Error&) {
    // A full disk must not stay full because of what could not be finished.
    try {
      files.remove(temporary);
    } catch (const Error&) {
    }
    throw;
  }
  const std::string path = commit_checkpoint(files, directory, snapshot.step);
  try {
    write_latest(files, directory, snapshot.step);
    remove_oldest(files, directory, keep);
  } catch (const Error& error) {
    fail("checkpoint", concat("required ", path,
                              " and a tidy directory around it, found that the checkpoint is there "
                              "but what follows failed: ",
                              error.what()));
  }
  return path;
}

}  // namespace artel
