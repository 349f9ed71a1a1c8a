"""Model-local functions that hold fully connected layers, or lie on the way to one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from onnx import FunctionProto, ModelProto, NodeProto, OperatorSetIdProto, helper, inliner

from fc2conv.errors import InputError
from fc2conv.io.custom_ops import ONNX_DOMAINS, is_custom
from fc2conv.io.reader import ModelFile
from fc2conv.ir.graph import Graph, onnx_opset, op, opset_versions, reads, subgraphs
from fc2conv.ir.layer_operators import LAYER_OPERATORS
from fc2conv.ir.schema import schema_of
from fc2conv.ir.validate import check_model
from fc2conv.layout.view import Provenance
from fc2conv.options import Options
from fc2conv.planning.planner import Decision, Plan
from fc2conv.sandbox import note

_Id = tuple[str, str]
_OWN = "function in "
"""The prefix of the domain of a function that has an operator's name, while the model is planned."""
_BROADCASTING = 7
"""The version of ONNX's operator set from which operators broadcast as numpy does."""


def inlined(model: ModelProto) -> ModelProto | None:
    """Inline every call of a function that holds a layer; return None if no function does.

    Keep calls of functions whose operators mean something else in the operator sets of the model.
    """
    holding = _holding({_id(function): function for function in model.functions if _fits(function, model)})
    if not holding:
        return None
    return _inlined(model, sorted(holding))


def left(model: ModelProto) -> list[tuple[FunctionProto, OperatorSetIdProto]]:
    """Return functions that hold a layer and are kept, each with its operator set that differs from the model's."""
    found = ((each, _other_set(each, model)) for each in model.functions if _holding({_id(each): each}))
    return [(function, entry) for function, entry in found if entry is not None]


def apart(model: ModelProto) -> ModelProto:
    """Move functions that have an operator's name, and their calls, to domains of their own.

    Some runtimes run the function, others the operator. So the calls are not taken for the operator, and stay as they
    are.
    """
    return _moved(model, {key: _OWN + key[0] for key in map(_id, model.functions) if _is_operator(*key)})


def together(file: ModelFile) -> ModelFile:
    """Return the model with the domains that its functions had before."""
    names = map(_id, file.model.functions)
    model = _moved(file.model, {key: key[0].removeprefix(_OWN) for key in names if key[0].startswith(_OWN)})
    return replace(file, model=model)


def _moved(model: ModelProto, domains: Mapping[_Id, str]) -> ModelProto:
    """Return a copy with other domains for some functions; return the model itself where there are none."""
    if not domains:
        return model
    out = ModelProto()
    out.CopyFrom(model)
    for each in out.functions:
        each.domain = domains.get(_id(each), each.domain)
    for body in (out.graph, *out.functions):
        for node in _all(body.node):
            node.domain = domains.get(_op(node), node.domain)
    for holder in (out, *out.functions):
        kept = [each for each in holder.opset_import if not each.domain.startswith(_OWN)]
        new = [helper.make_opsetid(domain, 1) for domain in {*domains.values()} if domain.startswith(_OWN)]
        del holder.opset_import[:]
        holder.opset_import.extend([*kept, *new])
    return out


def _is_operator(domain: str, name: str) -> bool:
    return domain.startswith("com.microsoft") or not is_custom(NodeProto(domain=domain, op_type=name))


def opened(file: ModelFile, plans: Sequence[Plan], _: Options) -> ModelFile | None:
    """Inline the functions that hide a map from a layer; return None where there are none.

    What a function computes has no view: no layout is followed through it.
    """
    free = (each for each in file.model.functions if not each.domain.startswith(_OWN))
    functions = {_id(each): each for each in free if _fits(each, file.model)}
    if not functions:
        return None
    unseen = ((plan.graph, plan.graph.nodes[each.index]) for plan in plans for each in plan.decisions if blind(each))
    called = {key for graph, node in unseen for key in _called(graph, node)} & functions.keys()
    while more := {each for key in called for each in _calls(functions[key])} & functions.keys() - called:
        called |= more
    # One call of onnx's inliner gives inlined values the names of the original that the result is compared with.
    return replace(file, model=_inlined(file.model, sorted(called | _holding(functions)))) if called else None


def without(file: ModelFile) -> ModelFile:
    functions = sorted(map(_id, file.model.functions))
    if both := next((key for key in functions if _is_operator(*key)), None):
        what = f"{'::'.join(filter(None, both))} is a function and an operator, and each runtime chooses one of them"
        raise InputError(what, "give the function another name")
    return replace(file, model=_inlined(file.model, functions)) if functions else file


def blind(decision: Decision) -> bool:
    """Return whether a layer is kept, or converted on axes of its own."""
    reads = decision.facts.reads if decision.facts is not None else None
    return not decision.converts or (reads is not None and reads.provenance in (Provenance.LOST, Provenance.NONE))


def hidden(plans: Sequence[Plan], options: Options) -> bool:
    """Return whether a form of the model that hides less may help: the model is to slide, or a layer sees no map."""
    return options.sliding is not None or any(blind(each) for plan in plans for each in plan.decisions)


def _called(graph: Graph, node: NodeProto) -> Iterator[_Id]:
    """Yield the operators of all nodes on the way to one, in the scopes around it as well."""
    seen: set[str] = set()
    stack = [(graph, name) for name in node.input]
    while stack:
        scope, name = stack.pop()
        maker = scope.made_by(name)
        if name in seen or (maker is None and scope.outer is None):
            continue
        seen.add(name)
        if maker is None:
            assert scope.outer is not None
            stack.append((scope.outer, name))
            continue
        yield _op(maker)
        stack += [(scope, each) for each in reads([maker])]


