"""Model files that leave their weights on disk: a reader, a writer, and forms of a model for the libraries."""

from fc2conv.onnxfile.forms import checkable, declared_shapes, materialize, runnable
from fc2conv.onnxfile.payload import Buffer, Payload, Span
from fc2conv.onnxfile.reader import ModelFile, external_locations, model_file_from_proto, read_model
from fc2conv.onnxfile.staged import Staged
from fc2conv.onnxfile.tensors import payload_key, set_payload
from fc2conv.onnxfile.writer import stage, stage_copy

__all__ = [
    "Buffer",
    "ModelFile",
    "Payload",
    "Span",
    "Staged",
    "checkable",
    "declared_shapes",
    "external_locations",
    "materialize",
    "model_file_from_proto",
    "payload_key",
    "read_model",
    "runnable",
    "set_payload",
    "stage",
    "stage_copy",
]
