"""Every reason for which a layer is left as it is: a stable code, its meaning, its remedy.

`Code` is the one source: `fc2conv explain`, the reports and the table in
docs/reasons.md are made from it. FC1xx: no view of the input; FC2xx: not a fully
connected layer with a constant weight; FC3xx: not worth it or not allowed;
FC4xx: what the runtime cannot do; FC5xx: what keeps a network from sliding over larger images
(--fully-convolutional); FC6xx: what the target cannot do (--target). Codes are never reused.
"""

from __future__ import annotations

from enum import Enum

from fc2conv.dataclass import dataclass


class Code(Enum):
    """A reason code: `Code.VIEW_LOST.value` is `FC102`; `.meaning` and `.remedy` are one line each."""

    meaning: str
    remedy: str

    def __new__(cls, value: str, meaning: str, remedy: str) -> Code:
        member = object.__new__(cls)
        member._value_ = value
        member.meaning = meaning
        member.remedy = remedy
        return member

    NO_FEATURE_MAP = (
        "FC101",
        "No feature map reaches the layer, as far as the graph tells.",
        "Use --scope all to convert it as a 1x1 convolution.",
    )
    VIEW_LOST = (
        "FC102",
        "The layout of the feature map cannot be followed past the named node.",
        "Use --scope all to convert it on a layout of its own.",
    )
    BATCH_CONTRACTED = (
        "FC103",
        "The layer sums over the batch axis, or over an axis that the batch was merged with.",
        "None: a convolution never mixes the items of a batch. If the graph merges them by mistake, export it again.",
    )
    UNKNOWN_SIZE = (
        "FC104",
        "A size that the convolution needs is not known.",
        "Fix the input's shape with --overwrite-input-shape name:1,3,224,224.",
    )
    UNKNOWN_RANK = (
        "FC105",
        "The rank of the layer's input, or of a model's input, is not known: it is lost at the named node or input.",
        "Give the shape of the value that is named: --overwrite-input-shape name:0,3,224,224, where 0 is any size.",
    )
    NO_ELEMENTS = (
        "FC106",
        "The layer's input or its weight has no elements, or may have none at run time: no Conv runs over nothing.",
        "None: the layer runs as it is. If there should be elements, see the node that leaves none, such as a Slice.",
    )
    WEIGHT_NOT_CONSTANT = (
        "FC201",
        "No operand is a constant: this is a product of two values that are computed, or given as inputs.",
        "None: there is no weight that could become a kernel.",
    )
    WEIGHT_OVERRIDABLE = (
        "FC202",
        "The weight is also a graph input, so that a caller may replace it.",
        "Use --freeze-initializers if no caller does.",
    )
    WEIGHT_BATCHED = (
        "FC203",
        "The weight has a batch dimension of its own: one matrix for each item.",
        "Fix the input's shape with --overwrite-input-shape if it is open there. None yet for other such products.",
    )
    WEIGHT_TYPE = (
        "FC204",
        "The element type of the layer is not one that Conv takes.",
        "Cast the layer to a floating-point type.",
    )
    WEIGHT_SHAPE = (
        "FC205",
        "The weight's shape does not fit the layer's input.",
        "The model, or a shape of --overwrite-input-shape, contradicts itself here: correct the one or the other.",
    )
    WEIGHT_CHAIN = (
        "FC206",
        "The weight or the bias is computed by nodes that are not evaluated at conversion.",
        "Fold the model's constants first, for example with onnxruntime's basic optimizations.",
    )
    BOTH_CONSTANT = (
        "FC207",
        "Both operands are constants: the layer is itself a constant.",
        "Fold the model's constants first.",
    )
    KIND_NOT_SUPPORTED = (
        "FC208",
        "This fused or quantized kind of the layer is not converted.",
        "Export the model with plain Gemm, MatMul or QDQ layers.",
    )
    QUANTIZED_AXIS = (
        "FC209",
        "The weight's scales or zero points run along its inputs, or along an axis that the kernel splits.",
        "Use --requantize, which changes the numbers a little, or quantize the weight per tensor or per output.",
    )
    ZERO_POINTS_DIFFER = (
        "FC210",
        "The weight's zero points differ from output to output, which QLinearConv does not take.",
        "Use --qdq, or quantize the weight symmetrically (zero point 0).",
    )
    BLOCK_QUANTIZED = (
        "FC211",
        "The weight is quantized in blocks that do not fit a kernel.",
        "Use --expand-block-quantized to convert it in floating point.",
    )
    ADDS_LAYOUT = (
        "FC301",
        "The conversion would add layout nodes to the model; the named node is what makes them necessary.",
        "Allow them with --max-added-transposes, or use --scope all.",
    )
    EXCLUDED = (
        "FC302",
        "The layer was left out by --include or --exclude.",
        "Change the pattern.",
    )
    RUNTIME_TYPE = (
        "FC401",
        "onnxruntime's CPU provider has no Conv in this element type.",
        "Convert the model to float32 or float16, or use --force.",
    )
    OPSET_TOO_OLD = (
        "FC402",
        "The model's operator set lacks an operator that the layer would become, or is not that of its function.",
        "Raise the model to the named version of the operator set, for example with onnx.version_converter.",
    )
    NOT_SLIDING = (
        "FC501",
        "The named node does not work on a map of any size, or it is not known how it would.",
        "Cut the model before that node, or export it without it.",
    )
    SIZE_IN_CONSTANT = (
        "FC502",
        "A constant holds another value for each cell of the training map.",
        "Export the network without it, as a larger map has more cells.",
    )
    SIZES_MIXED = (
        "FC503",
        "The named node mixes cells with channels or with the batch, as a reshape to fixed sizes does.",
        "Use --scope all if a layer behind it was kept; otherwise cut the model before that node.",
    )
    LAYER_KEPT = (
        "FC504",
        "A fully connected layer on the way was kept, and takes a map of one size alone.",
        "Remove the cause for which it was kept; the remedy of that reason is named here.",
    )
    POOL_REFUSED = (
        "FC505",
        "Pooling over the whole map ends the backbone, and --global-pool error refuses it.",
        "Use --global-pool slide for a map of scores, or keep for one answer whatever the size.",
    )
    POOL_NOT_SLIDING = (
        "FC506",
        "No form with a kernel is known for pooling of this kind over the whole map.",
        "Use --global-pool keep.",
    )
    MAP_SPREAD = (
        "FC507",
        "A value of one cell at the training size is spread over several. On a larger image it has several cells "
        "itself, or it is not known over how many to spread it.",
        "Cut the model before that node.",
    )
    SIZE_UNKNOWN = (
        "FC508",
        "The training size of an input that slides, or of a value on the way, is not known.",
        "Set it with --overwrite-input-shape name:1,3,224,224.",
    )
    NO_CLASS_ACTIVATION = (
        "FC509",
        "No map has the score of a class for its pooling: the named node is in the way.",
        "Leave out --cam: the map of scores says where each class is seen.",
    )
    STRIDES_UNLIKE = (
        "FC510",
        "Maps of different strides meet at the named node: on a larger image one has more cells than the other.",
        "Give --output-stride 1, with which all maps have one stride; otherwise cut the model before that node.",
    )
    NOT_DILATED = (
        "FC511",
        "The named node has no dilated form, so that its stride cannot become a dilation.",
        "Choose a larger --output-stride, or leave it out.",
    )
    NOT_PLACED = (
        "FC512",
        "The cells of the map lie where --padding or --upsample cannot place or enlarge them.",
        "Leave out --padding or --upsample: the report tells where the cells lie.",
    )
    TARGET_KERNEL = (
        "FC601",
        "The target takes no convolution with this kernel.",
        "Allow other kernels with --max-kernel or --max-kernel-area, or name another --target.",
    )
    TARGET_CHANNELS = (
        "FC602",
        "The target takes no layer with this number of input or output channels.",
        "Split it with --max-channels, pad it with --channel-multiple, or name another --target.",
    )
    TARGET_RANK = (
        "FC603",
        "The target takes no layer over a value of this rank, or over a map of this size.",
        "Use --conv-rank 2d, give the model maps that the target takes, or name another --target.",
    )
    TARGET_TYPE = (
        "FC604",
        "The target takes no layer of this element type.",
        "Convert or quantize the model to a type that the target takes, or name another --target.",
    )
    TARGET_STATIC = (
        "FC605",
        "The target does not take this batch, or takes only fixed sizes.",
        "Write the batch and the sizes into the model with --static.",
    )
    TARGET_OPERATOR = (
        "FC606",
        "The target lacks this operator, or runs it in another form only.",
        "Replace the operator before the export, or let the runtime run it elsewhere.",
    )
    TARGET_KEEPS = (
        "FC607",
        "The layer is kept because the target runs it as well as a convolution, or better.",
        "There is nothing to do. Use --layer-form map or point to convert it all the same.",
    )


@dataclass(frozen=True)
class Reason:
    """Why one layer was left: the code, the node that caused it, and what is particular to this case.

    `remedy` is what helps in this case, where that is not the code's own.
    """

    code: Code
    node: str
    detail: str = ""
    remedy: str = ""
