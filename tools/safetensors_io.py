"""Reads and writes the safetensors format with torch alone: u64 header length, JSON header, data."""
import ctypes
import json
import mmap
import struct

import torch

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "U8": torch.uint8,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def save(path, tensors, metadata=None):
    """Writes `tensors` (name -> tensor) in the order given; `metadata` is a string -> string dict."""
    header, offset, blocks = {}, 0, []
    if metadata:
        header["__metadata__"] = metadata
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, offset + size]}
        blocks.append(ctypes.string_at(tensor.data_ptr(), size))
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(blocks)


def load(path):
    """Returns name -> tensor of one file. The tensors are copies; the file is not kept open."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        (length,) = struct.unpack_from("<Q", data)
        if 8 + length > len(data):
            raise ValueError(f"{path}: a header of {length} bytes is required, the file has {len(data)} bytes")
        header = json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        tensors = {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            block = bytearray(data[8 + length + begin : 8 + length + end])
            if len(block) != end - begin:
                raise ValueError(f"{path}: {name} ends behind the end of the file")
            dtype = DTYPES[entry["dtype"]]
            flat = torch.frombuffer(block, dtype=dtype) if block else torch.empty(0, dtype=dtype)
            tensors[name] = flat.reshape(entry["shape"])
        return tensors
