#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/shape.h"
#include "huggingface/layout.h"
#include "util/files.h"

namespace artel {

/// The tensors of a directory with model.safetensors, or with shards and model.safetensors.index.json, mapped.
class SafetensorsDirectory {
 public:
  /// Errors, naming file or tensor: no such files, a damaged one, an index that names a file or tensor that is not
  /// there, a tensor in two files.
  SafetensorsDirectory(FileLayer& files, const std::string& directory);
  ~SafetensorsDirectory();
  SafetensorsDirectory(SafetensorsDirectory&&) noexcept;

  struct TensorInfo {
    Shape shape;
    DType dtype = DType::f32;
    const std::uint8_t* data = nullptr;  ///< in the mapped file
    std::size_t bytes = 0;
    std::string file;  ///< path
  };
  const std::map<std::string, TensorInfo>& tensors() const { return tensors_; }
  const std::string& path() const { return path_; }

 private:
  void read_index(FileLayer& files);
  void add_file(const std::string& name);

  struct File;
  std::string path_;
  std::vector<std::unique_ptr<File>> files_;
  std::map<std::string, TensorInfo> tensors_;
};

/// The stored tensors of a model, read out of a Hugging Face checkpoint of its layout.
class HfWeights {
 public:
  /// Errors: a tensor that is missing, has another shape or is of a type that is not f32 or bf16; one that the layout
  /// does not know; one that must be zero (its bias, or gate of a shared expert) and is not; each by name.
  HfWeights(SafetensorsDirectory directory, const ModelConfig& model, HfLayout layout, bool with_biases);

  /// The type of the embedding, for the import's.
  DType dtype() const;
  /// Bytes of a stored tensor of Artel as `dtype`.
  std::vector<std::uint8_t> read(const std::string& stored_name, DType dtype) const;
  std::vector<float> read_floats(const std::string& stored_name) const;

 private:
  void check(const HfTensor& tensor) const;

  SafetensorsDirectory directory_;
  std::map<std::string, HfTensor> by_source_;
};

}  // namespace artel
