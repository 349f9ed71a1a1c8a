"""Model files that leave their weights on disk: a reader, a writer, and forms of a model for the libraries."""

from fc2conv.onnxfile.forms import checkable, declared_shapes, materialize, runnable
from fc2conv.onnxfile.parts import check_data_files, check_files, parts_of
from fc2conv.onnxfile.payload import Buffer, Payload, Span
from fc2conv.onnxfile.reader import ModelFile, external_locations, model_file_from_proto, read_model
from fc2conv.onnxfile.sizes import declared_size, open_type
from fc2conv.onnxfile.staged import Staged
from fc2conv.onnxfile.tensors import payload_key, set_payload
from fc2conv.onnxfile.writer import check_target, stage, stage_copy

__all__ = [
    "Buffer",
    "ModelFile",
    "Payload",
    "Span",
    "Staged",
    "check_data_files",
    "check_files",
    "check_target",
    "checkable",
    "declared_shapes",
    "declared_size",
    "external_locations",
    "materialize",
    "model_file_from_proto",
    "open_type",
    "parts_of",
    "payload_key",
    "read_model",
    "runnable",
    "set_payload",
    "stage",
    "stage_copy",
]
