"""The pool of a scope's initializers: each name has one state, and what is read now is what stays."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper

from fc2conv.rewrite.pool import Pool, State


def tensor(name: str, *values: float) -> TensorProto:
    return numpy_helper.from_array(np.array(values, np.float32), name)


def pool() -> Pool:
    return Pool([tensor("w", 1), tensor("dead", 2), tensor("old", 3)], {"w", "dead", "old", "t"}, {})


def test_each_name_has_one_state() -> None:
    made = pool()
    assert made.state("w") is State.KEEP
    assert made.state("t") is None
    made.claim("w")
    made.claim("t")
    assert made.value(np.float32(5), "w") == "w_2"
    assert {state: made.names(state) for state in State} == {
        State.KEEP: {"dead", "old"},
        State.REPLACE: {"w"},
        State.DROP: {"t"},
        State.NEW: {"w_2"},
    }


def test_what_nobody_reads_any_more_goes_and_what_nobody_read_stays() -> None:
    made = pool()
    made.claim("w")
    made._place(tensor("w", 7))
    made.value(np.float32(5), "unread")
    made.ints((1, 2), "shape")
    assert made.ints((1, 2), "another") == "shape"
    old, new = made.initializers({"w", "old"}, {"w", "shape"})
    assert [(each.name, *numpy_helper.to_array(each)) for each in old] == [("w", 7), ("dead", 2)]
    assert [each.name for each in new] == ["shape"]


def test_a_name_is_made_once() -> None:
    made = pool()
    with pytest.raises(AssertionError, match="made twice"):
        made._place(tensor("old", 1))


def test_values_are_those_of_what_was_made() -> None:
    made = pool()
    assert made.made("w") is None
    made.claim("w")
    made._place(tensor("w", 7))
    assert made.made("w") == 7
