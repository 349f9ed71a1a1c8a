"""A pass of onnx_ir that converts fully connected layers and proves the result.

>>> import onnx_ir
>>> from fc2conv.integrations.onnx_ir import FcToConv
>>> convert = FcToConv(scope="all")
>>> model = onnx_ir.passes.Sequential(..., convert)(model).model
>>> print(convert.report)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fc2conv.api import convert
from fc2conv.options import Options, chosen

try:
    import onnx_ir
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("this pass needs onnx_ir: pip install 'fc2conv[onnx-ir]'", name=error.name) from error

if TYPE_CHECKING:
    from fc2conv.report.types import Report


class FcToConv(onnx_ir.passes.FunctionalPass):
    """Convert the fully connected layers of a model to convolutions, and leave the model that it is given unchanged.

    The options are those of `fc2conv.convert`, which raises what it says there; within a `Sequential` that is the cause
    of a `PassError`. `report` is that of the last model.
    """

    def __init__(self, options: Options | None = None, **given: Any) -> None:
        super().__init__()
        self.options = chosen(Options, options, given)
        self.report: Report | None = None

    def call(self, model: onnx_ir.Model) -> onnx_ir.passes.PassResult:
        """Return the converted model, or a copy where no layer becomes a convolution."""
        conversion = convert(model, options=self.options)
        assert conversion.model is not None, "there is a model where no output was named"
        self.report = conversion.report
        modified = self.report.outcome == "converted" or bool(self.report.signature)
        return onnx_ir.passes.PassResult(onnx_ir.from_proto(conversion.model), modified=modified)
