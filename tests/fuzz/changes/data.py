"""External data: initializers moved to a data file, and changes of what says where they are."""

from __future__ import annotations

from onnx import ModelProto, TensorProto

from .places import INTEGERS, NAMES, Change, Random

DATA_FILE = "weights.bin"


def externalise(model: ModelProto, own: Random) -> bytes:
    """Moves the raw data of some initializers to a data file, and returns it."""
    data = bytearray()
    for tensor in model.graph.initializer:
        if tensor.raw_data and own.random() < 0.8:
            entries = {"location": DATA_FILE, "offset": len(data), "length": len(tensor.raw_data)}
            data += tensor.raw_data
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, text in entries.items():
                tensor.external_data.add(key=key, value=str(text))
    return bytes(data)


def _entry(model: ModelProto, own: Random) -> None:
    entries = own.choice([each for each in model.graph.initializer if each.external_data]).external_data
    kind = own.randrange(4)
    if kind == 0:
        del entries[own.randrange(len(entries))]
    elif kind == 1:
        entries.add(key=own.choice(("checksum", "offset", "location", "")), value=own.choice(("0", "x", DATA_FILE)))
    else:
        places = ("..", "/dev/zero", "../in.onnx", "in.onnx", "gone", "", "a/b", "C:\\x", *NAMES)
        entry = own.choice(entries)
        entry.value = own.choice(places if entry.key == "location" else ("-1", "1e3", "", *map(str, INTEGERS)))


EXTERNAL_CHANGES: tuple[Change, ...] = (_entry,) * 30