def _inlined(model: ModelProto, chosen: list[_Id]) -> ModelProto:
    note("onnx.inliner")
    out = ModelProto()
    out.CopyFrom(model)
    # onnx's inliner looks at all functions of a model, including those of other operator sets.
    looked_at = {*chosen} | {_id(each) for each in model.functions if _fits(each, model) or _calls(each) & {*chosen}}
    others = [each for each in model.functions if _id(each) not in looked_at]
    del out.functions[:]
    out.functions.extend(each for each in model.functions if _id(each) in looked_at)
    _same_operators(out)
    try:
        for _ in chosen if any(each.attribute_proto for each in out.functions) else ():  # callers first
            called = {_op(node) for node in _all(out.graph.node)} & {*chosen}
            if not called:
                break
            _say_defaults(out)
            out = inliner.inline_selected_functions(out, sorted(called), exclude=False)
        if rest := sorted({*chosen} & {*map(_id, out.functions)}):
            out = inliner.inline_selected_functions(out, rest, exclude=False)
    except RuntimeError as error:
        what = f"the functions {', '.join(name for _, name in chosen)} cannot be inlined ({error})"
        raise InputError(what, "give them the operator sets of the model, or inline them first") from error
    before = {_id(each): each.opset_import for each in model.functions}
    for function in out.functions:
        del function.opset_import[:]
        function.opset_import.extend(before[_id(function)])
    out.functions.extend(others)
    _import(out, (function for function in model.functions if _id(function) in chosen))
    check_model(out)
    return out


def _calls(function: FunctionProto) -> set[_Id]:
    return {_op(node) for node in _all(function.node)}


def _say_defaults(model: ModelProto) -> None:
    """Add to each call the attributes that its function has a default for: onnx's inliner knows no defaults."""
    defaults = {(each.domain, each.name, each.overload): each.attribute_proto for each in model.functions}
    for node in _all(model.graph.node):
        given = {each.name for each in node.attribute}
        more = defaults.get((node.domain, node.op_type, node.overload), ())
        node.attribute.extend(each for each in more if each.name not in given)


def _same_operators(model: ModelProto) -> None:
    """Give functions the model's versions of their operator sets, where their operators are the same there."""
    own = versions(model)
    for function in model.functions:
        for entry in function.opset_import:
            version = own.get(entry.domain, entry.version)
            if _same_there(function, model, entry, version):
                entry.version = version


def _same_there(function: FunctionProto, model: ModelProto, entry: OperatorSetIdProto, version: int) -> bool:
    """Return whether operators of a set that a function imports are the same in another version of it.

    A function of the model has no version: what its domain has makes no difference.
    """
    local = {*map(_id, model.functions)}
    nodes = (node for node in _all(function.node) if _domain(node.domain) == _domain(entry.domain))
    operators = {node.op_type for node in nodes if _op(node) not in local}
    if _domain(entry.domain):
        return not operators
    return all(_form(name, entry.version) == _form(name, version) for name in operators)


def versions(model: ModelProto) -> dict[str, int]:
    """Return the versions of the operator sets of a model; that of ONNX's by each name of its domain."""
    own = opset_versions(model)
    return own | dict.fromkeys(ONNX_DOMAINS, onnx_opset(own))


def _domain(name: str) -> str:
    return "" if name in ONNX_DOMAINS else name


def _fits(function: FunctionProto, model: ModelProto) -> bool:
    """Return whether a function's operators are the same in the model's operator sets; else it is not inlined."""
    return _other_set(function, model) is None


def _other_set(function: FunctionProto, model: ModelProto) -> OperatorSetIdProto | None:
    """Return the operator set of a function that differs in the model's version of it; None where all are the same."""
    own = versions(model)
    others = (each for each in function.opset_import if own.get(each.domain, each.version) != each.version)
    return next((each for each in others if not _same_there(function, model, each, own[each.domain])), None)


def _form(name: str, version: int) -> object:
    """Return an operator's operands, results and default attributes, which change where its meaning changes."""
    schema = schema_of(name, version, "")
    if schema is None or schema.deprecated or version < _BROADCASTING:
        return name, version
    attributes = {each.name: each.default_value.SerializeToString() for each in schema.attributes.values()}
    return attributes, [each.name for each in schema.inputs], [each.name for each in schema.outputs]


def _all(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Yield nodes, and those of their subgraphs."""
    for node in nodes:
        yield node
        for _, inner in subgraphs(node):
            yield from _all(inner.node)


def _import(model: ModelProto, functions: Iterable[FunctionProto]) -> None:
    """Add the operator sets that only the functions import, which onnx's inliner leaves out."""
    known = set(opset_versions(model))
    known |= set(ONNX_DOMAINS) if known & set(ONNX_DOMAINS) else set()
    for entry in (entry for function in functions for entry in function.opset_import):
        if entry.domain not in known:
            model.opset_import.add().CopyFrom(entry)
            known.add(entry.domain)


def inlined_like(model: ModelProto, other: ModelProto) -> ModelProto:
    """Inline the functions that the other model lacks, so that the two models can be compared."""
    gone = sorted({_id(f) for f in model.functions} - {_id(f) for f in other.functions})
    return _inlined(model, gone) if gone else model


def _id(function: FunctionProto) -> _Id:
    return function.domain, function.name


def _op(node: NodeProto) -> _Id:
    return node.domain, node.op_type


def _holding(functions: dict[_Id, FunctionProto]) -> set[_Id]:
    """Return the functions that hold a layer, themselves or in a function that they call."""
    free = {key for key in functions if not key[0].startswith(_OWN)}
    holding = {key for key in free if any(op(node) in LAYER_OPERATORS for node in _all(functions[key].node))}
    calls = {key: _calls(functions[key]) for key in free}
    while more := {key for key in free if calls[key] & holding} - holding:
        holding |= more
    return holding
