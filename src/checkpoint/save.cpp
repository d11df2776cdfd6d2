#include <algorithm>
#include <cstdio>

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

// "model-00003.safetensors" for rank 3
std::string file_name(const char* content, int rank) {
  char name[64];
  std::snprintf(name, sizeof name, "%s-%05d.safetensors", content, rank);
  return name;
}

std::vector<FilePlan> plan_files(const Snapshot& snapshot, int rank) {
  std::vector<FilePlan> plans = {{file_name("model", rank), {}}, {file_name("optimizer", rank), {}}};
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

// The tensors that the pieces are parts of, without slices. Errors: what could not be read back.
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
    for (const Rectangle& other : rectangles[piece.name]) {
      if (rectangle.overlaps(other)) {
        fail("checkpoint", concat("required slices that do not overlap, found ", other.to_string(), " and ",
                                  rectangle.to_string(), " in tensor ", piece.name));
      }
    }
    rectangles[piece.name].push_back(rectangle);
  }
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

void write_manifest(FileLayer& files, const std::string& directory, const Manifest& manifest) {
  const std::string text = manifest_text(manifest);
  OutputFile file = files.open_write(join_path(directory, "manifest.json"));
  files.write(file, text.data(), text.size());
  files.fsync(file);
  files.close(file);
  files.fsync_directory(directory);
}

}  // namespace

void prepare_checkpoint(FileLayer& files, const std::string& directory, std::int64_t step) {
  require(step >= 0, "checkpoint", concat("required a step of at least 0, found ", step));
  files.make_directory(directory);
  files.fsync_directory(parent_directory(directory));
  remove_leftovers(files, directory);
  files.make_directory(temporary_path(directory, step));
}

void discard_checkpoint(FileLayer& files, const std::string& directory, std::int64_t step) {
  try {
    files.remove(temporary_path(directory, step));
  } catch (const Error&) {  // the next prepare_checkpoint removes it
  }
}

std::string write_share(FileLayer& files, const std::string& directory, const Snapshot& snapshot, int rank) {
  std::map<std::string, ManifestTensor> tensors = collect_tensors(snapshot);
  const std::string temporary = temporary_path(directory, snapshot.step);
  for (const FilePlan& plan : plan_files(snapshot, rank)) write_tensor_file(files, temporary, plan, tensors);
  return share_text(tensors);
}

std::string commit_shares(FileLayer& files, const std::string& directory, const Snapshot& head,
                          const std::vector<std::string>& shares, std::int64_t keep) {
  Manifest manifest{manifest_head(head), {}};
  for (std::size_t rank = 0; rank < shares.size(); ++rank) {
    add_share(shares[rank], concat("the share of rank ", rank), manifest.tensors);
  }
  check_tilings(manifest.tensors);
  write_manifest(files, temporary_path(directory, head.step), manifest);
  std::string path = commit_checkpoint(files, directory, head.step);
  try {
    write_latest(files, directory, head.step);
    remove_oldest(files, directory, keep);
  } catch (const Error& error) {
    fail("checkpoint", concat("required ", path,
                              " and a tidy directory around it, found that the checkpoint is there "
                              "but what follows failed: ",
                              error.what()));
  }
  return path;
}

std::string save_checkpoint(FileLayer& files, const std::string& directory, const Snapshot& snapshot,
                            std::int64_t keep) {
  try {
    prepare_checkpoint(files, directory, snapshot.step);
    return commit_shares(files, directory, snapshot, {write_share(files, directory, snapshot, 0)}, keep);
  } catch (const Error&) {
    // A full disk must not stay full because of what could not be finished.
    discard_checkpoint(files, directory, snapshot.step);
    throw;
  }
}

}  // namespace artel
