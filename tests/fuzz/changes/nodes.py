"""Changes of nodes: other operators and operands, nodes gone, twice, in between or within."""

from __future__ import annotations

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

from .places import DOMAINS, NAMES, Change, Random, all_graphs, all_nodes, any_name, any_node, sort_last

UNARY = "Relu Sigmoid Tanh Neg Identity Abs Sqrt Exp Dropout Softmax Flatten Transpose Shape Floor GlobalAveragePool"
OPERATORS = tuple(
    f"""{UNARY} Gemm MatMul Conv Add Mul Sub Div Reshape Squeeze Unsqueeze Concat Split Slice Gather Reduce
    ReduceMean ReduceSum Clip LeakyRelu PRelu BatchNormalization LayerNormalization InstanceNormalization MaxPool
    AveragePool GlobalMaxPool ConvTranspose Resize Expand Tile Pad Where Cast Constant ConstantOfShape If Loop Scan
    QuantizeLinear DequantizeLinear QLinearConv QLinearMatMul MatMulInteger ConvInteger Einsum LSTM GRU Optional
    SequenceConstruct NonZero TopK ArgMax LogSoftmax Hardmax Max Min Sum Mean Pow Size Range DepthToSpace""".split()
)


def _operator(model: ModelProto, own: Random) -> None:
    any_node(model, own).op_type = own.choice((*OPERATORS, *NAMES[:2]))


def _domain(model: ModelProto, own: Random) -> None:
    any_node(model, own).domain = own.choice(DOMAINS)


def _remove_node(model: ModelProto, own: Random) -> None:
    nodes = own.choice(all_graphs(model)).node
    del nodes[own.randrange(len(nodes))]


def _bypass_node(model: ModelProto, own: Random) -> None:
    """Removes a node; who read its result reads its first operand."""
    nodes = model.graph.node
    node = nodes.pop(own.randrange(len(nodes)))
    nodes.append(helper.make_node("Identity", [node.input[0]], [node.output[0]]))
    sort_last(model, own)


def _duplicate_node(model: ModelProto, own: Random) -> None:
    node = any_node(model, own)
    spatial_form = model.graph.node.add()
    spatial_form.CopyFrom(node)
    if own.random() < 0.6:
        spatial_form.output[:] = [f"{name}_again" for name in node.output]
        model.graph.output.add(name=spatial_form.output[0]).CopyFrom(own.choice(model.graph.output))
        model.graph.output[-1].name = spatial_form.output[0]


def _swap_nodes(model: ModelProto, own: Random) -> None:
    nodes = model.graph.node
    one, other = own.randrange(len(nodes)), own.randrange(len(nodes))
    kept = ModelProto()
    kept.graph.node.extend(nodes)
    nodes[one].CopyFrom(kept.graph.node[other])
    nodes[other].CopyFrom(kept.graph.node[one])


def _swap_inputs(model: ModelProto, own: Random) -> None:
    inputs = own.choice([node for node in all_nodes(model) if len(node.input) > 1]).input
    one, other = own.sample(range(len(inputs)), 2)
    inputs[one], inputs[other] = inputs[other], inputs[one]


def _rewire(model: ModelProto, own: Random) -> None:
    inputs = own.choice([node for node in all_nodes(model) if node.input]).input
    inputs[own.randrange(len(inputs))] = any_name(model, own)


def _add_input(model: ModelProto, own: Random) -> None:
    any_node(model, own).input.append(any_name(model, own))


def _remove_input(model: ModelProto, own: Random) -> None:
    inputs = any_node(model, own).input
    del inputs[own.randrange(len(inputs))]


def _rename_output(model: ModelProto, own: Random) -> None:
    outputs = any_node(model, own).output
    outputs[own.randrange(len(outputs))] = any_name(model, own)


def _rename_node(model: ModelProto, own: Random) -> None:
    any_node(model, own).name = own.choice((any_node(model, own).name, *NAMES))


def _insert(model: ModelProto, own: Random, node: NodeProto) -> None:
    """Puts a node between a value and one of its readers; the node's first operand and its result are set here."""
    reader = own.choice([each for each in model.graph.node if each.input])
    at = own.randrange(len(reader.input))
    node.input.insert(0, reader.input[at])
    node.output.append(f"mutant_{own.randrange(1 << 30)}")
    reader.input[at] = node.output[0]
    model.graph.node.append(node)
    sort_last(model, own)


def _insert_unary(model: ModelProto, own: Random) -> None:
    _insert(model, own, helper.make_node(own.choice(UNARY.split()), [], []))


def _insert_transpose(model: ModelProto, own: Random) -> None:
    perm = list(range(own.choice((2, 3, 4, 4))))
    own.shuffle(perm)
    _insert(model, own, helper.make_node("Transpose", [], [], perm=perm))


def _insert_flatten(model: ModelProto, own: Random) -> None:
    _insert(model, own, helper.make_node("Flatten", [], [], axis=own.choice((-1, 0, 1, 2, 3))))


def _insert_softmax(model: ModelProto, own: Random) -> None:
    _insert(model, own, helper.make_node(own.choice(("Softmax", "LogSoftmax")), [], [], axis=own.choice((-1, 0, 1, 2))))


def _insert_reshape(model: ModelProto, own: Random) -> None:
    target = [own.choice((-1, 0, 0, 1, 2, 3, 4)) for _ in range(own.choice((1, 2, 3, 4)))]
    name = f"target_{own.randrange(1 << 30)}"
    model.graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [len(target)], target))
    _insert(model, own, helper.make_node("Reshape", [name], []))


def _insert_arithmetic(model: ModelProto, own: Random) -> None:
    name = f"number_{own.randrange(1 << 30)}"
    shape = own.choice(([], [1], [1, 1], [1, 1, 1, 1]))
    model.graph.initializer.append(helper.make_tensor(name, TensorProto.FLOAT, shape, [own.uniform(-2, 2)]))
    _insert(model, own, helper.make_node(own.choice(("Add", "Mul", "Sub", "Div")), [name], []))


def _nest(model: ModelProto, own: Random) -> None:
    """Gives a node the graph itself as an attribute, up to a few levels deep."""
    node = any_node(model, own)
    for _ in range(own.choice((1, 1, 2, 6))):
        body = GraphProto.FromString(model.graph.SerializeToString())
        node.attribute.add(name=own.choice(("then_branch", "body", "g")), type=AttributeProto.GRAPH).g.CopyFrom(body)
        if model.ByteSize() > 100_000:
            return


NODE_CHANGES: tuple[Change, ...] = (
    _operator, _domain, _remove_node, _bypass_node, _duplicate_node, _swap_nodes, _swap_inputs, _rewire, _add_input,
    _remove_input, _rename_output, _rename_node, _insert_unary, _insert_unary, _insert_transpose, _insert_transpose,
    _insert_flatten, _insert_softmax, _insert_reshape, _insert_reshape, _insert_arithmetic, _insert_arithmetic, _nest,
)  # fmt: skip
